"""Acceptance of a module's own drafts: what is looked up in whole texts is what the pipeline's verdicts are."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from executor.acceptance.offline import Offline, texts_of
from executor.acceptance.prompts import read_prompts
from executor.draft import checkpoint
from executor.draft.cut import Cut
from executor.draft.module import DraftModule
from executor.draft.shape import DraftShape, draft_layer
from executor.model.architecture import read_architecture
from executor.model.dense import DenseShape
from executor.model.parts import RmsNorm
from executor.model.small import small_config
from executor.model.weights import RandomWeights, load
from executor.plan import DraftPlan, Job, JobResult, Plan
from executor.rank import run_local
from spdsim.errors import InputError
from spdsim.scenario.files import read_verdicts
from tests.commands import spdsim_exec
from tests.small_targets import one_thread, small_plan

CONFIG = small_config(hidden_size=32, num_layers=8, num_heads=4, num_kv_heads=2, vocab_size=3)
"""Three tokens, so that a module that knows nothing is right now and then."""

PROMPTS = ((1,), (2, 0, 1, 1, 2))
CASES: list[tuple[int, int, tuple[int, ...], int]] = [
    (2, 0, (0, 4, 8), 1),
    (3, 1, (0, 2, 5), 2),
    (4, 0, (0, 2, 4, 6, 8), 2),
    (4, 1, (0,), 1),
]
"""Stages, lag, anchors, layers of the module: a type of features for each depth, or for several."""


def plan_of(stages: int, lag: int, anchors: tuple[int, ...], num_layers: int, saved: Path | None = None) -> Plan:
    plan = small_plan(stages, config=CONFIG, verification_lag=lag)
    cut = Cut(plan.layers, anchors)
    features = tuple(stage for stage in range(stages) if cut.anchors_of_stage(stage))
    layout = replace(plan.layout, feature_stages=features)
    return replace(plan, layout=layout, draft=DraftPlan(num_layers, anchors, checkpoint=saved))


def decoded(plan: Plan, prompts: Sequence[tuple[int, ...]] = PROMPTS) -> tuple[list[JobResult], list[JobResult]]:
    """Return what plain decoding says, and what the pipeline does."""
    one_thread()
    jobs = [Job(method, number, prompt, 30) for number, prompt in enumerate(prompts) for method in ("plain", "spd")]
    results = run_local(plan, jobs, lambda _: None).results
    return list(results[::2]), list(results[1::2])


def looked_up(plans: Sequence[Plan], texts: Any, saved: Any = None, *, is_own: bool = True) -> Any:
    return Offline(plans, saved, 64).look_up(texts, is_own=is_own, progress=lambda done, total: None)


def save_for(path: Path, plan: Plan) -> Path:
    """Write a checkpoint for a plan's cut, the same weights for every cut."""
    target, cut = read_architecture(CONFIG), Cut(plan.layers, plan.draft.anchors)
    like = target.layers[0]
    assert isinstance(like, DenseShape)
    cpu = torch.device("cpu")
    norm = RmsNorm(target.hidden_size, target.rms_eps, torch.float32, cpu)
    shape = DraftShape(cut, draft_layer(like), plan.draft.num_layers, target.vocab_size)
    module = DraftModule(shape, norm, torch.float32, cpu)
    load(module, RandomWeights(3), "draft.")
    checkpoint.save(path, module)
    return path


# What is looked up is what is decoded.


@pytest.mark.parametrize(("stages", "lag", "anchors", "num_layers"), CASES, ids=str)
def test_drafts_looked_up_in_a_text_have_the_verdicts_of_the_pipeline(
    stages: int, lag: int, anchors: tuple[int, ...], num_layers: int
) -> None:
    """Greedy, every verdict of every sequence; cycles follow."""
    plan = plan_of(stages, lag, anchors, num_layers)
    plain, drafted = decoded(plan)
    found = looked_up([plan], texts_of(PROMPTS, [result.tokens for result in plain]))
    assert found.accepted[0] == tuple(result.accepted for result in drafted)
    verdicts = [verdict for result in drafted for verdict in result.accepted]
    assert 0 < sum(verdicts) < len(verdicts)
    assert found.num_own == found.num_rows == 2 * 29


def test_one_pass_serves_every_cut_whichever_a_module_was_made_for(tmp_path: Path) -> None:
    """Verdicts at two and four stages are those of runs with checkpoints that say so."""
    plans = [plan_of(stages, 0, (0, 2, 4), 2) for stages in (2, 4)]
    made = [save_for(tmp_path / f"{plan.layout.num_stages}.pt", plan) for plan in plans]
    runs = [
        decoded(replace(plan, draft=replace(plan.draft, checkpoint=file)))
        for plan, file in zip(plans, made, strict=True)
    ]
    texts = texts_of(PROMPTS, [result.tokens for result in runs[0][0]])
    found = looked_up(plans, texts, checkpoint.read(made[1]))
    for accepted, (_, drafted) in zip(found.accepted, runs, strict=True):
        assert accepted == tuple(result.accepted for result in drafted)
    assert found.accepted[0] != found.accepted[1]


