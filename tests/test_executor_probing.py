"""Probes: every one gives positive figures in the cases asked for, and what goes wrong is one line and no file."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import torch

import executor.machine_info as info_module
from executor.cli.app import app
from executor.machine_info import machine_info, source_commit
from executor.model.small import small_config
from executor.plan import ModelPlan, Plan
from executor.planning import Place, Request, plan_run
from executor.probing.broadcast import RECEIVERS
from executor.probing.contention import compete
from executor.probing.document import probes_document
from executor.probing.findings import Measured, Params, quantile
from executor.probing.games import SIZES_BYTES
from executor.probing.layers import CONTEXTS, PROMPTS
from executor.probing.names import NAMES
from executor.probing.ranks import measure
from executor.probing.run import Found, probe_plan
from executor.probing.share import Share
from executor.probing.subject import SameWeights, layers_that_fit, subject_of
from executor.probing.timers import MOST_SAMPLES, samples_of
from spdsim.cli.document import document_text
from spdsim.errors import InputError
from spdsim.evidence import Probes, read_probes
from spdsim.evidence.probes import MACHINE_KEYS, RUN_KEYS
from tests.commands import ROOT, environment

HYBRID = {
    "model_type": "qwen3_5_text", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 300, "rms_norm_eps": 1e-6,
    "full_attention_interval": 2, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16,
    "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4, "tie_word_embeddings": False, "attention_bias": False,
    "hidden_act": "silu", "rope_theta": 10_000.0, "max_position_embeddings": 300,
}  # fmt: skip


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files of two models, without weights."""
    found = tmp_path_factory.mktemp("models")
    for name, config in {"dense": small_config(hidden_size=64, num_layers=4), "hybrid": HYBRID}.items():
        (found / f"{name}.json").write_text(json.dumps(config))
    return found


def planned(directory: Path, model: str = "dense", **asked: Any) -> Plan:
    """The plan of a run with one thread."""
    written = str(directory / f"{model}.json")
    request = Request(**{"model": written, "random_weights": True, "threads": 1, **asked})
    return plan_run(request, Place(2, lambda: 0)).plan


