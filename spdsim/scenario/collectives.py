"""Seconds of a small all-reduce, from published figures: what tensor parallelism pays in every layer."""

from itertools import pairwise
from math import log2
from typing import Any

from spdsim.errors import ScenarioError
from spdsim.scenario.catalogue import canonical_name, entries
from spdsim.scenario.hardware import AllReduce, Provenance
from spdsim.scenario.model import Scenario

_FEWEST, _MOST = 2, 8
"""Devices of the table's two columns."""


def all_reduce_s(
    gpu_name: str, num_devices: int, num_bytes: float, kind: AllReduce = "nccl", *, is_extrapolated: bool = False
) -> tuple[float, Provenance] | None:
    """Return seconds of an all-reduce of `num_bytes` over `num_devices` GPUs of one node, and where they come from.

    Linear in bytes between the table's sizes, and in the logarithm of the number between 2 and 8 devices.
    Fewer bytes than the least size take as long as that. One device has nothing to reduce.
    is_extrapolated: more bytes than the largest size go on as between the last two.
    kind: "one_shot" takes one figure for all small messages, beyond them as much more as NCCL takes more, and never
    longer than NCCL, which an engine would use then.
    None if the table does not know the GPU, has no such size or no such number of devices, or no one-shot kernel runs.
    Sources: NVIDIA AIConfigurator, nccl_perf; for "one_shot" the entry's own.
    """
    table = _table(gpu_name)
    if num_devices == 1:
        return 0.0, Provenance(origin="assumed", source="nothing to reduce on one device")
    if table is None or not _FEWEST <= num_devices <= _MOST:
        return None
    if num_bytes > table["num_bytes"][-1] and not is_extrapolated:
        return None
    nccl_s = _nccl_s(table, num_devices, num_bytes)
    nccl = nccl_s, Provenance(origin=table["origin"], source=table["source"])
    if kind == "nccl":
        return nccl
    if (figure := table["one_shot"]) is None:
        return None
    more_s = nccl_s - _nccl_s(table, num_devices, min(num_bytes, table["one_shot_bytes"]))
    one_shot_s = figure["value"] + more_s
    if nccl_s <= one_shot_s:
        return nccl
    return one_shot_s, Provenance(origin=figure["origin"], source=figure["source"])


def all_reduce_of(scenario: Scenario, rows: int = 1) -> tuple[float, Provenance] | None:
    """Return seconds of an all-reduce of `rows` hidden states over a stage's group, and where they come from.

    What the scenario says (`links.all_reduce_s`) comes first, then the catalogue's figure of `links.all_reduce`, which
    goes on beyond the largest size for several rows; None where neither knows.
    """
    if (given := scenario.links.all_reduce_s) is not None:
        return given, Provenance(origin="assumed", source="given in the scenario")
    devices, model = scenario.partition.tensor_parallel, scenario.model
    num_bytes = rows * model.state_vector_bytes
    kind = scenario.links.all_reduce
    return all_reduce_s(scenario.devices.gpu.name, devices, num_bytes, kind, is_extrapolated=rows > 1)


def _table(gpu_name: str) -> dict[str, Any] | None:
    try:
        return entries("collectives").get(canonical_name("gpus", gpu_name))
    except ScenarioError:
        return None


def _nccl_s(table: dict[str, Any], num_devices: int, num_bytes: float) -> float:
    few_s, many_s = (_between(table["num_bytes"], table["seconds"][n], num_bytes) for n in (_FEWEST, _MOST))
    return few_s + log2(num_devices / _FEWEST) / log2(_MOST / _FEWEST) * (many_s - few_s)


def _between(sizes: list[float], seconds: list[float], size: float) -> float:
    """The seconds of `size`, on the line between the two sizes around it; below the least, those of the least."""
    spans = list(pairwise(zip(sizes, seconds, strict=True)))
    (low, low_s), (high, high_s) = next((span for span in spans if size <= span[1][0]), spans[-1])
    return low_s + max(0.0, size - low) / (high - low) * (high_s - low_s)
