"""A run from its request to its results, with a launch that follows a script: text, figures, files, a lost rank."""

import io
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from executor.cli.document import run_document
from executor.cli.narrator import Narrator
from executor.cli.record import recorded
from executor.cli.result import Result
from executor.cli.session import Files, generate_and_report
from executor.cli.table import print_result
from executor.cli.waiting import LateStatus
from executor.errors import LostRankError
from executor.planning import Place, Request, Run, plan_run
from executor.planning.place import World
from executor.traces import merged
from spdsim.analysis.summary import summarize
from spdsim.cli.document import document_text
from spdsim.errors import InputError, RunError
from spdsim.scenario import load_scenario, scenario_document, scenario_sha256
from spdsim.simulation import simulate
from spdsim.timing import machine_of
from spdsim.trace import ONE_DEVICE, PLAIN_PIPELINE, Span, Trace
from spdsim.tracefile import read_trace
from tests.commands import ROOT, TUTORIAL
from tests.golden import check_golden
from tests.scripted_launch import TEXT, Script, empty_trace, of_worker

PLACE = Place(4, lambda: 0)
SCRIPT = Script()
FORCED: dict[str, Any] = {"stages": 4, "draft": "forced:p=0.8"}
EMULATED: dict[str, Any] = {"scenario": Path(TUTORIAL), "emulate": "scenario"}
PROMISED = (
    "schema_version", "tool_version", "status", "error", "origin", "acceptance_forced", "scenario", "scenario_sha256",
    "seed", "versions", "run", "warnings", "notes", "speedup", "speculative", "plain", "acceptance_probability",
    "tokens_per_cycle", "equivalent_accept_length", "closed_form_speedup", "num_cycles", "num_drafts", "num_accepted",
    "differences_from_plain", "workers", "sequences",
)  # fmt: skip


def result_of(script: Script = SCRIPT, /, **asked: Any) -> Result:
    """Return what comes of a request, without anything printed."""
    run = plan_run(Request(**asked), PLACE)
    narrator = Narrator(run, None, is_watched=False)
    try:
        with narrator:
            outcome = script(run.plan, run.jobs, narrator)
    except LostRankError as error:
        return Result.of(run, narrator, None, str(error))
    return Result.of(run, narrator, outcome)


def delivered(files: Files, script: Script = SCRIPT, /, *, is_quiet: bool = False, **asked: Any) -> None:
    """Run a request as the command does."""
    generate_and_report(Request(**asked), PLACE, files, is_quiet=is_quiet, launch=script)


def narrated(script: Script, /, **asked: Any) -> tuple[str, Run]:
    """Return what a run says while it goes on."""
    run, pieces = plan_run(Request(**asked), PLACE), list[str]()
    with Narrator(run, pieces.append, is_watched=False) as narrator:
        script(run.plan, run.jobs, narrator)
    return "".join(pieces), run


# Text.


def test_text_appears_token_by_token_and_once() -> None:
    """That of speculative decoding, not that of the baseline before it."""
    assert narrated(Script(), **FORCED, max_new_tokens=30)[0] == TEXT[:30] + "\n"


def test_without_drafts_the_text_is_plain_decodings() -> None:
    """There is no other."""
    assert narrated(Script(), draft="none", max_new_tokens=30)[0] == TEXT[:30] + "\n"


def test_no_half_character_and_no_command_reaches_the_terminal() -> None:
    """A character appears with its last byte; the end of the run may cut one."""
    said, _ = narrated(Script(text="é\x1b[2J東"), max_new_tokens=8)
    assert said == "é␛[2J\N{REPLACEMENT CHARACTER}\n"


def test_tokens_are_numbers_where_there_is_no_tokenizer() -> None:
    """With spaces between them."""
    said, run = narrated(Script(), model="llama-3.1-8b", random_weights=True, max_new_tokens=3)
    assert run.tokenizer is None
    assert said == "79 110 99 \n"


def test_an_end_token_is_not_shown() -> None:
    """It is no part of the text."""
    said, _ = narrated(Script(), end_tokens=(ord("e"),))
    assert said == "Onc\n"
    assert result_of(end_tokens=(ord("e"),)).results[-1].tokens[-1] == ord("e")


def test_several_sequences_are_told_apart() -> None:
    """Each on its line."""
    said, _ = narrated(Script(), sequences=2, max_new_tokens=4)
    assert said.splitlines() == ["[sequence 0] Once", "[sequence 1] nce "]


def test_emulated_tokens_are_not_shown() -> None:
    """They are invented."""
    assert narrated(Script(), **EMULATED)[0] == ""


