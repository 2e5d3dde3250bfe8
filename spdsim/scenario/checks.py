"""The rules that join several keys of a scenario."""

from collections.abc import Iterator
from difflib import get_close_matches
from itertools import pairwise

from spdsim.scenario.acceptance import Replay
from spdsim.scenario.collectives import all_reduce_of
from spdsim.scenario.durations import AnyTaskKind, takes_time
from spdsim.scenario.hardware import Gpu, LinkFigures
from spdsim.scenario.memory import device_bytes, devices_that_fit, fits, show_bytes, stages_that_fit
from spdsim.scenario.model import Scenario
from spdsim.scenario.placement import devices_needed, devices_of, group_size, has_room, layout_of, place
from spdsim.scenario.problems import Problem
from spdsim.scenario.profile import Profile
from spdsim.scenario.profile_file import figure
from spdsim.scenario.rivals import AcceptLength
from spdsim.scenario.source import KeyPath, show
from spdsim.scenario.target_checks import model_problems
from spdsim.scenario.times import ProfileTimes, Roofline
from spdsim.scenario.workload import UniformLength


def check(scenario: Scenario) -> list[Problem]:
    """Return what is wrong; later rules are only asked where the earlier ones hold."""
    for rules in (_model, _cut, _draft, _rest, _rivals, _devices, _groups, _times, _links, _origins, _memory):
        if problems := list(rules(scenario)):
            return problems
    return []


def _model(scenario: Scenario) -> Iterator[Problem]:
    return model_problems(scenario.model)


def _cut(scenario: Scenario) -> Iterator[Problem]:
    stages, num_layers, cut = scenario.partition.stages, scenario.model.num_layers, scenario.partition.layers
    if stages > num_layers:
        yield Problem(("partition", "stages"), f"is {stages}", f"must be at most the model's {num_layers} layers")
    elif isinstance(cut, tuple) and len(cut) != stages:
        rule = f"must have {stages} entries, one for each of partition.stages"
        yield Problem(("partition", "layers"), f"is {show(cut)}", rule)
    elif isinstance(cut, tuple) and sum(cut) != num_layers:
        rule = f"must add up to the model's {num_layers} layers, not {sum(cut)}"
        yield Problem(("partition", "layers"), f"is {show(cut)}", rule)


def _draft(scenario: Scenario) -> Iterator[Problem]:
    model, draft = scenario.model, scenario.draft
    if isinstance(draft.anchors, tuple):
        rising = all(low < high for low, high in pairwise(draft.anchors))
        if not draft.anchors or draft.anchors[0] != 0 or draft.anchors[-1] > model.num_layers or not rising:
            rule = f"must start at 0, rise, and end at {model.num_layers} at most"
            yield Problem(("draft", "anchors"), f"is {show(draft.anchors)}", rule)
    elif draft.anchors > model.num_layers + 1:
        rule = f"must be at most {model.num_layers + 1}, the model's layers and the embedding"
        yield Problem(("draft", "anchors"), f"is {draft.anchors}", rule)
    if draft.draft_vocab_size is not None and draft.draft_vocab_size > model.vocab_size:
        rule = f"must be at most the model's vocab_size, {model.vocab_size}"
        yield Problem(("draft", "draft_vocab_size"), f"is {draft.draft_vocab_size}", rule)
    if draft.width > 1 and scenario.partition.stages > 1:
        yield from _tree(scenario)


def _tree(scenario: Scenario) -> Iterator[Problem]:
    at, state = ("draft", "width"), f"is {scenario.draft.width}"
    if lag := scenario.partition.verification_lag:
        yield Problem(at, state, f"must be 1 with partition.verification_lag {lag}: a tree's verdict cannot be late")
    if (number := scenario.workload.concurrency) > 1:
        yield Problem(at, state, f"must be 1 with workload.concurrency {number}: a tree is of one sequence at a time")


def _rest(scenario: Scenario) -> Iterator[Problem]:
    lengths = scenario.workload.new_tokens
    if isinstance(lengths, UniformLength) and lengths.low > lengths.high:
        rule = f"must be at most high, {lengths.high}"
        yield Problem(("workload", "new_tokens", "low"), f"is {lengths.low}", rule)
    if isinstance(scenario.acceptance, Replay) and scenario.acceptance.accepted is None:
        yield Problem(("acceptance", "file"), "is missing", "must name the recorded verdicts")


