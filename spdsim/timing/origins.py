"""Where a machine's numbers come from."""

from collections.abc import Container, Iterator, Mapping

from spdsim.machine import Origin
from spdsim.scenario.hardware import Gpu, LinkFigures, Provenance
from spdsim.scenario.model import Scenario
from spdsim.scenario.placement import place
from spdsim.scenario.times import ProfileTimes, Roofline, resolve

_GIVEN = Provenance(origin="assumed", source="given in the scenario")
_DEFAULT = Provenance(origin="assumed", source="0, since the scenario does not say")


def origins_of(scenario: Scenario) -> Iterator[Origin]:
    """Yield the origin of each figure that the machine rests on."""
    yield Origin("acceptance", scenario.acceptance.origin, scenario.acceptance.source)
    yield Origin(f"model ({scenario.model.name})", scenario.model.origin, scenario.model.source or _GIVEN.source)
    match scenario.timing:
        case ProfileTimes(profile=profile):
            yield Origin("profile", profile.origin, profile.source)
        case Roofline() as roofline:
            full = resolve(roofline, scenario.devices.gpu, scenario.runtime.launch)
            yield from _figures("gpu", scenario.devices.gpu, ("bandwidth_bytes_per_s", "flops_per_s"))
            given = roofline.model_fields_set | full.provenance.keys()
            yield from _listed("timing", tuple(_roofline_keys(scenario)), full.provenance, given)
    for name, link in _links(scenario):
        yield from _figures(f"links.{name}", link, ("latency_s", "bandwidth_bytes_per_s", "post_s", "receive_s"))


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


def _links(scenario: Scenario) -> Iterator[tuple[str, LinkFigures]]:
    """Yield the links that some workers need, by name."""
    devices = scenario.devices
    used = {worker.device for worker in place(scenario)}
    nodes = [devices.node_of(device) for device in used]
    if scenario.links.intra_node is not None and len(set(nodes)) < len(nodes):
        yield "intra_node", scenario.links.intra_node
    if scenario.links.inter_node is not None and len(set(nodes)) > 1:
        yield "inter_node", scenario.links.inter_node


def _figures(what: str, part: Gpu | LinkFigures, keys: tuple[str, ...]) -> Iterator[Origin]:
    return _listed(f"{what} ({part.name})", keys, part.provenance, part.model_fields_set)


def _listed(
    what: str, keys: tuple[str, ...], provenance: Mapping[str, Provenance], given: Container[str]
) -> Iterator[Origin]:
    for key in keys:
        known = provenance.get(key, _GIVEN if key in given else _DEFAULT)
        yield Origin(f"{what} {key}", known.origin, known.source)
