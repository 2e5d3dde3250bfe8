"""The demonstration: text of this machine, a model of bytes, its draft modules, what is measured and predicted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from executor.cli.demo_result import demo_document
from executor.cli.demo_train import demo_train
from executor.demo.corpus import TextCorpus, TextFile, gather, is_held_out
from executor.demo.decoding import prompts_of
from executor.demo.language_model import train_language_model
from executor.demo.orthogonal import orthogonal
from executor.demo.run import Finished, Progress, Wanted, demonstrate
from executor.demo.sizes import SIZES, DecodingSize, DraftSize, LanguageSize, Size, SizeName
from executor.planning import this_place
from executor.traces import part_of
from spdsim import load_scenario, simulate
from spdsim.errors import InputError
from tests.commands import forked
from tools.pages import ROOT, environment

LANGUAGE = LanguageSize(16, 32, 2, 2, 1, sequence_length=32, batch=2, steps=4)
SMALLEST = Size(
    "tiny", LANGUAGE, DraftSize(sequence_length=32, windows=1, steps=3, learning_rate=1e-3, measured_windows=4),
    DecodingSize(measured=3, fitted=4, timed=2, prompt_tokens=12, new_tokens=12),
)  # fmt: skip
CPU = torch.device("cpu")


def text_files(count: int) -> list[TextFile]:
    lines = [[f"def function_{number}_{line}():\n    return {line}\n" for line in range(30)] for number in range(count)]
    return [TextFile(f"part/{number}.py", "".join(of_file)) for number, of_file in enumerate(lines)]


CORPUS = TextCorpus(tuple(text_files(6)), tuple(text_files(9)[6:]))


def test_text_is_gathered_alike_every_time_and_no_file_is_on_both_sides(tmp_path: Path) -> None:
    for file in text_files(200):
        (tmp_path / Path(file.name).name).write_text(file.text)
    (tmp_path / "short.py").write_text("x")
    (tmp_path / "no-text.py").write_bytes(b"\xff" * 500)
    (tmp_path / "other.txt").write_text("x" * 500)
    roots = [("here", tmp_path, (".py",))]
    corpus = gather(roots)
    assert corpus == gather(roots)
    trained, held_out = ({file.name for file in files} for files in (corpus.trained, corpus.held_out))
    assert not trained & held_out and len(trained) + len(held_out) == 200
    assert all(is_held_out(name) for name in held_out) and 0 < len(held_out) < 40


def test_this_machine_has_text_enough() -> None:
    corpus = gather()
    assert corpus.num_bytes > 1_000_000
    prompts_of(corpus.held_out, SIZES["small"].decoding)


def test_prompts_that_are_fitted_to_are_none_of_those_that_are_predicted() -> None:
    size = SMALLEST.decoding
    prompts = prompts_of(CORPUS.held_out, size)
    assert (len(prompts.measured), len(prompts.fitted)) == (size.measured, size.fitted)
    assert not set(prompts.measured) & set(prompts.fitted)
    assert all(len(prompt) == size.prompt_tokens and prompt[-1] == ord("\n") for prompt in prompts.all)
    with pytest.raises(InputError, match="lines to go on from: must have 7000"):
        prompts_of(CORPUS.held_out, replace(size, fitted=6997))


def test_a_part_of_a_trace_has_the_spans_of_its_sequences() -> None:
    trace = simulate(load_scenario(ROOT / "scenarios/tutorial.yaml", ["replications=4"]))
    part = part_of(trace, [2, 0])
    assert part.num_sequences == 2
    whole = [[span for span in trace.spans() if span.sequence == sequence] for sequence in (2, 0)]
    found = [[span for span in part.spans() if span.sequence == sequence] for sequence in (0, 1)]
    plain = [[[replace(span, sequence=0) for span in spans] for spans in spans_of] for spans_of in (whole, found)]
    assert plain[0] == plain[1]


def test_orthogonal_matrices_keep_their_directions() -> None:
    matrices = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    inner = u.mT @ orthogonal(matrices) @ v.mT
    diagonal = inner.diagonal(dim1=-2, dim2=-1)
    assert float(diagonal.min()) > 0.5 and float(diagonal.max()) < 1.3
    assert float((inner - torch.diag_embed(diagonal)).abs().max()) < 1e-4


def test_a_language_model_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    size = replace(LANGUAGE, steps=40)
    whole = train_language_model(tmp_path / "whole", size, CORPUS, 0, CPU, lambda *_: None)

    class Stop(Exception):
        pass

    def stop(done: int, total: int, bits: float) -> None:
        if done == 25:
            raise Stop

    with pytest.raises(Stop):
        train_language_model(tmp_path / "part", size, CORPUS, 0, CPU, stop)
    assert not (tmp_path / "part").exists()
    steps: list[int] = []
    again = train_language_model(tmp_path / "part", size, CORPUS, 0, CPU, lambda done, *_: steps.append(done))
    assert steps[0] > 20 and again.bits_per_byte == whole.bits_per_byte
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "part")]
    assert weights[0] == weights[1]


def test_all_of_it_runs_and_what_is_finished_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are those of plain decoding, verdicts give the cycles that were counted, parts are trained once."""
    monkeypatch.setattr("executor.demo.run.gather", lambda: CORPUS)
    wanted = Wanted(
        out=tmp_path / "demo", size=SMALLEST, minutes=20.0, stages=(2,), draft_layers=1, seed=0, device="cpu",
        num_threads=1,
    )  # fmt: skip
    told: list[Progress | Finished] = []
    outcome = demonstrate(wanted, this_place(), told.append)
    (pipeline,) = outcome.pipelines
    assert pipeline.num_different == 0
    assert pipeline.tokens_per_cycle.measured.mean == pytest.approx(pipeline.law_tokens_per_cycle)
    assert pipeline.measured.overall.count == 3 * 11 and pipeline.fitted.overall.count == 4 * 11
    assert outcome.plain_token_s.mean > 0.0 and pipeline.token_s.predicted > 0.0
    document: dict[str, Any] = json.loads(json.dumps(demo_document(outcome)))
    assert document["pipelines"][0]["num_stages"] == 2
    assert [event.note.endswith("(was there)") for event in told if isinstance(event, Finished)] == [False] * 4
    told.clear()
    again = demonstrate(wanted, this_place(), told.append)
    assert [event.note.endswith("(was there)") for event in told if isinstance(event, Finished)][:2] == [True, True]
    assert again.pipelines[0].measured.overall == pipeline.measured.overall
    with pytest.raises(InputError, match="was made with seed 0, not 1: must be another directory, or use --force"):
        demonstrate(replace(wanted, seed=1), this_place(), told.append)