def _rivals(scenario: Scenario) -> Iterator[Problem]:
    rivals, at = scenario.rivals, ("rivals",)
    if (draft := rivals.draft_model) is not None:
        if draft.model is None and draft.step_s is None:
            yield Problem((*at, "draft_model", "model"), "is missing", "must be given, or else step_s")
        elif draft.model is not None:
            for problem in model_problems(draft.model):
                yield Problem((*at, "draft_model", *problem.path), problem.state, problem.rule)
    for name in ("draft_model", "eagle", "one_pass", "ppsd", "specpipe"):
        accepted = getattr(getattr(rivals, name), "acceptance", None)
        if isinstance(accepted, AcceptLength) and accepted.tokens > accepted.draft_tokens + 1:
            rule = f"must be at most {accepted.draft_tokens + 1}, the drafts of a round and the target's own token"
            yield Problem((*at, name, "acceptance", "tokens"), f"is {accepted.tokens:g}", rule)


def _times(scenario: Scenario) -> Iterator[Problem]:
    match scenario.timing:
        case Roofline():
            for figure in ("bandwidth_bytes_per_s", "flops_per_s"):
                if getattr(scenario.devices.gpu, figure) is None:
                    yield Problem(("devices", "gpu", figure), "is missing", "must be given for timing of kind roofline")
        case ProfileTimes(profile=profile):
            yield from _tasks(scenario, profile)


def _tasks(scenario: Scenario, profile: Profile) -> Iterator[Problem]:
    stages = scenario.partition.stages
    at = ("timing", "profile")
    for task in ("prefill", "forward", "draft"):
        if getattr(profile, task) is not None and getattr(profile, f"{task}_per_layer") is not None:
            yield Problem((*at, task), "is given beside " + f"{task}_per_layer", "must be one of the two")
    for task in ("prefill", "forward"):
        listed = getattr(profile, task)
        if isinstance(listed, tuple) and len(listed) != stages:
            entries = f"has {len(listed)} {'entry' if len(listed) == 1 else 'entries'}"
            yield Problem((*at, task), entries, f"must have {stages}, one for each of partition.stages")
    if profile.forward is None and profile.forward_per_layer is None:
        yield Problem((*at, "forward"), "is missing", "a profile needs this task (or forward_per_layer)")
    for key in ("forward", "forward_per_layer"):
        written = getattr(profile, key)
        if written is not None and not any(takes_time(task) for task in _entries(written)):
            rule = "must be at least a nanosecond in one stage: there is nothing to speed up"
            yield Problem((*at, key), "takes no time", rule)
    if stages > 1 and profile.draft is None and profile.draft_per_layer is None:
        yield Problem((*at, "draft"), "is missing", "a profile needs this task (or draft_per_layer)")
    is_sharded = stages > 1 and scenario.partition.lm_head == "sharded"
    has_verify = profile.verify is not None or profile.verify_per_byte_s is not None
    if profile.verify is not None and profile.verify_per_byte_s is not None:
        yield Problem((*at, "verify"), "is given beside verify_per_byte_s", "must be one of the two")
    if not has_verify and not (is_sharded and profile.verify_shard is not None):
        yield Problem((*at, "verify"), "is missing", "a profile needs this task (or verify_per_byte_s)")


def _entries(written: AnyTaskKind | tuple[AnyTaskKind, ...]) -> tuple[AnyTaskKind, ...]:
    return written if isinstance(written, tuple) else (written,)


def _devices(scenario: Scenario) -> Iterator[Problem]:
    devices = scenario.devices
    count, nodes, per_node = devices.count, devices.nodes, devices.per_node
    if nodes is not None and per_node is None:
        yield Problem(("devices", "count"), f"is {count}", f"must be a multiple of nodes, {nodes}")
    elif nodes is not None and per_node is not None and nodes * per_node != count:
        rule = f"must be nodes x per_node, {nodes} x {per_node} = {nodes * per_node}"
        yield Problem(("devices", "count"), f"is {count}", rule)
    if devices.workers is not None:
        yield from _workers(scenario, devices.workers)


