"""Where a machine's numbers come from."""

from collections.abc import Container, Iterator, Mapping

from spdsim.machine import Origin
from spdsim.scenario.collectives import all_reduce_of
from spdsim.scenario.durations import MessageTime
from spdsim.scenario.hardware import Gpu, LinkFigures, Provenance
from spdsim.scenario.model import Scenario
from spdsim.scenario.placement import group_size, layout_of, place, unit_indices
from spdsim.scenario.profile import Profile
from spdsim.scenario.rows import rows_provenance
from spdsim.scenario.target import TargetModel
from spdsim.scenario.target_files import source_and_changes
from spdsim.scenario.times import ProfileTimes, Roofline, resolve
from spdsim.schedules.ops import Payload
from spdsim.timing.needs import needs_of

_GIVEN = Provenance(origin="assumed", source="given in the scenario")
_DEFAULT = Provenance(origin="assumed", source="0, since the scenario does not say")
_WIDE_BITS = 16
"""Bits of a weight from which a matrix product is one of those in the published tables."""

_NO_FIGURES = ("format", "version", "origin", "source", "figures", "backing", "range")
"""What a profile says beside its durations."""

Crossing = tuple[Payload, bool]
"""A payload that crosses a link, and whether this is one between nodes."""


def origins_of(scenario: Scenario) -> Iterator[Origin]:
    """Yield the origin of each figure that the machine rests on."""
    yield Origin("acceptance", scenario.acceptance.origin, scenario.acceptance.source)
    yield from _model(scenario.model)
    crossings = _crossings(scenario)
    match scenario.timing:
        case ProfileTimes(profile=profile):
            yield from _profile(scenario, profile, crossings)
        case Roofline() as roofline:
            full = resolve(roofline, scenario.devices.gpu, scenario.runtime.launch)
            yield from _figures("gpu", scenario.devices.gpu, ("bandwidth_bytes_per_s", "flops_per_s"))
            given = roofline.model_fields_set | full.provenance.keys()
            yield from _listed("timing", tuple(_roofline_keys(scenario)), full.provenance, given)
            if scenario.model.weight_bits is not None and scenario.model.weight_bits < _WIDE_BITS:
                what = "timing bandwidth_fraction of quantised weights"
                yield Origin(what, "assumed", "as that of 16-bit weights")
    links = (("intra_node", scenario.links.intra_node), ("inter_node", scenario.links.inter_node))
    for name, link in links:
        if link is not None:
            keys = _link_keys(scenario, {cross for cross in crossings if cross[1] == (name == "inter_node")})
            yield from _figures(f"links.{name}", link, keys)
    if layout_of(scenario).width > 1:
        of_rows = rows_provenance()
        yield Origin("several rows at once", of_rows.origin, of_rows.source)
    if (size := group_size(scenario)) > 1 and (known := all_reduce_of(scenario)) is not None:
        yield Origin(f"all-reduce over {size} ({scenario.devices.gpu.name})", known[1].origin, known[1].source)


def _model(model: TargetModel) -> Iterator[Origin]:
    """Yield the shape's origin, and apart from it the keys that the scenario changed."""
    source, changed = source_and_changes(model)
    yield Origin(f"model ({model.name})", model.origin, source or _GIVEN.source)
    for key in changed:
        yield Origin(f"model ({model.name}) {key}", _GIVEN.origin, _GIVEN.source)


def _profile(scenario: Scenario, profile: Profile, crossings: set[Crossing]) -> Iterator[Origin]:
    """Yield the figures of a profile that have an origin of their own, then what the profile says of the others."""
    written = [key for key in _profile_keys(profile) if _is_used(scenario, key, crossings)]
    own = {key: known for key, known in profile.figures.items() if _is_used(scenario, key, crossings)}
    for key, known in own.items():
        yield Origin(f"profile {key}", known.origin, known.source)
    if not own:
        yield Origin("profile", profile.origin, profile.source)
    elif not all(any(_is_within(named, key) for named in own) for key in written):
        yield Origin("profile, other figures", profile.origin, profile.source)


def _is_within(inner: str, outer: str) -> bool:
    """Whether a dotted key is another one, or below it."""
    return inner == outer or inner.startswith(f"{outer}.")