@pytest.mark.parametrize(("size", "stages"), [("tiny", (2, 4)), ("small", (2, 4, 8)), ("large", (2, 4, 8))])
def test_every_size_has_stages_that_its_model_can_be_cut_into(
    size: SizeName, stages: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where none are asked for, no error is about some that nobody asked for."""
    asked: list[Wanted] = []
    started = "executor.cli.demo_session.demonstrate_and_report"
    monkeypatch.setattr(started, lambda wanted, *_, **__: asked.append(wanted))
    demo_train(out=tmp_path / "demo", size=size)
    assert [wanted.stages for wanted in asked] == [stages]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--stages", "2,x"], "--stages is '2,x': must be whole numbers with commas"),
        (["--stages", "1"], "--stages is 1: must be different numbers of at least 2"),
        (["--stages", "2,9"], "--stages is 2,9: must be at most 8, the layers of the model"),
        (["--draft-layers", "0"], "--draft-layers is 0: must be 1 to 8"),
        (["--minutes", "0"], "--minutes is 0: must be greater than 0"),
        (["--out", "pyproject.toml"], "--out is pyproject.toml: is a file"),
        (["--out", "docs"], "--out is docs: has other files"),
    ],
)
def test_wrong_input_is_one_line(words: list[str], expected: str) -> None:
    done = forked("executor", ["demo-train", *words], environment(), is_one_stream=True)
    assert done.returncode == 2 and expected in done.stdout and done.stdout.count("\n") == 1, done.stdout
