"""Where a machine's numbers come from, and what must be said of it."""

from collections.abc import Container, Iterator, Mapping

from spdsim.machine import Origin
from spdsim.scenario.acceptance import Replay
from spdsim.scenario.hardware import Gpu, LinkFigures, Provenance
from spdsim.scenario.memory import device_bytes, fits, show_bytes, stages_that_fit, target_bytes
from spdsim.scenario.model import Scenario
from spdsim.scenario.times import ProfileTimes, Roofline, resolve

_GIVEN = Provenance(origin="assumed", source="given in the scenario")
_DEFAULT = Provenance(origin="assumed", source="0, since the scenario does not say")


def origins_of(scenario: Scenario) -> Iterator[Origin]:
    """Yield the origin of each figure that the machine rests on."""
    yield Origin("acceptance", scenario.acceptance.origin, scenario.acceptance.source)
    yield Origin(f"model ({scenario.model.name})", scenario.model.origin, scenario.model.source)
    match scenario.timing:
        case ProfileTimes(profile=profile):
            yield Origin("profile", profile.origin, profile.source)
        case Roofline() as roofline:
            full = resolve(roofline, scenario.devices.gpu, scenario.runtime.launch)
            yield from _figures("gpu", scenario.devices.gpu, ("bandwidth_bytes_per_s", "flops_per_s"))
            roofline_keys = tuple(key for key in Roofline.model_fields if key not in ("kind", "provenance"))
            given = roofline.model_fields_set | full.provenance.keys()
            yield from _listed("roofline", roofline_keys, full.provenance, given)
    for name, link in (("intra_node", scenario.links.intra_node), ("inter_node", scenario.links.inter_node)):
        if link is not None:
            yield from _figures(f"links.{name}", link, ("latency_s", "bandwidth_bytes_per_s", "post_s", "receive_s"))


def warnings_of(scenario: Scenario) -> Iterator[str]:
    """Yield what a reader must know before believing the result."""
    yield from _memory_warnings(scenario)
    if isinstance(scenario.acceptance, Replay):
        yield from _replay_warnings(scenario.acceptance.accepted or (), scenario)


def _memory_warnings(scenario: Scenario) -> Iterator[str]:
    """Tell the fullest device, if it has too little memory."""
    gpu = scenario.devices.gpu
    if gpu.memory_bytes is None or fits(scenario):
        return
    held = device_bytes(scenario)
    worst, stages = held.index(max(held)), stages_that_fit(scenario)
    remedy = "no number of stages fits these devices" if stages is None else f"{stages} stages or more would fit"
    room = f"would need {show_bytes(held[worst])}, has {show_bytes(gpu.memory_bytes)}"
    yield f"hypothetical: device {worst} {room}; {remedy}"


def _replay_warnings(records: tuple[str, ...], scenario: Scenario) -> Iterator[str]:
    """Tell what the records cannot give: tokens beyond their end, and sequences of their own for the interval."""
    num_sequences, wanted = scenario.workload.sequences * scenario.replications, scenario.workload.max_new_tokens
    used = records[:num_sequences]
    short = sum(len(record) + 1 < wanted for record in used)
    if short:
        tokens = f"has verdicts for fewer than the {wanted} new tokens: a sequence ends where its record ends"
        yield f"the record of {short} of {len(used)} sequences {tokens}"
    if len(records) < num_sequences:
        repeated = f"{len(records)} recorded of {num_sequences} sequences to decode"
        yield f"{repeated}: records repeat, so the intervals are too narrow"


def fits_one_device(scenario: Scenario) -> bool:
    """Whether the whole target fits one device; True where the memory is not known."""
    memory_bytes = scenario.devices.gpu.memory_bytes
    return memory_bytes is None or target_bytes(scenario) <= memory_bytes


def _figures(what: str, part: Gpu | LinkFigures, keys: tuple[str, ...]) -> Iterator[Origin]:
    return _listed(f"{what} ({part.name})", keys, part.provenance, part.model_fields_set)


def _listed(
    what: str, keys: tuple[str, ...], provenance: Mapping[str, Provenance], given: Container[str]
) -> Iterator[Origin]:
    for key in keys:
        known = provenance.get(key, _GIVEN if key in given else _DEFAULT)
        yield Origin(f"{what} {key}", known.origin, known.source)
