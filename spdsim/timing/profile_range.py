"""Where a scenario leaves what a profile was measured at."""

from collections.abc import Iterator

from spdsim.scenario.model import Scenario
from spdsim.scenario.placement import num_nodes_used, place
from spdsim.scenario.profile import Profile


def outside(scenario: Scenario, profile: Profile, *, draft_matters: bool = True) -> Iterator[str]:
    """Yield a sentence for each property of `scenario` that the profile's measurements do not cover.

    draft_matters: the draft may set the pace, so its layers are looked at, too.
    """
    known, stages = profile.range, scenario.partition.stages
    models = [name.lower() for name in known.models or ()]
    if models and scenario.model.name.lower() not in models:
        yield f"{scenario.model.name}: the profile was measured with {' and '.join(known.models or ())}"
    yield from _between("stages", stages, known.stages)
    if scenario.runtime.sampling == "sampled" and known.sampled_stages is not None and stages > 1:
        yield from _sampled(stages, known.sampled_stages)
    if stages > 1 and draft_matters:
        yield from _between("draft layers", scenario.draft.layers, known.draft_layers)
    yield from _between("nodes", num_nodes_used(scenario.devices, place(scenario)), known.nodes)
    if known.launch is not None and scenario.runtime.launch not in known.launch:
        yield f"launch {scenario.runtime.launch}: the profile was measured with {' and '.join(known.launch)}"


def _between(what: str, value: int, known: tuple[int, int] | None) -> Iterator[str]:
    if known is not None and not known[0] <= value <= known[1]:
        span = f"{known[0]}" if known[0] == known[1] else f"{known[0]} to {known[1]}"
        # One of them is one of them: "1 stage".
        noun = what.removesuffix("s") if value == 1 else what
        yield f"{value} {noun}: the profile was measured with {span}"


def _sampled(stages: int, known: tuple[int, ...]) -> Iterator[str]:
    if not known:
        yield "sampling: nothing was measured with it"
    elif stages not in known:
        counts = " and ".join(map(str, known))
        yield f"sampling with {stages} stages: measured with {counts}"
