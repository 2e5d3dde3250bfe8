"""Plain decoding from catalogue figures alone: the same times as the simulator's, near what was measured."""

import json
from pathlib import Path

import pytest

from spdsim import load_scenario, simulate, summarize
from spdsim.errors import InputError
from spdsim.evidence import is_plain_table, read_plain_table
from spdsim.scenario.build import gpu_named
from spdsim.scenario.model import Launch
from spdsim.scenario.target_files import load_model
from spdsim.timing.plain import plain_token_s
from spdsim.validation import plain_document, validate_plain
from tests.commands import spdsim

SCENARIOS = Path(__file__).parent.parent / "scenarios"
TABLE = SCENARIOS / "published" / "plain-decoding.csv"
HEAD = "model,gpu,devices,launch,context_tokens,token_ms,use,source\n"


@pytest.mark.parametrize("launch", ["eager", "compiled", "cuda_graph"])
@pytest.mark.parametrize("model", ["llama-3.1-8b", "qwen3.5-4b", "qwen3-30b-a3b"])
def test_one_device_takes_what_the_simulator_says(launch: Launch, model: str) -> None:
    """The formula and a simulated token of one stage, at the same context, but for the driver's bookkeeping."""
    settings = [
        f"model={model}", "partition.stages=1", f"runtime.launch={launch}", "devices.gpu=h100-sxm",
        "workload.prompt_tokens=500", "workload.new_tokens=2", "timing.commit_s=0",
    ]  # fmt: skip
    trace = simulate(load_scenario(SCENARIOS / "rtx4090x4-pcie.yaml", settings))
    simulated = summarize(trace).time_per_token_s
    assert simulated is not None
    token_s = plain_token_s(load_model(model), gpu_named("h100"), launch, 500)
    assert token_s == pytest.approx(simulated.mean, rel=1e-9)


def test_one_device_is_predicted_within_one_and_a_half_per_cent() -> None:
    """Three engines' rows, two GPUs, nothing fitted to them."""
    found = validate_plain(read_plain_table(TABLE))
    one, several = found.groups
    assert (one.name, one.num_rows, several.name, several.num_rows) == ("one device", 3, "tensor parallel", 6)
    assert abs(one.largest_error) < 0.015
    assert abs(several.largest_error) < 0.08
    assert several.mean_absolute_error < 0.05


@pytest.mark.parametrize("microseconds", ["6", "15"])
def test_either_end_of_the_published_all_reduces_is_near(microseconds: str, tmp_path: Path) -> None:
    """gpt-fast's rows within 15 %, whichever end of the range its all-reduce is at."""
    path = tmp_path / "t.csv"
    written = TABLE.read_text(encoding="utf-8").replace(",all_reduce,", ",all_reduce_us,")
    path.write_text(written.replace(",whole,one_shot,", f",whole,{microseconds},"))
    several = validate_plain(read_plain_table(path)).groups[1]
    assert abs(several.largest_error) < 0.15


def test_an_engine_that_cuts_its_lm_head_and_meets_by_nccl_is_the_rule(tmp_path: Path) -> None:
    """Where a row says nothing: the catalogue's all-reduce, and a shard of the LM head on each device."""
    path, model, gpu = tmp_path / "t.csv", load_model("llama-2-7b"), gpu_named("a100-sxm-80g")
    line = "llama-2-7b,a100-sxm-80g,8,cuda_graph,100,3.045,{},validate,x\n"
    cells = (",", "sharded,", "whole,", "sharded,22.6")
    path.write_text(HEAD.replace(",use", ",lm_head,all_reduce_us,use") + "".join(map(line.format, cells)))
    silent, sharded, whole, nccl = [row.predicted_s or 0.0 for row in validate_plain(read_plain_table(path)).lines]
    assert silent == sharded == nccl == plain_token_s(model, gpu, "cuda_graph", 100, 8)
    # Seven eighths more of the head's 0.26 GB, and no meeting after it.
    bytes_s = 7 / 8 * model.head_bytes / (gpu.bandwidth_bytes_per_s or 0.0)
    assert whole - silent == pytest.approx(bytes_s / 0.77 - 22.6e-6, rel=0.1)


