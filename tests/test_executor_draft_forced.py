"""What `--draft` may say, and drafts that are right or wrong by decree."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.draft.forced import Draft, forced_token, parse_draft
from spdsim.acceptance import Bernoulli, Replay, toss
from spdsim.errors import InputError


def test_every_form_is_understood(tmp_path: Path) -> None:
    """Those of the module, of nothing, and of decrees."""
    saved = tmp_path / "draft.pt"
    saved.touch()
    assert parse_draft("module") == Draft("module")
    assert parse_draft(f"module:{saved}") == Draft("module", checkpoint=saved)
    assert parse_draft(str(saved)) == Draft("module", checkpoint=saved)
    assert parse_draft("none") == Draft("none")
    for text, p in (("0.8", 0.8), ("0", 0.0), ("1", 1.0), ("1e-1", 0.1)):
        assert parse_draft(f"forced:p={text}") == Draft("forced", acceptance=Bernoulli(p))
        assert parse_draft(f"free:p={text}") == Draft("forced", acceptance=Bernoulli(p), is_free=True)


def test_a_directory_is_a_checkpoint_and_so_are_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a prefix or without; by a bare name, too, if it is there and is none of the other forms."""
    directory = tmp_path / "mine"
    directory.mkdir()
    (directory / "draft.json").touch()
    weights = directory / "draft.safetensors"
    weights.touch()
    (tmp_path / "module").symlink_to(directory)
    monkeypatch.chdir(tmp_path)
    for path in (directory, weights, Path("mine")):
        for prefix in ("", "module:"):
            assert parse_draft(f"{prefix}{path}") == Draft("module", checkpoint=path)
    assert parse_draft("module") == Draft("module")
    (directory / "draft.json").unlink()
    with pytest.raises(InputError, match=r"mine: has no draft.json: must be a draft module's directory, with draft"):
        parse_draft("mine")
    with pytest.raises(InputError, match=r"has no draft.json beside it: must be the weights of a draft module with"):
        parse_draft(str(weights))


def test_recorded_verdicts_are_those_of_the_simulator(tmp_path: Path) -> None:
    """The same file, in the order of sequences, gives the coins that were recorded."""
    records = {1: [False, True], 0: [True, True, False]}
    file = tmp_path / "verdicts.jsonl"
    file.write_text("".join(json.dumps({"sequence": s, "accepted": a}) + "\n" for s, a in records.items()))
    acceptance = parse_draft(f"forced:{file}").acceptance
    assert acceptance == Replay(((True, True, False), (False, True)))
    coins = toss(acceptance, 0, 1, 3)
    assert [coins.accepts(position, 1) for position in (1, 2)] == records[1]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (
            "",
            r"must be module, CHECKPOINT \(a file or a directory\), none, forced:p=0.8, forced:FILE, free:p=0.8 or",
        ),
        ("modul", r"did you mean module\?"),
        ("Forced:p=0.5", r"did you mean forced\?"),
        ("module:", "must be module, CHECKPOINT"),
        ("none:x", "must be module"),
        ("forced", "must be module"),
        ("forced:", "must be module"),
        ("forced:p=", "p must be a number, 0 to 1"),
        ("forced:p=1.5", "p must be a number, 0 to 1"),
        ("forced:p=nan", "p must be a number, 0 to 1"),
        ("forced:p=often", "p must be a number, 0 to 1"),
        ("forced:0.8", "a probability is written forced:p=0.8"),
        ("free:0.8", "a probability is written free:p=0.8"),
        ("forced:nowhere.jsonl", "nowhere.jsonl: there is no such file"),
        ("module:nowhere.pt", "nowhere.pt: there is no such file"),
        ("module:/", "/: has no draft.json: must be a draft module's directory"),
        ("/", "has no draft.json: must be a draft module's directory"),
        ("nowhere.pt", "there is no such file: must be a checkpoint of a draft module"),
        ("nowhere.safetensors", "there is no such file"),
        ("no/where", "there is no such file"),
        ("/dev/null", "is no file"),
        ("x" * 300, "must be module, CHECKPOINT"),
        ("module:" + "x" * 300, "file name too long"),
    ],
)
def test_what_is_no_form_is_refused_with_the_rule(text: str, rule: str) -> None:
    """As one line that begins with what was written."""
    with pytest.raises(InputError, match=rule) as refusal:
        parse_draft(text)
    assert str(refusal.value).startswith(f"--draft is {text}:") and "\n" not in str(refusal.value)


def test_a_malformed_record_is_refused_with_its_line(tmp_path: Path) -> None:
    """By the simulator's own reader."""
    file = tmp_path / "verdicts.jsonl"
    file.write_text('{"sequence": 0, "accepted": [true]}\n{"sequence": 1, "accepted": "yes"}\n')
    with pytest.raises(InputError, match=rf"{file.name}:2: accepted is \"yes\": must be a list of true and false"):
        parse_draft(f"forced:{file}")


@given(st.integers(2, 1000), st.data())
def test_a_forced_draft_is_right_exactly_where_it_must_be(vocab_size: int, data: st.DataObject) -> None:
    """It is always a token of the vocabulary."""
    oracle = data.draw(st.integers(0, vocab_size - 1))
    assert forced_token(oracle, True, vocab_size) == oracle
    wrong = forced_token(oracle, False, vocab_size)
    assert wrong != oracle and 0 <= wrong < vocab_size


def test_a_vocabulary_of_one_token_has_no_wrong_draft() -> None:
    """Which is said, rather than to accept what should be rejected."""
    with pytest.raises(InputError, match="vocab_size is 1: must be at least 2"):
        forced_token(0, False, 1)


def test_parsing_needs_no_torch() -> None:
    """A command line is checked before the slow import."""
    code = (
        "import sys; from executor.draft.forced import parse_draft; parse_draft('none'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