def test_a_text_that_is_given_is_the_targets_own_if_it_would_have_written_it() -> None:
    """From the second token on; of another text, drafts are held against what the target would say."""
    plan = plan_of(3, 0, (0, 2, 5), 1)
    plain, drafted = decoded(plan, [(1,)])
    own = (1, *plain[0].tokens)
    found = looked_up([plan], texts_of([own], None), is_own=False)
    assert found.accepted[0] == (drafted[0].accepted,) and found.num_own == found.num_rows
    other = looked_up([plan], texts_of([(*own[:20], *own[:20])], None), is_own=False)
    assert other.num_own < other.num_rows == 38
    assert other.accepted[0][0][:18] == drafted[0].accepted[:18]


# Prompts.


def test_prompts_are_lines_of_text_or_of_json(tmp_path: Path) -> None:
    """Whoever wrote them; empty lines are none."""
    text, lines = tmp_path / "p.txt", tmp_path / "p.jsonl"
    text.write_bytes(b"Once\r\n\n  two \nthree")
    assert [(each.text, each.where) for each in read_prompts(text)] == [
        ("Once", f"{text}:1"), ("  two ", f"{text}:3"), ("three", f"{text}:4"),
    ]  # fmt: skip
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    entries: list[Any] = [
        {"prompt": "a"}, {"text": "b"}, {"turns": ["c", "d"], "category": "x"}, {"messages": messages},
        {"prompt_ids": [1, 2]},
    ]  # fmt: skip
    lines.write_text("\n".join(map(json.dumps, entries)))
    found = read_prompts(lines)
    assert [each.text for each in found] == ["a", "b", "c", "Hi", ""]
    assert [each.whole for each in found][2:4] == ["c\nd", "Be brief.\nHi"]
    assert found[4].ids == (1, 2)
    assert len(read_prompts(lines, most=2)) == 2


@pytest.mark.parametrize(
    ("name", "written", "expected"),
    [
        ("p.txt", b" \n\n", "p.txt: is empty: must have a prompt a line"),
        ("p.txt", b"one\n\xff\n", "p.txt:2: is not text in UTF-8"),
        ("p.jsonl", b'{"prompt": "a"}\nnone', "p.jsonl:2: is not JSON"),
        ("p.jsonl", b"[1]", "p.jsonl:1: is [1]: must be a mapping"),
        ("p.txt", b'{"prompt": 3}', "p.txt:1: prompt is 3: must be text"),
        ("p.jsonl", b'{"turns": []}', "p.jsonl:1: turns is []: must be a list with at least one entry"),
        ("p.jsonl", b'{"messages": ["a"]}', "p.jsonl:1: messages has "),
        ("p.jsonl", b'{"question": "a"}', 'must have "prompt"'),
        ("p.jsonl", b'{"prompt_ids": [1, true]}', "prompt_ids is [1, true]: must be a list of token ids"),
    ],
)
def test_what_is_wrong_with_prompts_is_told_with_its_line(
    name: str, written: bytes, expected: str, tmp_path: Path
) -> None:
    """File, line, value, rule."""
    (tmp_path / name).write_bytes(written)
    with pytest.raises(InputError) as raised:
        read_prompts(tmp_path / name)
    assert expected in str(raised.value) and "\n" not in str(raised.value)


