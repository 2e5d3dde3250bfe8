"""Files of probes: what is read from them, and the one line for each thing that may be wrong with one."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from spdsim.errors import InputError
from spdsim.evidence import read_probes
from spdsim.evidence.probes import Probe

GOOD: dict[str, Any] = {
    "format": "spd-probes",
    "version": 1,
    "machine": {
        "device": "AMD EPYC", "devices": ["AMD EPYC"], "cpu": "AMD EPYC", "cores": 2, "torch": "2.13.0", "cuda": None,
        "driver": None, "nccl": None, "python": "3.11.7", "host_os": "Linux",
    },
    "run": {"model": "small", "dtype": "float32", "launch": "eager", "backend": "socket", "threads": 1, "stages": 2},
    "date": "2026-11-22T12:00:00+00:00",
    "probes": [
        {
            "what": "layer", "params": {"context_tokens": tokens, "launch": "eager"}, "unit": "s", "count": 30,
            "median": 1e-3, "mean": 1.1e-3, "p05": 0.9e-3, "p95": 2e-3,
        }
        for tokens in (16, 256)
    ],
    "skipped": [{"what": "launch", "why": "operation cuda_graph: needs a CUDA device"}],
}  # fmt: skip

RULE = "must be a finite number of at least 0"

# What is put in the place of what (None: nothing), and the line that it gives.
CHANGES: dict[str, tuple[tuple[str | int, ...], Any, str]] = {
    "another format": (("format",), "spd-trace", 'format is "spd-trace": must be spd-probes'),
    "no format": (("format",), None, "format is missing: must be spd-probes"),
    "another version": (("version",), 2, "version is 2: must be 1"),
    "a version that is true": (("version",), True, "version is true: must be 1"),
    "no machine": (("machine",), None, "machine is missing: must be a mapping"),
    "a machine without a processor": (("machine", "cpu"), None, "machine.cpu is missing: must be given"),
    "a run without stages": (("run", "stages"), None, "run.stages is missing: must be given"),
    "a run that is a list": (("run",), [], "run is []: must be a mapping"),
    "no date": (("date",), "", 'date is "": must be a text'),
    "probes that are no list": (("probes",), {}, "probes is {}: must be a list"),
    "a probe that is a number": (("probes", 0), 7, "probes[0] is 7: must be a mapping"),
    "a probe of nothing": (("probes", 1, "what"), None, "probes[1].what is missing: must be a text"),
    "another unit": (("probes", 0, "unit"), "ms", 'probes[0].unit is "ms": must be s or bytes/s or ratio'),
    "no samples": (("probes", 0, "count"), 0, "probes[0].count is 0: must be a whole number of at least 1"),
    "half a sample": (("probes", 0, "count"), 1.5, "probes[0].count is 1.5: must be a whole number of at least 1"),
    "not a number": (("probes", 0, "median"), float("nan"), f"probes[0].median is NaN: {RULE}"),
    "no end": (("probes", 1, "p95"), float("inf"), f"probes[1].p95 is Infinity: {RULE}"),
    "a time below zero": (("probes", 1, "p05"), -1e-3, f"probes[1].p05 is -0.001: {RULE}"),
    "text for a number": (("probes", 1, "mean"), "1", f'probes[1].mean is "1": {RULE}'),
    "true for a number": (("probes", 1, "mean"), True, f"probes[1].mean is true: {RULE}"),
    "null for a number": (("probes", 0, "median"), ..., f"probes[0].median is null: {RULE}"),
    "a number beyond all": (("probes", 0, "mean"), 10**400, f"probes[0].mean is {'1' + '0' * 59}…: {RULE}"),
    "a median outside": (("probes", 0, "median"), 3.0, "probes[0].median is 3.0: must be from p05 to p95"),
    "no params": (("probes", 0, "params"), None, "probes[0].params is missing: must be a mapping"),
    "a param that is a list": (
        ("probes", 0, "params", "launch"), ["eager"],
        'probes[0].params.launch is ["eager"]: must be a text or a finite number',
    ),
    "a param that is not a number": (
        ("probes", 0, "params", "context_tokens"), float("nan"),
        "probes[0].params.context_tokens is NaN: must be a text or a finite number",
    ),
    "no list of what was skipped": (("skipped",), None, "skipped is missing: must be a list"),
    "skipped without a reason": (("skipped", 0, "why"), None, "skipped[0].why is missing: must be a text"),
}  # fmt: skip


def write(path: Path, data: Any) -> Path:
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Every figure in its place."""
    probes = read_probes(write(tmp_path / "p.json", GOOD))
    assert probes.machine == GOOD["machine"] and probes.run == GOOD["run"] and probes.date == GOOD["date"]
    params: dict[str, str | int | float] = {"context_tokens": 16, "launch": "eager"}
    assert probes.probes[0] == Probe("layer", params, "s", 30, 1e-3, 1.1e-3, 0.9e-3, 2e-3)
    assert [(each.what, each.why) for each in probes.skipped] == [
        ("launch", "operation cuda_graph: needs a CUDA device")
    ]


def test_cases_are_found_by_what_they_are(tmp_path: Path) -> None:
    """In the order of the file; params that are not asked for do not matter."""
    probes = read_probes(write(tmp_path / "p.json", GOOD))
    assert [probe.params["context_tokens"] for probe in probes.of("layer", launch="eager")] == [16, 256]
    assert [probe.params["context_tokens"] for probe in probes.of("layer", context_tokens=256)] == [256]
    assert probes.of("layer", kind="full_attention") == probes.of("copy") == []


@pytest.mark.parametrize("case", CHANGES)
def test_what_is_wrong_is_one_line(case: str, tmp_path: Path) -> None:
    """File, key, value, rule."""
    path, value, expected = CHANGES[case]
    data = copy.deepcopy(GOOD)
    node: Any = data
    for key in path[:-1]:
        node = node[key]
    if value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = None if value is ... else value
    file = write(tmp_path / "p.json", data)
    with pytest.raises(InputError) as caught:
        read_probes(file)
    assert str(caught.value) == f"{file}: {expected}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ('{"format": "spd-probes", ', "is not JSON: "),
        ("[" * 100_000, "is not JSON: nested too deeply"),
        ("[1, 2]", "is [1, 2]: must be a mapping of keys, as `spdsim-exec probe` writes it"),
        ("null", "is null: must be a mapping of keys"),
        ('"' + "x" * 500 + '"', "…: must be a mapping of keys"),
    ],
)
def test_what_is_no_mapping_is_one_line(text: str, expected: str, tmp_path: Path) -> None:
    """And not a long one."""
    file = write(tmp_path / "p.json", text)
    with pytest.raises(InputError) as caught:
        read_probes(file)
    said = str(caught.value)
    assert said.startswith(f"{file}: ") and expected in said and "\n" not in said
    assert len(said) < len(str(file)) + 160


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """As for any other file."""
    with pytest.raises(InputError, match=r"none\.json: there is no such file$"):
        read_probes(tmp_path / "none.json")