def test_a_row_that_a_figure_follows_from_does_not_count() -> None:
    """Eager mode's cost of an operation is derived from Qwen2.5-7B's run."""
    (line,) = [line for line in validate_plain(read_plain_table(TABLE)).lines if line.row.launch == "eager"]
    assert line.error is not None
    assert not line.is_counted


def test_more_devices_are_never_slower_for_a_large_model_and_cost_all_reduces() -> None:
    """Shards shrink, meetings grow."""
    model, gpu = load_model("llama-3.1-70b"), gpu_named("h100")
    times = [plain_token_s(model, gpu, "cuda_graph", 0, count) for count in (1, 2, 4, 8)]
    known = [time for time in times if time is not None]
    assert known == sorted(known, reverse=True)
    assert len(known) == 4
    assert known[-1] > known[0] / 8


def test_unknown_meetings_are_skipped_and_missing_times_predicted(tmp_path: Path) -> None:
    """No all-reduce is known of an RTX 4090, nor of 16 devices; an empty time is no error."""
    path = tmp_path / "t.csv"
    path.write_text(HEAD + "llama-3.1-8b,rtx-4090,2,cuda_graph,0,5,,\nllama-3.1-8b,H100,1,cuda_graph,0,,,\n")
    document = plain_document(validate_plain(read_plain_table(path)))
    assert [row["status"] for row in document["rows"]] == ["skipped", "predicted"]
    assert document["rows"][1]["predicted_token_ms"] == pytest.approx(5.9, rel=0.02)
    assert document["groups"] == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("llama-3.1-8c,h100,1,eager,0,5,,", ':2: model is "llama-3.1-8c"'),
        ("llama-3.1-8b,h1000,1,eager,0,5,,", ":2: gpu is 'h1000'"),
        ("llama-3.1-8b,h100,one,eager,0,5,,", ":2: devices is 'one': must be a number"),
        ("llama-3.1-8b,h100,0,eager,0,5,,", ":2: devices is 0: must be at least 1"),
        ("llama-3.1-8b,h100,1,graph,0,5,,", ":2: launch is 'graph': must be one of eager, compiled, cuda_graph"),
        ("llama-3.1-8b,h100,1,eager,0,-5,,", ":2: token_ms is -5: must be greater than 0"),
    ],
)
def test_a_wrong_row_is_told_with_its_line_and_column(line: str, said: str, tmp_path: Path) -> None:
    """Where, value, rule."""
    path = tmp_path / "t.csv"
    path.write_text(HEAD + line + "\n")
    with pytest.raises(InputError) as caught:
        validate_plain(read_plain_table(path))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("cut,,", ":2: lm_head is 'cut': must be sharded, whole or empty, which is sharded"),
        (",,0", ":2: all_reduce_us is 0: must be greater than 0"),
        (",ring,", ":2: all_reduce is 'ring': must be nccl, one_shot or empty, which is nccl"),
    ],
)
def test_a_wrong_engine_is_told_in_the_same_way(cells: str, said: str, tmp_path: Path) -> None:
    """In the columns that may be left out."""
    path = tmp_path / "t.csv"
    path.write_text(
        HEAD.replace(",use", ",lm_head,all_reduce,all_reduce_us,use")
        + f"llama-2-7b,a100-sxm-80g,8,eager,0,5,{cells},,\n"
    )
    with pytest.raises(InputError) as caught:
        read_plain_table(path)
    assert said in str(caught.value)


def test_the_command_tells_the_two_tables_apart(tmp_path: Path) -> None:
    """By their columns; a profile belongs to a table of speedups only."""
    assert is_plain_table(TABLE)
    assert not is_plain_table(SCENARIOS / "published" / "spd_table.csv")
    done = spdsim("validate", "--table", str(TABLE), "--json", "-")
    assert json.loads(done.stdout)["format"] == "spd-plain-validation"
    refused = spdsim("validate", "--table", str(TABLE), "--profile", "p.yaml")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--profile is given: must be left out" in refused.stderr
    missing = spdsim("validate", "--table", str(SCENARIOS / "published" / "spd_table.csv"))
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "--profile is missing: must be given" in missing.stderr
    off = spdsim("validate", "--table", str(TABLE), "--tolerance", "0.0001")
    assert off.returncode == 1