@pytest.fixture(scope="module")
def apart(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Probes:
    """All probes of a run whose workers are processes, as they are read from their file."""
    plan = planned(directory, stages=2, draft_layers=2, backend="socket")
    path = tmp_path_factory.mktemp("out") / "probes.json"
    path.write_text(written(plan, probe_plan(plan, (), 5.0, lambda what: None)))
    return read_probes(path)


def written(plan: Plan, found: Found) -> str:
    """The text of a file."""
    return document_text(probes_document(plan, "small", machine_info("cpu"), found.measured, found.skipped))


def cases_of(probes: Probes, what: str, *keys: str) -> list[tuple[Any, ...]]:
    """The cases of an operation, by some of their params."""
    return [tuple(probe.params[key] for key in keys) for probe in probes.of(what)]


# What is measured.


def test_a_file_has_every_probe_with_finite_figures_above_zero(apart: Probes) -> None:
    """And says where it was measured, and of which run."""
    assert {probe.what for probe in apart.probes} == {*NAMES, "message_post"}
    for probe in apart.probes:
        figures = (probe.median, probe.mean, probe.p05, probe.p95)
        assert all(isfinite(figure) and figure > 0.0 for figure in figures), probe
        assert probe.p05 <= probe.median <= probe.p95 and probe.count >= 1
    assert [apart.run[key] for key in RUN_KEYS] == ["small", "float32", "eager", "socket", 1, 2]
    assert tuple(apart.machine) == MACHINE_KEYS
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", apart.date)


def test_the_cases_are_those_that_a_run_has(apart: Probes) -> None:
    """By context, length of prompt, layers and rows of a draft, sampling, size and receivers."""
    assert cases_of(apart, "layer", "context_tokens", "launch") == [(tokens, "eager") for tokens in CONTEXTS]
    assert cases_of(apart, "prefill", "prompt_tokens") == [(tokens,) for tokens in PROMPTS]
    assert sorted(cases_of(apart, "draft", "layers", "rows")) == [(1, 2), (1, 3), (2, 2), (2, 3)]
    assert cases_of(apart, "verify", "vocab_rows", "part") == [(258, "all")]
    assert len(set(cases_of(apart, "verify_sampling", "temperature", "top_k", "top_p", "rule"))) == 4
    assert cases_of(apart, "launch", "operation") == [("add",)]
    assert cases_of(apart, "copy", "buffer_bytes", "threads") == [(64 << 20, 1)]
    assert [probe.unit for probe in apart.of("copy")] == ["bytes/s"]


@pytest.mark.parametrize("what", ["message", "message_post"])
def test_messages_rise_in_size_and_none_reports_fewer_bytes_than_a_smaller_one(apart: Probes, what: str) -> None:
    """The size is that of the payload, whatever the time was."""
    assert cases_of(apart, what, "size_bytes", "backend") == [(size, "socket") for size in SIZES_BYTES]
    assert list(SIZES_BYTES) == sorted(set(SIZES_BYTES)) == [2_048, 16_384, 131_072, 1_048_576]


def test_one_worker_alone_makes_as_many_passes_as_one_alone(apart: Probes) -> None:
    """Exactly, sample by sample; there is a figure for every number of workers of the plan, the draft rank included."""
    assert cases_of(apart, "contention", "workers", "sharing") == [(j, "processes") for j in (1, 2, 3)]
    alone = apart.of("contention", workers=1)[0]
    assert (alone.median, alone.mean, alone.p05, alone.p95, alone.unit) == (1.0, 1.0, 1.0, 1.0, "ratio")


def test_what_needs_a_gpu_is_skipped_with_the_reason(apart: Probes) -> None:
    """On a CPU; and no receivers are left out without a word."""
    why = {skipped.what: [each.why for each in apart.skipped if each.what == skipped.what] for skipped in apart.skipped}
    assert why["launch"] == ["operation cuda_graph: needs a CUDA device"]
    assert why["message"] == ["pairs of CUDA devices: needs CUDA devices"]
    assert set(why["layer"]) == {
        "launch compiled: needs --launch compiled, or a CUDA device", "launch cuda_graph: needs a CUDA device"
    }  # fmt: skip
    told = [receivers for (receivers,) in cases_of(apart, "broadcast", "receivers")]
    assert told == list(RECEIVERS[: len(told)]) and len(told) + len(why.get("broadcast", [])) == len(RECEIVERS)


def test_within_one_process_workers_take_turns(directory: Path) -> None:
    """Messages and verdicts stay there, and no process is started."""
    names = ("message", "broadcast", "contention")
    found = probe_plan(planned(directory, stages=2, backend="local"), names, 0.5, lambda what: None)
    by_name: dict[str, list[Measured]] = {}
    for each in found.measured:
        by_name.setdefault(each.what, []).append(each)
    assert [each.params["size_bytes"] for each in by_name["message"]] == list(SIZES_BYTES)
    assert [each.params["receivers"] for each in by_name["broadcast"]] == list(RECEIVERS)
    assert [each.params["sharing"] for each in by_name["contention"]] == ["turns"] * 3
    assert {each.params.get("backend", "local") for each in found.measured} == {"local"}


def test_gloo_carries_messages_too(directory: Path) -> None:
    """By the backend of the plan, not by another."""
    found = probe_plan(planned(directory, stages=2, backend="gloo"), ("message",), 0.5, lambda what: None)
    assert {each.params["backend"] for each in found.measured} == {"gloo"}
    assert len(found.measured) == 2 * len(SIZES_BYTES)


def test_a_hybrid_model_has_figures_for_each_kind_of_layer(directory: Path) -> None:
    """At the contexts that it has positions for."""
    found = probe_plan(planned(directory, "hybrid", stages=2), ("layer", "prefill"), 1.0, lambda what: None)
    kinds = ("linear_attention", "full_attention")
    layer = [(each.params["kind"], each.params["context_tokens"]) for each in found.measured if each.what == "layer"]
    assert layer == [(kind, tokens) for kind in kinds for tokens in (16, 256)]
    prompts = [(each.params["kind"], each.params["prompt_tokens"]) for each in found.measured if each.what == "prefill"]
    assert prompts == [(kind, tokens) for kind in kinds for tokens in (16, 128)]


def test_one_stage_has_no_drafts_and_says_so(directory: Path) -> None:
    """The rest is measured all the same."""
    found = probe_plan(planned(directory, stages=1), ("draft", "verify", "contention"), 0.3, lambda what: None)
    assert [each.what for each in found.measured] == ["verify", "contention"]
    assert [each.why for each in found.skipped] == ["one stage drafts nothing: needs --stages 2 or more"]


def test_a_sharded_head_and_a_sampling_of_the_options_are_measured(directory: Path) -> None:
    """All rows and a worker's; and that sampling only."""
    plan = planned(directory, stages=2, lm_head="sharded", temperature=0.7, top_k=20, draft_vocab=100)
    found = probe_plan(plan, ("verify", "verify_sampling"), 0.3, lambda what: None)
    assert [(each.params["part"], each.params["vocab_rows"]) for each in found.measured[:2]] == [
        ("all", 258), ("shard", 86),
    ]  # fmt: skip
    (sampled,) = found.measured[2:]
    assert sampled.params == {"temperature": 0.7, "top_k": 20, "top_p": 1.0, "rule": "rejection", "vocab_rows": 258}


# Time.


def test_a_share_is_spread_over_its_cases_and_the_first_has_its_turn() -> None:
    """Whatever the time; what has no turn is noted with its reason."""
    told: list[str] = []
    cases: list[Params] = [{"rows": rows} for rows in (1, 2, 3, 4)]
    share = Share("draft", 0.04, told.append)
    seconds = []
    for params, given_s in share.cases(cases):
        seconds.append(given_s)
        time.sleep(0.05 if params["rows"] == 2 else 0.0)
    assert seconds[0] == pytest.approx(0.01, rel=0.2) and seconds[1] == pytest.approx(0.04 / 3, rel=0.3)
    assert told == ["draft: rows 1", "draft: rows 2"]
    assert [skipped.why.partition(":")[0] for skipped in share.skipped] == ["rows 3", "rows 4"]
    late = Share("draft", 0.0, told.append)
    assert [params for params, _ in late.cases(cases)] == cases[:1]


def test_samples_are_as_many_as_time_allows_and_no_more_than_needed() -> None:
    """At least three of what is quick, one of what takes all the time, and the warm-up is none of them."""
    calls: list[int] = []
    quick = samples_of(lambda act: float(act() is None), lambda: calls.append(1), 5.0)
    assert len(quick) == MOST_SAMPLES < len(calls)
    assert len(samples_of(lambda act: 0.1, lambda: None, 0.0)) == 1
    assert len(samples_of(lambda act: 0.0, lambda: None, 1e-9)) == 3


def test_a_quantile_is_between_the_numbers_beside_it() -> None:
    """Linear, as usual; of one number it is that number."""
    assert [quantile([1.0, 2.0, 4.0], fraction) for fraction in (0.0, 0.25, 0.5, 0.75, 1.0)] == [
        1.0,
        1.5,
        2.0,
        3.0,
        4.0,
    ]
    assert quantile([7.0], 0.95) == 7.0


# What is run.


def test_weights_are_the_same_block_again_and_again() -> None:
    """All of a tensor is filled, with numbers that a model computes with."""
    target = torch.full((700, 1000), torch.nan)
    SameWeights(0).fill("model.layers.0.mlp.gate_proj.weight", target)
    assert bool(target.isfinite().all()) and bool((target[:262] == target[262:524]).all())
    norm = torch.full((8,), torch.nan)
    SameWeights(0).fill("model.norm.weight", norm)
    assert norm.tolist() == [1.0] * 8


def test_layers_are_left_out_where_memory_is_short(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what is free is used, by all copies together."""
    subject = subject_of(planned(directory, stages=1))
    shapes = subject.stage_shapes
    assert len(shapes) == subject.num_layers == 4 and layers_that_fit(subject, shapes, 64) == shapes
    # Query, key, value and output, the MLP, two norms, and keys and values of 64 rows; 4 bytes each.
    layer_bytes = 4 * (64 * (64 + 64) + 64 * 64 + 3 * 64 * 160 + 2 * 64 + 2 * 32 * 64)
    monkeypatch.setattr("executor.probing.subject.free_bytes", lambda device: 2.0 * 2 * 2 * layer_bytes)
    assert layers_that_fit(subject, shapes, 64, copies=2) == shapes[:2]
    monkeypatch.setattr("executor.probing.subject.free_bytes", lambda device: 1.0 * layer_bytes)
    found = probe_plan(subject.plan, ("layer", "prefill", "contention"), 0.1, lambda what: None)
    assert not found.measured and sum("not one layer" in each.why for each in found.skipped) == 3
    monkeypatch.setattr("executor.probing.subject.free_bytes", lambda device: 1.0)
    plan = planned(directory, stages=2, draft_layers=1)
    found = probe_plan(plan, ("draft", "verify", "verify_sampling"), 0.1, lambda what: None)
    assert not found.measured and all("of the memory that is free" in each.why for each in found.skipped)
    assert {each.what for each in found.skipped} == {"draft", "verify", "verify_sampling"}


def test_the_machine_is_told_as_plain_data() -> None:
    """With every key, and the processor as the device of a CPU."""
    told = machine_info("cpu")
    assert tuple(told) == MACHINE_KEYS
    assert json.loads(json.dumps(told)) == told
    assert told["devices"] == [told["device"]] == [told["cpu"]] and told["cores"] >= 1
    assert told["torch"] == torch.__version__


def test_a_checkout_tells_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And that files were changed; a program that was installed has none, nor one without git."""
    program = tmp_path / "executor" / "machine_info.py"
    program.parent.mkdir()
    program.write_text("")
    monkeypatch.setattr(info_module, "__file__", str(program))
    assert source_commit() is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    clean = source_commit()
    assert clean is not None and len(clean) == 12 and set(clean) <= set("0123456789abcdef")
    program.write_text("# changed")
    assert source_commit() == f"{clean}-dirty"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert source_commit() is None


# What goes wrong.


def test_a_process_that_fails_is_told_in_one_line(directory: Path) -> None:
    """Which rank, and what is wrong; none is left behind."""
    plan = replace(planned(directory, stages=2, backend="socket"), model=ModelPlan({"model_type": "other"}, None))
    with pytest.raises(InputError, match=r"^rank \d \(.*\): .*model_type") as caught:
        measure(plan, partial(compete, 1.0, 1))
    assert "\n" not in str(caught.value)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory to work in, as torch's number of threads is afterwards what it was."""
    threads = torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", "--out is missing: must be a file to write"),
        ("--budget 0", "--budget is 0: must be greater than 0, and at most 86,400 seconds"),
        ("--budget nan", "--budget is nan: must be greater than 0"),
        ("--only layers", "--only is 'layers': must be one of layer, prefill, draft, "),
        ("--eager --launch compiled", "--eager is given beside --launch compiled: must be one of the two"),
        ("--launch cuda_graph --device cpu", "--launch is cuda_graph: needs --device cuda"),
        ("--backend nccl --device cpu", "--backend is nccl: needs --device cuda"),
        ("--threads 0", "--threads is 0: must be at least 1"),
        ("--stages 9", "9"),
        ("--model no/model", '--model is "no/model": there is no such directory'),
        ("--scenario no.yaml", "no.yaml: there is no such file"),
        ("--out no/probes.json", "no/probes.json: directory "),
        ("--out -", "-: stands for standard output"),
    ],
)
def test_wrong_options_are_one_line_and_code_2_and_write_nothing(
    words: str, expected: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where, value, rule; said before anything is measured."""
    out = [] if "--out" in words or not words else ["--out", "probes.json"]
    with pytest.raises(SystemExit) as ended:
        app(["probe", *words.split(), *out], prog_name="spdsim-exec")
    said = capsys.readouterr()
    assert (ended.value.code, said.out, said.err.count("\n")) == (2, "", 1), said
    assert said.err.startswith("spdsim-exec: error: ") and expected in said.err
    assert list(here.iterdir()) == []


def test_torchrun_must_not_start_it(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It starts its own processes."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        app(["probe", "--out", "probes.json"], prog_name="spdsim-exec")
    assert ended.value.code == 2 and "must not be started by torchrun" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_only_what_is_asked_for_is_measured_and_a_failure_leaves_no_file(
    directory: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of the probes; what torch raises is one line, too."""
    words = ["--model", str(directory / "dense.json"), "--random-weights", "--threads", "1", "--budget", "0.2"]
    only = ["--only", "copy", "--only", "verify", "--out", "probes.json"]
    with pytest.raises(SystemExit) as ended:
        app(["probe", *words, *only], prog_name="spdsim-exec")
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (0, "")
    assert said.err == "spdsim-exec: wrote probes.json: 2 measurements\n"
    read = read_probes("probes.json")
    assert [probe.what for probe in read.probes] == ["verify", "copy"]
    assert (read.run["model"], read.run["backend"]) == ("dense", "local")
    (here / "probes.json").unlink()

    def fail(*_: object) -> None:
        raise RuntimeError("no such kernel\nand more of it")

    monkeypatch.setattr("executor.probing.verdicts.verify_match", fail)
    with pytest.raises(SystemExit) as ended:
        app(["probe", *words, *only], prog_name="spdsim-exec")
    assert (ended.value.code, capsys.readouterr().err) == (
        2, "spdsim-exec: error: probe verify failed: no such kernel\n",
    )  # fmt: skip
    assert list(here.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_wish_to_stop_ends_every_process_and_leaves_no_file(directory: Path, tmp_path: Path) -> None:
    """While processes measure something together."""
    mark = f"SPD_TEST_{os.getpid()}"
    words = ["--model", str(directory / "dense.json"), "--random-weights", "--backend", "socket", "--budget", "600"]
    only = [word for name in ("message", "broadcast", "contention") for word in ("--only", name)]
    command = [sys.executable, "-m", "executor", "probe", *words, *only, "--out", "probes.json"]
    env = environment(PYTHONPATH=str(ROOT), **{mark: "1"})
    with subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as process:
        # The command, multiprocessing's helpers, and two workers or more; other probes are still to come.
        assert until(lambda: len(marked(mark)) >= 5), "the processes have started"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30.0)
    assert (process.returncode, stderr) == (130, "spdsim-exec: stopped, nothing written\n")
    assert list(tmp_path.iterdir()) == []
    assert until(lambda: not marked(mark)), "a process is left"


def until(is_so: Any, seconds: float = 30.0) -> bool:
    """Whether something becomes true."""
    end_s = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end_s:
        time.sleep(0.05)
    return bool(is_so())


def marked(mark: str) -> list[str]:
    """The processes that have a mark in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (entry / "environ").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found