def test_a_failure_to_print_is_told_after_the_run() -> None:
    """The narrator has a thread of its own; the run goes on, the failure does not vanish in it."""
    run = plan_run(Request(), PLACE)

    def show(text: str) -> None:
        raise ZeroDivisionError(text)

    with pytest.raises(ZeroDivisionError), Narrator(run, show, is_watched=False) as narrator:
        outcome = Script()(run.plan, run.jobs, narrator)
    assert len(narrator.results) == len(outcome.results) == 2


class _Terminal(io.StringIO):
    """What progress is shown on."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("is_wanted", "wait_s", "is_shown"), [(True, 1.3, True), (True, 0.0, False), (False, 1.3, False)]
)
def test_loading_is_told_once_it_takes_longer_than_a_second(
    is_wanted: bool, wait_s: float, is_shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal, and not when quiet."""
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with LateStatus(is_wanted, "loading") as status:
        time.sleep(wait_s)
        status.stop()
    assert ("loading" in terminal.getvalue()) == is_shown


# Figures for people.


TABLES: dict[str, tuple[Script, dict[str, Any]]] = {
    "forced": (Script(), FORCED),
    "module": (Script(verdicts="R"), {"backend": "gloo", "layers": "5,3"}),
    "sequences": (Script(), {"stages": 4, "sequences": 3, "temperature": 0.8, "lm_head": "sharded"}),
    "emulated": (Script(), EMULATED),
    "plain": (Script(), {"stages": 1, "prompt_ids": "1,2,3"}),
    "wrong": (Script(wrong_at=9), {"draft": "forced:p=0.8"}),
    "lost": (Script(lost_after=80), FORCED),
    "lost-at-once": (Script(lost_after=0), FORCED),
    "one-token": (Script(), {**FORCED, "max_new_tokens": 1}),
    "no-baseline": (Script(), {"has_baseline": False}),
}


def printed(result: Result, width: int, *, file: io.StringIO | None = None, colour: bool = False) -> str:
    file = file or io.StringIO()
    console = Console(
        width=width, file=file, force_terminal=colour, color_system="truecolor" if colour else None, _environ={},
        highlight=False,
    )  # fmt: skip
    print_result(result, console)
    return file.getvalue()


@pytest.mark.parametrize("name", TABLES)
def test_the_figures_read_like_this(name: str) -> None:
    """Golden files: no escape sequence, no line wider than the terminal, no blanks at line ends."""
    script, asked = TABLES[name]
    text = printed(result_of(script, **asked), 80)
    assert "\x1b" not in text
    assert all(cell_len(line) <= 80 and line == line.rstrip() for line in text.splitlines())
    check_golden(f"executor-{name}.txt", text)


def test_wider_terminals_and_plain_ascii_are_served() -> None:
    """At 120 columns, in colour, and without Unicode."""

    class Ascii(io.StringIO):
        encoding = "ascii"

    result = result_of(**FORCED)
    assert max(map(len, printed(result, 120).splitlines())) <= 120
    assert printed(result, 80, file=Ascii()).isascii()
    assert "\x1b[1;32m2.47" in printed(result, 80, colour=True)