def _profile_keys(profile: Profile) -> Iterator[str]:
    """Yield the dotted keys of the figures that a profile gives."""
    for key in sorted(profile.model_fields_set.difference(_NO_FIGURES, ("control", "messages"))):
        if getattr(profile, key) is not None:
            yield key
    yield from (f"control.{key}" for key in sorted(profile.control.model_fields_set))
    for payload in sorted(profile.messages.model_fields_set):
        of_payload = getattr(profile.messages, payload)
        for key in sorted(of_payload.model_fields_set):
            if getattr(of_payload, key) is not None:
                yield f"messages.{payload}.{key}"


def _is_used(scenario: Scenario, key: str, crossings: set[Crossing]) -> bool:
    """Whether some task or message of the scenario rests on a profile's figure."""
    first, *others = key.split(".")
    has_draft = scenario.partition.stages > 1
    is_sharded = has_draft and scenario.partition.lm_head == "sharded"
    match first:
        case "draft" | "draft_per_layer" | "draft_fixed" | "draft_prefill" | "rollback" | "control":
            return has_draft
        case "draft_sampling":
            return has_draft and scenario.runtime.sampling == "sampled"
        case "verify_sampling":
            return scenario.runtime.sampling == "sampled"
        case "verify_shard" | "combine":
            return is_sharded
        case "messages" if len(others) > 1:
            ways = {is_between_nodes for payload, is_between_nodes in crossings if payload == others[0]}
            return True in ways if others[1] == "inter_node_post_s" else bool(ways)
        case _:
            return True


def _roofline_keys(scenario: Scenario) -> Iterator[str]:
    """Yield the keys of the figures that some task of the scenario rests on."""
    yield from ("bandwidth_fraction", "compute_fraction", "kernel_latency_s", "small_kernel_s")
    yield from ("host_per_op_s", "host_per_task_s", "commit_s", "rollback_s")
    has_draft, is_sampled = scenario.partition.stages > 1, scenario.runtime.sampling == "sampled"
    kinds = {layer.kind for layer in scenario.model.layers} | (
        {scenario.model.draft_layer.kind} if has_draft else set()
    )
    yield from sorted(f"{kind}_ops" for kind in kinds)
    if any(layer.is_moe for layer in scenario.model.layers):
        yield "moe_ops"
    yield from ("forward_ops", "verify_ops")
    if is_sampled:
        yield "verify_sampling_ops"
    if has_draft:
        yield from ("draft_ops", "draft_sampling_ops") if is_sampled else ("draft_ops",)


def _crossings(scenario: Scenario) -> set[Crossing]:
    """Return what crosses a link: messages between workers on one device or group do not."""
    devices, units = [worker.device for worker in place(scenario)], unit_indices(scenario)
    node_of = scenario.devices.node_of
    return {
        (payload, node_of(devices[source]) != node_of(devices[to]))
        for payload, source, to in needs_of(layout_of(scenario)).edges
        if units[source] != units[to]
    }


def _link_keys(scenario: Scenario, crossings: set[Crossing]) -> tuple[str, ...]:
    """Return the figures of a link that some payload takes from it, and not from a profile."""
    profile = scenario.timing.profile if isinstance(scenario.timing, ProfileTimes) else None
    used: set[str] = set()
    for payload, is_between_nodes in crossings:
        written: MessageTime = MessageTime() if profile is None else getattr(profile.messages, payload)
        if written.transit_s is None:
            used |= {"latency_s", "bandwidth_bytes_per_s"}
        if written.post_s is None and not (is_between_nodes and written.inter_node_post_s is not None):
            used.add("post_s")
        if written.receive_s is None:
            used.add("receive_s")
    return tuple(key for key in ("latency_s", "bandwidth_bytes_per_s", "post_s", "receive_s") if key in used)


def _figures(what: str, part: Gpu | LinkFigures, keys: tuple[str, ...]) -> Iterator[Origin]:
    return _listed(f"{what} ({part.name})", keys, part.provenance, part.model_fields_set)


def _listed(
    what: str, keys: tuple[str, ...], provenance: Mapping[str, Provenance], given: Container[str]
) -> Iterator[Origin]:
    for key in keys:
        known = provenance.get(key, _GIVEN if key in given else _DEFAULT)
        yield Origin(f"{what} {key}", known.origin, known.source)