def _workers(scenario: Scenario, listed: tuple[int, ...]) -> Iterator[Problem]:
    layout, count = layout_of(scenario), scenario.devices.count
    at = ("devices", "workers")
    if len(listed) != layout.num_workers:
        roles = {layout.role(worker) for worker in range(layout.num_workers)}
        names = [name for role, name in _ROLES.items() if role in roles]
        state = f"has {len(listed)} {'entry' if len(listed) == 1 else 'entries'}"
        yield Problem(at, state, f"must have {layout.num_workers}: {', '.join(names).format(layout.num_stages)}")
    there = f"there {'is 1 device, 0' if count == 1 else f'are {count} devices, 0 to {count - 1}'}"
    for worker, device in enumerate(listed):
        if device >= count:
            yield Problem((*at, worker), f"puts worker {worker} on device {device}", there)


def _groups(scenario: Scenario) -> Iterator[Problem]:
    """Where stages have several devices: there are so many, in a node, and no two groups overlap."""
    devices, size = scenario.devices, group_size(scenario)
    if size == 1:
        return
    at: KeyPath = ("partition", "tensor_parallel")
    if isinstance(scenario.timing, ProfileTimes):
        rule = "a profile has the times of stages on one device each: must be 1, or timing of kind roofline"
        yield Problem(at, f"is {size}", rule)
    elif devices.per_node is not None and size > devices.per_node:
        rule = f"must be at most devices.per_node, {devices.per_node}: the devices of a stage are in one node"
        yield Problem(at, f"is {size}", rule)
    elif devices.workers is not None:
        yield from _listed_groups(scenario)
    elif not has_room(scenario):
        yield _too_few(scenario)


def _listed_groups(scenario: Scenario) -> Iterator[Problem]:
    devices, layout = scenario.devices, layout_of(scenario)
    groups = [devices_of(scenario, worker) for worker in place(scenario) if worker.role == "stage"]
    for stage, group in enumerate(groups):
        last = group.stop - 1
        state = f"puts stage {stage} on devices {group.start} to {last}"
        rule = ""
        if last >= devices.count:
            rule = f"there are {devices.count} devices, 0 to {devices.count - 1}"
        elif devices.node_of(group.start) != devices.node_of(last):
            rule = f"must be in one node, which has {devices.per_node}"
        elif other := next(
            (g for g in groups if g != group and max(g.start, group.start) < min(g.stop, group.stop)), None
        ):
            rule = f"must be apart from devices {other.start} to {other.stop - 1} of another stage, or the same"
        if rule:
            yield Problem(("devices", "workers", layout.worker_of_stage(stage)), state, rule)


def _too_few(scenario: Scenario) -> Problem:
    """Name what the stages' groups need, and what would do with the devices that there are."""
    devices, partition, size = scenario.devices, scenario.partition, group_size(scenario)
    placed = [f"{partition.stages} {'stage' if partition.stages == 1 else 'stages'} of {size} devices each"]
    roles = {worker.role for worker in place(scenario)}
    if "draft" in roles and scenario.draft.placement == "own_device":
        placed.append("the draft rank")
    if "head" in roles:
        placed.append("the LM head's own worker")
    need = f"must be at least {devices_needed(scenario)}, for {' and '.join(placed)}"
    if devices.per_node is not None:
        need += f", no stage on two nodes of {devices.per_node}"
    ways = list(_ways_to_fit(scenario))
    return Problem(("devices", "count"), f"is {devices.count}", f"{need}; {' or '.join(ways)} would fit")


def _ways_to_fit(scenario: Scenario) -> Iterator[str]:
    """Yield what there are enough devices for: a draft rank beside stage 0, fewer stages, fewer devices for each."""
    draft, partition = scenario.draft.model_copy(update={"placement": "stage_0"}), scenario.partition
    if has_room(scenario.model_copy(update={"draft": draft})):
        yield "draft.placement=stage_0"
    for key, least in (("stages", 2), ("tensor_parallel", 1)):
        for value in range(getattr(partition, key) - 1, least - 1, -1):
            smaller = partition.model_copy(update={key: value, "layers": "even"})
            if has_room(scenario.model_copy(update={"partition": smaller})):
                yield f"partition.{key}={value}"
                break


_ROLES = {"draft": "1 for the draft rank", "stage": "{} for the stages", "head": "1 for the LM head's own worker"}
"""What a list of workers must have, in its order."""


def _links(scenario: Scenario) -> Iterator[Problem]:
    count, per_node = scenario.devices.count, scenario.devices.per_node or scenario.devices.count
    if count > 1 and per_node > 1 and scenario.links.intra_node is None:
        yield Problem(("links", "intra_node"), "is missing", "must be given for several devices in a node")
    if count > per_node and scenario.links.inter_node is None:
        yield Problem(("links", "inter_node"), "is missing", "must be given for several nodes")
    if (size := group_size(scenario)) > 1 and all_reduce_of(scenario) is None:
        what = "one-shot all-reduce" if scenario.links.all_reduce == "one_shot" else "all-reduce"
        rule = f"must be given: the catalogue has no {what} over {size} {scenario.devices.gpu.name}"
        yield Problem(("links", "all_reduce_s"), "is missing", rule)


