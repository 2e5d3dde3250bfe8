"""What probes add on a GPU: compiled steps and CUDA graphs, streams of one device. Skipped where there is no GPU."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from executor.machine_info import machine_info
from executor.model.small import small_config
from executor.plan import Plan
from executor.planning import Place, Request, plan_run
from executor.probing.games import SIZES_BYTES
from executor.probing.run import Found, probe_plan

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def planned(directory: Path, **asked: Any) -> Plan:
    """The plan of a run on the GPUs that are here."""
    path = directory / "model.json"
    path.write_text(json.dumps(small_config(hidden_size=256, num_layers=4)))
    request = Request(**{"model": str(path), "random_weights": True, "stages": 2, **asked})
    return plan_run(request, Place(4, torch.cuda.device_count)).plan


def probed(plan: Plan, *names: str, budget_s: float = 3.0) -> Found:
    """What probes find; every sample is above zero."""
    found = probe_plan(plan, names, budget_s, lambda what: None)
    for each in found.measured:
        assert each.samples and min(each.samples) > 0.0, each
    return found


def test_a_layer_is_measured_by_every_launch(tmp_path: Path) -> None:
    """Compiling takes long, so that it may be left out, but with the reason."""
    found = probed(planned(tmp_path), "layer", "prefill", budget_s=60.0)
    launches = {each.params["launch"] for each in found.measured if each.what == "layer"}
    assert launches >= {"eager", "cuda_graph"}
    assert "compiled" in launches or any("launch compiled" in each.why for each in found.skipped)


def test_drafts_and_verdicts_are_measured_as_graphs_replay_them(tmp_path: Path) -> None:
    """With the launch of the plan."""
    found = probed(planned(tmp_path, draft_layers=1), "draft", "verify", "verify_sampling")
    assert {each.params["launch"] for each in found.measured if each.what == "draft"} == {"cuda_graph"}


def test_a_host_issues_operations_and_graphs_without_waiting(tmp_path: Path) -> None:
    """A graph of one node and of many."""
    found = probed(planned(tmp_path), "launch", "copy")
    operations = [each.params["operation"] for each in found.measured if each.what == "launch"]
    assert operations == ["add", "cuda_graph", "cuda_graph"]
    (copy,) = (each for each in found.measured if each.what == "copy")
    assert copy.params["buffer_bytes"] == 256 << 20 and copy.unit == "bytes/s"


def test_workers_of_one_gpu_have_a_stream_each(tmp_path: Path) -> None:
    """And messages within it."""
    found = probed(planned(tmp_path, backend="local"), "message", "contention")
    shared = [each for each in found.measured if each.what == "contention"]
    assert [(each.params["workers"], each.params["sharing"]) for each in shared] == [(j, "streams") for j in (1, 2, 3)]
    assert set(shared[0].samples) == {1.0}
    sizes = [each.params["size_bytes"] for each in found.measured if each.what == "message"]
    pairs = max(1, (gpus := min(3, torch.cuda.device_count())) * (gpus - 1))
    assert sizes == list(SIZES_BYTES) * pairs


@pytest.mark.skipif(torch.cuda.device_count() < 3, reason="needs three CUDA devices")
def test_every_ordered_pair_of_devices_exchanges_messages(tmp_path: Path) -> None:
    """Over NCCL, each in a process of its own."""
    found = probed(planned(tmp_path, backend="nccl"), "message", "contention", budget_s=60.0)
    pairs = {(each.params["source"], each.params["to"]) for each in found.measured if each.what == "message"}
    assert pairs == {(f"cuda:{i}", f"cuda:{j}") for i in range(3) for j in range(3) if i != j}


def test_the_machine_names_its_gpus() -> None:
    """With the versions of what runs on them."""
    told = machine_info("cuda")
    assert told["devices"] and told["device"] == told["devices"][0] == torch.cuda.get_device_name(0)
    assert told["cuda"]