@pytest.mark.parametrize(("asked", "words"), [(FORCED, "acceptance forced"), (EMULATED, "emulated")])
def test_what_was_forced_or_emulated_is_said_in_every_output(
    asked: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the screen at the first line of the answer, in the document, and in the trace."""
    files = Files(tmp_path / "run.json", tmp_path / "trace.jsonl")
    delivered(files, **asked, is_recorded=True)
    claim = next(line for line in capsys.readouterr().out.splitlines() if "over plain decoding" in line)
    assert words in claim
    document = json.loads((tmp_path / "run.json").read_text())
    header = read_trace(tmp_path / "trace.jsonl").header
    assert document["acceptance_forced"] is True and header.mean_acceptance == 0.8
    is_emulated = asked is EMULATED
    assert document["origin"] == ("emulated" if is_emulated else "measured")
    assert header.source == ("emulated" if is_emulated else "executor")


# Files.


def strict(text: str) -> Any:
    """Parse JSON and refuse what only Python reads."""

    def refuse(name: str) -> Any:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("name", TABLES)
def test_the_document_has_every_promised_key(name: str) -> None:
    """Whatever came of the run; and it is strict JSON."""
    script, asked = TABLES[name]
    document = strict(document_text(run_document(result_of(script, **asked))))
    assert tuple(document) == PROMISED
    assert document["status"] == ("incomplete" if name.startswith("lost") else "complete")


def test_every_key_of_the_document_is_described() -> None:
    """On the page of the executor."""
    page = (ROOT / "docs" / "reference" / "executor.md").read_text(encoding="utf-8")
    assert [key for key in PROMISED if f"`{key}`" not in page] == []


def test_json_on_stdout_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings go to stderr, and the text is in the document."""
    delivered(Files(Path("-")), Script(wrong_at=3), **FORCED, max_new_tokens=11)
    out, err = capsys.readouterr()
    document = strict(out)
    assert [sequence["text"] for sequence in document["sequences"]] == [TEXT[:11], TEXT[:3] + "f" + TEXT[4:11]]
    assert document["differences_from_plain"] == [{"sequence": 0, "position": 3}]
    assert err.startswith("spdsim-exec: warning: the tokens are not those of plain decoding from position 3")


def test_quiet_prints_nothing_and_writes_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For use with files."""
    delivered(Files(tmp_path / "quiet.json"), is_quiet=True, **FORCED)
    assert capsys.readouterr() == ("", "")
    delivered(Files(tmp_path / "told.json"), **FORCED)
    assert (tmp_path / "quiet.json").read_bytes() == (tmp_path / "told.json").read_bytes()


def test_figures_of_the_document_are_those_of_the_tokens() -> None:
    """Tokens per cycle, acceptance and accept length from the sequences themselves."""
    document = run_document(result_of(stages=4, sequences=3, draft="forced:p=0.8"))
    drafted = [sequence for sequence in document["sequences"] if sequence["method"] == "spd"]
    verdicts = [verdict for sequence in drafted for verdict in sequence["accepted"]]
    cycles = sum(sequence["num_cycles"] for sequence in drafted)
    assert document["num_cycles"] == cycles
    assert document["acceptance_probability"] == pytest.approx(sum(verdicts) / len(verdicts))
    assert document["tokens_per_cycle"] == pytest.approx(3 * 64 / cycles)
    assert document["equivalent_accept_length"] == pytest.approx(4 * 3 * 64 / cycles)
    decode_s = {
        method: sum(s["decode_s"] for s in document["sequences"] if s["method"] == method)
        for method in ("plain", "spd")
    }
    assert document["speedup"]["mean"] == pytest.approx(decode_s["plain"] / decode_s["spd"])
    assert document["speculative"]["tokens_per_s"]["mean"] == pytest.approx(3 * 63 / decode_s["spd"])


def test_free_drafts_are_told_as_such(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """In the document, and beside the speedup and the acceptance."""
    run = run_document(result_of(stages=4, draft="free:p=0.8"))["run"]
    assert (run["draft"], run["draft_layers"], run["forced_acceptance"]) == ("free", None, 0.8)
    delivered(Files(tmp_path / "x.json"), **FORCED | {"draft": "free:p=0.8"})
    printed = " ".join(capsys.readouterr().out.split())
    assert "acceptance forced and drafts free" in printed
    assert "verified drafts, forced and free" in printed
    assert "no draft module runs" in printed


# Traces.


@pytest.mark.parametrize(
    "asked", [{**FORCED, "sequences": 2}, {"lm_head": "sharded", "stages": 3}, {"stages": 1}, EMULATED]
)
def test_a_trace_is_one_that_the_simulator_reads(asked: dict[str, Any], tmp_path: Path) -> None:
    """Every span of every rank, accepted by the file format and by the report."""
    file = tmp_path / "trace.jsonl"
    delivered(Files(trace=file, perfetto=tmp_path / "p.json"), is_quiet=True, **asked, is_recorded=True)
    trace, report = read_trace(file), summarize(read_trace(file))
    plan = plan_run(Request(**asked), PLACE).plan
    assert (trace.header.num_stages, trace.header.verification_lag) == (plan.layout.num_stages, 0)
    assert [worker.role for worker in trace.header.workers] == [
        plan.layout.role(w) for w in range(plan.layout.num_workers)
    ]
    assert (report.num_sequences, report.num_tokens) == (trace.num_sequences, trace.num_sequences * 64)
    assert min(trace.start_s) == 0.0
    assert trace.header.scenario_sha256 == scenario_sha256(plan.scenario)
    assert strict((tmp_path / "p.json").read_text())["traceEvents"]


def test_an_emulated_trace_has_the_simulators_header() -> None:
    """But for who wrote it, and on which clock."""
    header = recorded(result_of(**EMULATED, is_recorded=True)).header
    expected = simulate(load_scenario(TUTORIAL, ["replications=1"])).header
    scenario = load_scenario(TUTORIAL)
    same = replace(expected, scenario_sha256=scenario_sha256(scenario), scenario=scenario_document(scenario))
    assert header.machine is not None and "emulated" in header.machine
    assert replace(header, source="simulator", clock=expected.clock, machine=None) == same


def test_a_measured_trace_compares_with_what_was_measured_beside_it() -> None:
    """On one device plain decoding's own time, over several what stages and messages take."""
    local, spread = (
        recorded(result_of(**FORCED, is_recorded=True, backend=backend)).header for backend in ("local", "gloo")
    )
    assert local.baseline == ONE_DEVICE and local.plain_token_s == pytest.approx(0.04)
    assert (spread.baseline, spread.plain_token_s) == (PLAIN_PIPELINE, None)
    assert recorded(result_of(stages=4, is_recorded=True)).header.mean_acceptance is None


def test_merging_loses_no_span_and_keeps_each_workers_order() -> None:
    """What the ranks recorded apart is what the simulator would have recorded together."""
    whole = simulate(load_scenario(TUTORIAL, ["replications=1", "workload.sequences=2"]))
    result = result_of(**EMULATED, is_recorded=True)
    reports = tuple(replace(report, spans=of_worker(whole, report.worker)) for report in result.reports)
    again = merged(whole.header, reports)
    for sequence in range(2):
        for worker in range(len(whole.header.workers)):
            assert of_one(again, sequence, worker) == of_one(whole, sequence, worker)


def of_one(trace: Trace, sequence: int, worker: int) -> list[Span]:
    """Return a worker's spans of a sequence, to the nanosecond."""
    return [
        replace(span, start_s=round(span.start_s, 9), end_s=round(span.end_s, 9))
        for span in trace.spans(sequence)
        if span.worker == worker
    ]


def test_nothing_recorded_is_an_empty_trace() -> None:
    """A merge of ranks without spans."""
    result = result_of(**FORCED)
    header = empty_trace(machine_of(result.run.plan.scenario)).header
    assert len(merged(header, result.reports)) == 0


# Runs that end early.


def test_a_lost_rank_leaves_the_tokens_and_the_figures_so_far(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plain decoding was done; 16 tokens of the other were. No trace, since ranks that are lost hand over nothing."""
    files = Files(tmp_path / "run.json", tmp_path / "trace.jsonl", tmp_path / "perfetto.json")
    with pytest.raises(LostRankError, match="killed by signal 9"):
        delivered(files, Script(lost_after=80), **FORCED, is_recorded=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    out, _ = capsys.readouterr()
    assert out.startswith(TEXT[:16] + "\n\n") and "16 of 64 tokens" in out
    document = strict((tmp_path / "run.json").read_text())
    plain, unfinished = document["sequences"]
    assert (document["status"], plain["status"], unfinished["status"]) == ("incomplete", "complete", "incomplete")
    assert (unfinished["text"], len(unfinished["accepted"]), unfinished["decode_s"]) == (TEXT[:16], 15, None)
    assert document["error"].startswith("rank 2 (stage 1) was killed")
    assert document["speedup"] is None and document["plain"]["num_tokens"] == 64


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), InputError("stage 0: x.safetensors: is cut short")])
def test_other_ends_write_nothing(failure: BaseException, tmp_path: Path) -> None:
    """Ctrl-C, and what a rank says of the model's files."""
    files = Files(tmp_path / "run.json", tmp_path / "trace.jsonl")
    with pytest.raises(type(failure)):
        delivered(files, Script(lost_after=70, failure=failure), **FORCED, is_recorded=True)
    assert list(tmp_path.iterdir()) == []


def test_one_path_for_two_outputs_is_refused_before_the_run(tmp_path: Path) -> None:
    """And so is what cannot be written, or is read."""
    for files, rule in (
        (Files(tmp_path / "a", tmp_path / "." / "a"), "is named for two outputs"),
        (Files(None, tmp_path, None), "is a directory"),
        (Files(tmp_path / "no" / "such"), "does not exist"),
        (Files(None, None, Path("-")), "stands for standard output"),
    ):
        with pytest.raises(InputError, match=rule):
            delivered(files, Script(lost_after=0, failure=AssertionError("it ran")), **FORCED, is_recorded=True)
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("a")
    with pytest.raises(InputError, match="is what the command reads"):
        delivered(Files(prompt), prompt_file=prompt)


# Ranks of torchrun.


def test_torchrun_has_a_port_of_its_own() -> None:
    """Another one would be left aside without a word."""
    with pytest.raises(InputError, match="--port is 1234: torchrun says where"):
        generate_and_report(
            Request(), Place(4, lambda: 0, World(0, 3, 3)), Files(), is_quiet=False, launch=Script(), port=1234
        )


def test_other_ranks_take_part_and_say_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """They write nothing either; what goes wrong with one of them is an error of the run."""
    place = Place(4, lambda: 0, World(2, 3, 3))
    files = Files(tmp_path / "run.json")
    generate_and_report(Request(), place, files, is_quiet=False, launch=Script())
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    failing = Script(lost_after=0, failure=InputError("stage 1: weights are missing"))
    with pytest.raises(RunError, match="weights are missing"):
        generate_and_report(Request(), place, files, is_quiet=False, launch=failing)
