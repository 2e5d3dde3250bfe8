"""The catalogues of hardware against what was published, and the names by which they are found."""

from collections.abc import Iterator
from typing import Any

import pytest

from spdsim.errors import ScenarioError
from spdsim.scenario.catalogue import Section, aliases, canonical_name, entries
from spdsim.scenario.collectives import all_reduce_s
from spdsim.scenario.hardware import Devices, Gpu, LinkFigures

MB, KIB = 1e6, 1024
SECTIONS: tuple[Section, ...] = ("gpus", "links")


def value(section: Section, name: str, key: str) -> float:
    """Return one figure of a catalogue."""
    return float(entries(section)[name][key]["value"])


def matvec_s(gpu: str, num_bytes: float) -> float:
    """Return seconds of a matrix-vector product by the catalogue's law."""
    reached = value("gpus", gpu, "bandwidth_bytes_per_s") * value("gpus", gpu, "bandwidth_fraction")
    return value("gpus", gpu, "kernel_latency_s") + num_bytes / reached


def reached_fraction(gpu: str, num_bytes: float) -> float:
    """Return the part of the peak bandwidth that a matrix of so many bytes reaches."""
    return num_bytes / matvec_s(gpu, num_bytes) / value("gpus", gpu, "bandwidth_bytes_per_s")


# GPUs against AIConfigurator's GEMM tables, bf16, batch 1.

# What matrices of 150 MB and more reach, and by how much the law may fall short of the lower end.
LARGE = {
    "a100-sxm-80g": (0.74, 0.80, 0.0),
    "h100-sxm": (0.83, 0.89, 0.0),
    "h200-sxm": (0.80, 0.84, 0.03),
    "b200-sxm": (0.77, 0.81, 0.07),
    "l40s": (0.84, 0.85, 0.0),
}


@pytest.mark.parametrize("gpu", LARGE)
def test_large_matrices_reach_the_published_part_of_the_bandwidth(gpu: str) -> None:
    """H200 and B200 fall short at 150 MB, as their sources say: a latency that met it would be too small elsewhere."""
    low, high, shortfall = LARGE[gpu]
    for num_bytes in (150 * MB, 300 * MB, 1000 * MB, 4000 * MB):
        assert low * (1 - shortfall) <= reached_fraction(gpu, num_bytes) <= high


# Bytes, seconds and part of the peak that were published together, of H100 and H200 as one.
SMALL = (((10, 20), (7e-6, 9e-6), (0.38, 0.48)), ((30, 50), (13e-6, 17e-6), (0.57, 0.69)))


def small_matrices(gpu: str) -> Iterator[tuple[float, float, float]]:
    """Yield bytes and the least and most seconds that the published ranges leave for them on this GPU.

    A size at which seconds and part of the peak contradict each other is one of the other GPU.
    """
    peak = value("gpus", gpu, "bandwidth_bytes_per_s")
    for (least, most), (low_s, high_s), (low, high) in SMALL:
        for megabytes in range(least, most + 1):
            shortest = max(low_s, megabytes * MB / peak / high)
            longest = min(high_s, megabytes * MB / peak / low)
            if shortest <= longest:
                yield megabytes * MB, shortest, longest


@pytest.mark.parametrize(("gpu", "tolerance"), [("h100-sxm", 0.06), ("h200-sxm", 0.12)])
def test_small_matrices_take_the_published_time(gpu: str, tolerance: float) -> None:
    """The tolerance stands in the catalogue, too."""
    sizes = list(small_matrices(gpu))
    assert len(sizes) > 10
    for num_bytes, shortest, longest in sizes:
        assert shortest * (1 - tolerance) <= matvec_s(gpu, num_bytes) <= longest * (1 + tolerance)


@pytest.mark.parametrize("gpu", ["h100-sxm", "h200-sxm"])
@pytest.mark.parametrize("megabytes", [80, 100, 120])
def test_matrices_between_small_and_large_reach_what_was_published(gpu: str, megabytes: int) -> None:
    """0.71 to 0.82."""
    assert 0.71 <= reached_fraction(gpu, megabytes * MB) <= 0.82