def _origins(scenario: Scenario) -> Iterator[Problem]:
    """An origin that is said of no figure would be lost without a word."""
    links = scenario.links
    parts: list[tuple[KeyPath, Gpu | LinkFigures | Roofline | None]] = [
        (("devices", "gpu"), scenario.devices.gpu),
        (("links", "intra_node"), links.intra_node),
        (("links", "inter_node"), links.inter_node),
    ]
    match scenario.timing:
        case Roofline() as roofline:
            parts.append((("timing",), roofline))
        case ProfileTimes(profile=profile):
            yield from _named_figures(profile)
    for path, part in parts:
        if part is not None:
            yield from _provenance(path, part)


def _provenance(path: KeyPath, part: Gpu | LinkFigures | Roofline) -> Iterator[Problem]:
    figures = [key for key in type(part).model_fields if key not in ("base", "name", "kind", "provenance")]
    for key in part.provenance:
        here = (*path, "provenance", key)
        if key not in figures:
            close = get_close_matches(key, figures, 1)
            rule = f"did you mean {close[0]}?" if close else f"must be one of {', '.join(figures)}"
            yield Problem(here, "is the origin of no figure", rule)
        elif key not in part.model_fields_set or getattr(part, key) is None:
            yield Problem(here, "is given for a figure that is not", "give the figure too")


def _named_figures(profile: Profile) -> Iterator[Problem]:
    """What a profile says of its own figures must be said of figures that it has."""
    at, backing = ("timing", "profile"), profile.backing
    named: list[KeyPath] = [(*at, "figures", key) for key in profile.figures]
    for index, error in enumerate(backing.uncertainty):
        named += [(*at, "backing", "uncertainty", index, "shifts", key) for key in error.shifts]
    for index, other in enumerate(backing.alternatives):
        named += [(*at, "backing", "alternatives", index, "figures", key) for key in other.figures]
    for path in named:
        try:
            figure(profile, str(path[-1]))
        except KeyError:
            yield Problem(path, "is no figure of this profile", "must be the dotted key of a number in it")


def _memory(scenario: Scenario) -> Iterator[Problem]:
    gpu, count = scenario.devices.gpu, scenario.devices.count
    if gpu.memory_bytes is None:
        return
    needed, there = sum(device_bytes(scenario)), gpu.memory_bytes * count
    if needed > there:
        devices = f"{count} {gpu.name} {'has' if count == 1 else 'have'} {show_bytes(there)}"
        state = f"is {show(scenario.model.name)}, which needs {show_bytes(needed)} where {devices}"
        enough = devices_that_fit(scenario)
        remedy = "no number of these would fit" if enough is None else f"{enough} devices would fit"
        yield Problem(("model",), state, f"{show_bytes(needed - there)} too much; {remedy}")
    elif scenario.partition.stages > 1 and not fits(scenario):
        yield _overfull(scenario, gpu.memory_bytes)


def _overfull(scenario: Scenario, memory_bytes: float) -> Problem:
    """The fullest device's problem. One stage is let through, with a warning: it is plain decoding, to compare with."""
    held = device_bytes(scenario)
    worst = held.index(max(held))
    room = f"device {worst} would need {show_bytes(held[worst])} and has {show_bytes(memory_bytes)}"
    placed = scenario.model_copy(update={"devices": scenario.devices.model_copy(update={"workers": None})})
    stages, devices = stages_that_fit(placed), devices_that_fit(placed)
    ways = [f"{stages} stages" if stages else "", f"{devices} devices" if devices else ""]
    if scenario.devices.workers is not None:
        apart = "without devices.workers"
        ways = [f"the same {apart}"] if fits(placed) else [f"{way} {apart}" for way in ways if way]
    remedy = " or ".join(way for way in ways if way)
    over = show_bytes(held[worst] - memory_bytes)
    return Problem(
        ("partition",), f"does not fit the devices: {room}",
        f"{over} too much; {remedy + ' would fit' if remedy else 'no number of these would fit'}",
    )  # fmt: skip