# The command.


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a model of three tokens, prompts for it, and drafts for four uneven stages."""
    directory = tmp_path_factory.mktemp("acceptance")
    (directory / "config.json").write_text(json.dumps({**CONFIG, "max_position_embeddings": 60, "eos_token_id": None}))
    prompts = (json.dumps({"prompt_ids": list(prompt)}) for prompt in PROMPTS)
    (directory / "p.jsonl").write_text("\n".join(prompts))
    uneven = small_plan(4, config=CONFIG, layers=[1, 3, 3, 1])
    save_for(directory / "draft.pt", replace(uneven, draft=DraftPlan(1, (0, 2, 5, 8))))
    return directory


def asked(place: Path, *words: str) -> Any:
    given = ["--model", "config.json", "--random-weights", "--prompts", "p.jsonl", "--threads", "1"]
    return spdsim_exec("acceptance", *given, "--max-new-tokens", "30", *words, cwd=place)


def test_the_command_gives_the_same_verdicts_with_and_without_a_pipeline(place: Path) -> None:
    """And files that the simulator reads; a module's other cuts are told as such."""
    draft = ["--draft", "module:draft.pt"]
    run = asked(place, *draft, "--out", "v.jsonl", "--acceptance", "a.yaml", "--json", "-")
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    found = document["results"][0]
    assert (document["acceptance_forced"], document["trained_for_stages"]) == (False, 4)
    assert found["num_stages"] == 4 and found["counted_cycles"] == found["num_cycles"]
    written = ["".join("RA"[v] for v in each["accepted"]) for each in found["sequences"]]
    assert read_verdicts(place / "v.jsonl") == written
    assert "origin: measured" in (place / "a.yaml").read_text()
    offline = asked(place, *draft, "--offline", "--stages", "2,4", "--json", "o.json", "--acceptance", "t.yaml")
    assert (offline.returncode, offline.stderr) == (0, "")
    two, four = json.loads((place / "o.json").read_text())["results"]
    assert four["sequences"] == found["sequences"]
    assert four["families"] == found["families"]
    assert (two["layers"], four["layers"], found["layers"]) == ([4, 4], [1, 3, 3, 1], [1, 3, 3, 1])
    assert any("made for 4 stages" in note for note in two["notes"])
    assert not any("made for 4 stages" in note for note in four["notes"])
    assert "kind: by_stages" in (place / "t.yaml").read_text()
    recut = asked(place, *draft, "--stages", "2", "--json", "-")
    assert recut.returncode == 0, recut.stderr
    assert json.loads(recut.stdout)["results"][0]["sequences"] == two["sequences"]
    assert "By number of stages" in offline.stdout and "(offline)" in offline.stdout


def test_sampled_drafts_are_measured_in_runs(place: Path) -> None:
    """Looking up cannot say which token the rejection rule takes."""
    run = asked(place, "--stages", "2", "--temperature", "1.2", "--sequences", "1", "--json", "-")
    found = json.loads(run.stdout)["results"][0]
    assert found["num_cycles"] == found["counted_cycles"] and found["num_sequences"] == 1
    assert 0 < found["acceptance_probability"]["accepted"] < 29
    assert "random weights" in run.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--draft", "forced:p=0.8"], "--draft is forced:p=0.8: decrees which drafts are right: must be module"),
        (["--draft", "none"], "--draft is none: drafts nothing: must be module"),
        (["--draft", "module:no.pt"], "no.pt: there is no such file"),
        (["--prompts", "no.txt"], "no.txt: there is no such file"),
        (["--stages", "1"], "--stages is 1: must be at least 2"),
        (["--stages", "2,9", "--offline"], "partition.stages"),
        (["--stages", "2,2"], "--stages is '2,2': must be different whole numbers"),
        (["--stages", "2,4", "--out", "x.jsonl"], "--out is given with --stages 2,4"),
        (["--max-new-tokens", "58"], "p.jsonl:2: the prompt has 5 tokens and --max-new-tokens is 58"),
        (["--text", "own"], "--text is own: needs --offline"),
        (["--offline", "--temperature", "1"], "--temperature is 1: must be 0 with --offline"),
        (["--offline", "--draft", "module:draft.pt", "--anchors", "3"], "--anchors is 3: is given beside a checkpoint"),
        (["--offline", "--text", "given"], "p.jsonl:1: the text has 1 tokens: must be at least 3"),
        (["--sequences", "0"], "--sequences is 0: must be at least 1"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(words: list[str], expected: str, place: Path) -> None:
    """Before anything is loaded."""
    before = sorted(place.iterdir())
    done = asked(place, *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert expected in done.stderr
    assert sorted(place.iterdir()) == before


def test_a_module_for_another_target_is_refused(place: Path, tmp_path: Path) -> None:
    """Offline too, where the number of stages is free."""
    other = tmp_path / "config.json"
    other.write_text(json.dumps(small_config(hidden_size=64, num_layers=8, vocab_size=258)))
    (tmp_path / "p.txt").write_text("a")
    prompts = json.dumps({"prompt_ids": [1]})
    (tmp_path / "p.jsonl").write_text(prompts)
    words = ["--model", str(other), "--random-weights", "--prompts", "p.jsonl", "--draft", f"module:{place}/draft.pt"]
    for more in ([], ["--offline"]):
        done = spdsim_exec("acceptance", *words, *more, cwd=tmp_path)
        assert done.returncode == 2 and "hidden_size is 32: must be 64" in done.stderr
    done = spdsim_exec("acceptance", *words[:3], "--prompts", "p.txt", cwd=tmp_path)
    assert "p.txt:1: " in done.stderr and 'no tokenizer.json: must be JSON lines with "prompt_ids"' in done.stderr