def test_the_limit_is_the_upper_end_of_the_range() -> None:
    """The rule of the catalogue, by which its figures can be worked out again."""
    assert {gpu: value("gpus", gpu, "bandwidth_fraction") for gpu in LARGE} == {
        gpu: high for gpu, (_, high, _) in LARGE.items()
    }


@pytest.mark.parametrize("gpu", ["a100-sxm-80g", "h100-sxm", "l40s"])
def test_the_latency_is_that_of_the_lower_end_at_150_mb(gpu: str) -> None:
    """Rounded down to a tenth of a microsecond."""
    low, high, _ = LARGE[gpu]
    peak = value("gpus", gpu, "bandwidth_bytes_per_s")
    exact_s = 150 * MB / peak * (1 / low - 1 / high)
    assert 0 <= exact_s - value("gpus", gpu, "kernel_latency_s") < 0.1e-6


# LLMServingSim: decode attention of one layer of Llama-3.1-8B on an RTX 4090, seconds by cached tokens.
ATTENTION_S = {16: 9.3e-6, 512: 13.5e-6, 2048: 20.2e-6, 8192: 37.8e-6, 16384: 56.6e-6}
KV_BYTES = 2 * 8 * 128 * 2


def test_attention_reads_its_cache_at_the_bandwidth_until_it_is_served_from_l2() -> None:
    """Up to 2048 tokens the measured slope is that of reading, within 15 %; beyond, the cache of one layer alone
    (8 to 67 MB) stays in the GPU's 72 MB of L2 between repetitions, and the slope is steeper than memory allows.

    In decoding, every layer reads its own cache once a token and L2 holds none of it, so the model reads from memory.
    """
    peak = value("gpus", "rtx-4090", "bandwidth_bytes_per_s")
    token_s = KV_BYTES / (peak * value("gpus", "rtx-4090", "bandwidth_fraction"))
    measured_s = (ATTENTION_S[2048] - ATTENTION_S[16]) / (2048 - 16)
    assert token_s == pytest.approx(measured_s, rel=0.15)
    beyond_s = (ATTENTION_S[16384] - ATTENTION_S[2048]) / (16384 - 2048)
    assert KV_BYTES / beyond_s > 1.5 * peak


# Links against Vidur's times of NCCL send and receive.

SIZES = tuple(kib * KIB for kib in (2, 14, 45, 250, 1024, 4096))
SEND_RECV_S = {
    "nvlink4": ((5.0, 6.5, 7.8, 8.5, 10.1, 19.9), 0.22),
    "nvlink3": ((8.0, 11.5, 14.5, 17.0, 17.6, 25.7), 0.37),
    "infiniband-ndr": ((17.0, 18.5, 19.0, 28.0, 53.0, 129.0), 0.16),
    "infiniband-hdr": ((24.0, 25.5, 36.0, 60.0, 163.0, 564.0), 0.15),
}
"""Microseconds by size (ranges by their middle), and how far the line may be off."""


@pytest.mark.parametrize("link", SEND_RECV_S)
def test_a_link_is_as_near_to_the_published_times_as_its_source_says(link: str) -> None:
    """A line cannot follow NVLink's two regimes better than to a third."""
    microseconds, error = SEND_RECV_S[link]
    latency_s, bandwidth = value("links", link, "latency_s"), value("links", link, "bandwidth_bytes_per_s")
    assert f"within {error * 100:.0f} %" in entries("links")[link]["latency_s"]["source"]
    for num_bytes, published in zip(SIZES, microseconds, strict=True):
        assert latency_s + num_bytes / bandwidth == pytest.approx(published * 1e-6, rel=error)


def test_a_hop_through_gloo_takes_what_was_measured() -> None:
    """88 us for few bytes and 114 us for 64 KiB, with what both hosts pay."""
    keys = ("latency_s", "post_s", "receive_s")
    hop_s = sum(value("links", "loopback", key) for key in keys)
    assert hop_s == pytest.approx(88e-6)
    at_64_kib_s = hop_s + 64 * KIB / value("links", "loopback", "bandwidth_bytes_per_s")
    assert at_64_kib_s == pytest.approx(114e-6, rel=0.01)


def test_an_nccl_operation_costs_a_host_what_was_published() -> None:
    """20 us on either side, for every link that NCCL uses."""
    for link in entries("links").keys() - {"loopback"}:
        assert value("links", link, "post_s") == value("links", link, "receive_s") == 20e-6


# Small all-reduces.


@pytest.mark.parametrize(
    ("gpu", "num_devices", "num_bytes", "expected_s"),
    [
        ("h100-sxm", 2, 512, 6.2e-6),
        ("H100", 8, 131072, 19.0e-6),
        ("l40s", 8, 16384, 41.7e-6),
        ("a100", 2, 0, 10.0e-6),
        ("a100", 2, (512 + 16384) / 2, 11.4e-6),
        ("b200", 4, 512, (9.1e-6 + 25.9e-6) / 2),
        ("h200-sxm", 1, 1e9, 0.0),
    ],
)
def test_an_all_reduce_is_interpolated(gpu: str, num_devices: int, num_bytes: float, expected_s: float) -> None:
    """In bytes, and in the logarithm of the number of devices."""
    found = all_reduce_s(gpu, num_devices, num_bytes)
    assert found is not None
    assert found[0] == pytest.approx(expected_s, rel=1e-9)
    assert found[1].source


def test_a_one_shot_all_reduce_is_one_figure_for_small_messages_and_never_slower_than_nccl() -> None:
    """Beyond 16 KiB it takes as much more as NCCL does; over PCIe there is none."""

    def seconds(num_devices: int, num_bytes: float, gpu: str = "h100-sxm") -> float:
        found = all_reduce_s(gpu, num_devices, num_bytes, "one_shot")
        assert found is not None
        return found[0]

    assert [seconds(8, size) for size in (512, 16384)] == [10.5e-6] * 2
    assert seconds(8, 131072) == pytest.approx(10.5e-6 + (19.0e-6 - 16.6e-6), rel=1e-9)
    assert seconds(2, 512) == 6.2e-6
    assert seconds(1, 512) == 0.0
    origins = [found[1].origin for n in (2, 8) if (found := all_reduce_s("h100-sxm", n, 512, "one_shot")) is not None]
    assert origins == ["published", "assumed"]
    assert all_reduce_s("l40s", 8, 512, "one_shot") is None
    assert all_reduce_s("h100-sxm", 9, 512, "one_shot") is None


@pytest.mark.parametrize(
    ("gpu", "num_devices", "num_bytes"),
    [("h100-sxm", 9, 512), ("h100-sxm", 2, 131073), ("rtx-4090", 2, 512), ("my-gpu", 2, 512), ("h100-sxm", 0, 512)],
)
def test_an_all_reduce_beyond_the_table_is_not_known(gpu: str, num_devices: int, num_bytes: float) -> None:
    """Nothing is extrapolated."""
    assert all_reduce_s(gpu, num_devices, num_bytes) is None


# Entries and names.


def figures() -> Iterator[tuple[str, str, Any]]:
    """Yield entry, key and figure of both catalogues."""
    for section in SECTIONS:
        for name, entry in entries(section).items():
            yield from ((name, key, figure) for key, figure in entry.items())


@pytest.mark.parametrize(("name", "key", "figure"), list(figures()), ids=str)
def test_every_figure_has_an_origin_and_a_source(name: str, key: str, figure: Any) -> None:
    """No number without its provenance."""
    assert set(figure) == {"value", "origin", "source"}
    assert figure["origin"] in ("measured", "published", "datasheet", "assumed")
    assert isinstance(figure["value"], int | float) and figure["source"].strip()


@pytest.mark.parametrize("name", entries("gpus"))
def test_a_gpu_of_the_catalogue_has_every_figure(name: str) -> None:
    """And each figure its provenance in the scenario."""
    devices = Devices.model_validate({"gpu": name, "count": 1})
    keys = Gpu.model_fields.keys() - {"base", "name", "provenance"}
    assert all(getattr(devices.gpu, key) is not None for key in keys)
    assert devices.gpu.provenance.keys() == keys


@pytest.mark.parametrize("name", entries("links"))
def test_a_link_of_the_catalogue_has_every_figure(name: str) -> None:
    """`shared` is a property of the machine, not of the link's kind."""
    assert entries("links")[name].keys() == LinkFigures.model_fields.keys() - {"base", "name", "provenance", "shared"}


@pytest.mark.parametrize("section", [*SECTIONS, "models"])
def test_no_two_entries_share_a_name(section: Section) -> None:
    """Every canonical name and every alias leads to its own entry."""
    for name, others in aliases(section).items():
        assert {canonical_name(section, other) for other in (name, *others)} == {name}


@pytest.mark.parametrize(
    ("section", "written", "name"),
    [
        ("gpus", "H100", "h100-sxm"),
        ("gpus", "RTX 4090", "rtx-4090"),
        ("gpus", "rtx4090", "rtx-4090"),
        ("gpus", "rtx_4090", "rtx-4090"),
        ("gpus", "A100", "a100-sxm-80g"),
        ("gpus", "H200", "h200-sxm"),
        ("gpus", "B200", "b200-sxm"),
        ("gpus", "L40S", "l40s"),
        ("gpus", "NVIDIA A100-SXM4-80GB", "a100-sxm-80g"),
        ("gpus", "NVIDIA A100 80GB PCIe", "a100-pcie-80g"),
        ("gpus", "NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("gpus", "NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("links", "NVLink 4", "nvlink4"),
        ("links", "PCIe 4.0", "pcie4"),
        ("links", "gloo", "loopback"),
        ("links", "NDR", "infiniband-ndr"),
        ("models", "Llama 3.1 8B", "llama-3.1-8b"),
        ("models", "Qwen3-4B", "qwen3-4b"),
    ],
)
def test_a_name_is_found_as_people_write_it(section: Section, written: str, name: str) -> None:
    """Case, spaces, hyphens and underscores do not matter; the names that CUDA gives are known."""
    assert canonical_name(section, written) == name


def test_a_scenario_has_the_canonical_name() -> None:
    """Whatever was written."""
    devices = Devices.model_validate({"gpu": {"base": "RTX 4090", "memory_bytes": 48e9}, "count": 1})
    assert (devices.gpu.name, devices.gpu.memory_bytes) == ("rtx-4090", 48e9)


@pytest.mark.parametrize(
    ("section", "written", "rule"),
    [
        ("gpus", "h10", r"must be one of h100-sxm, .*, rtx-4090 \(did you mean h100-sxm\?\)"),
        ("gpus", "RTX 4080", r"must be one of .* \(did you mean rtx-4090\?\)"),
        ("gpus", "abacus", "must be one of h100-sxm, .*, rtx-4090"),
        ("links", "infiniband-nrd", r"must be one of .* \(did you mean infiniband-ndr\?\)"),
        ("links", "NVLink", r"must be nvlink3 \(A100\), nvlink4 \(H100, H200\) or nvlink5 \(B200\)"),
        ("links", "pcie", r"must be pcie4, .* or pcie5"),
        ("links", "InfiniBand", r"must be infiniband-hdr .* or infiniband-ndr .*"),
        ("links", "ethernet", r"must be ethernet-10g, ethernet-25g or ethernet-100g"),
    ],
)
def test_a_name_that_is_none_or_several_is_refused(section: Section, written: str, rule: str) -> None:
    """A typo is told the nearest name, an ambiguous name its choices."""
    with pytest.raises(ScenarioError, match=f"^{rule}$"):
        canonical_name(section, written)
