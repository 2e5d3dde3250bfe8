"""Methods in which a small model on a device of its own drafts while the target verifies."""

from dataclasses import replace
from itertools import product

from spdsim import theory
from spdsim.acceptance import Bernoulli
from spdsim.machine import Duration, Machine, Message, Origin, Worker
from spdsim.methods.drafters import MOST_DRAFTS, Drafter, accept_length, draft_model
from spdsim.methods.durations import NOTHING, in_series, mean_s, scaled, unread
from spdsim.methods.links import Wires, tokens_bytes
from spdsim.methods.method import CannotBeHadError, Method
from spdsim.methods.target import Target, best_target, others, targets
from spdsim.scenario import Scenario
from spdsim.scenario.rivals import DraftTokens
from spdsim.schedules import asynchronous, dsi, prepared
from spdsim.schedules.ops import Payload, Task
from spdsim.schedules.schedule import Layout, Schedule


def side_by_side(scenario: Scenario) -> Method:
    """Return asynchronous drafting, with windows that are best by its law, or as the scenario says.

    Raises CannotBeHadError without a draft model or a device for it.
    """
    drafter, target = draft_model(scenario), _beside_drafter(scenario)
    pre_verify, wanted = scenario.rivals.asynchronous.pre_verify, drafter.draft_tokens
    p, draft_s = _constant(drafter), mean_s(drafter.step, target.context_tokens)

    def law_s(window: int) -> float:
        """Seconds per token by the closed form, with the drafts of a window and the target's pass side by side."""
        drafts_s, pass_s = window * draft_s, target.step_s(window)
        together_s = theory.asynchronous_token_s(p, window, max(drafts_s, pass_s))
        if pre_verify or p >= 1.0:
            return together_s
        return (1.0 - p) * (drafts_s + max(drafts_s, pass_s) / (1.0 - p**window))

    window = min(_tried(wanted), key=law_s)
    layout = asynchronous.Layout(window, pre_verify, target.num_stages)
    machine = _with_drafter(scenario, target, drafter, asynchronous, layout, rows=window, drafts=window)
    how = "" if pre_verify else ", without looking ahead"
    title = f"side by side: windows of {_drafts(window)} by {drafter.words}{how}"
    return _method(scenario, "asynchronous", title, target, drafter, machine, law_s(window))


def prepared_answers(scenario: Scenario) -> Method:
    """Return SSD. Raises CannotBeHadError without a draft model, a device for it or a hit rate."""
    written = scenario.rivals.ssd
    drafter = draft_model(scenario)
    if written is None:
        raise CannotBeHadError("no hit rate: give rivals.ssd.hit_rate")
    target = _beside_drafter(scenario)
    draft_s = mean_s(drafter.step, target.context_tokens)

    def law_s(tokens: int) -> float:
        """Seconds per token (arXiv:2603.03251, with the target's step in seconds and a backup by the same model)."""
        step_s, hit = max(target.step_s(tokens + 1), tokens * draft_s), written.hit_rate
        return (step_s + (1.0 - hit) * tokens * draft_s) / accept_length(drafter.acceptance, tokens)

    tokens = min(_tried(drafter.draft_tokens), key=law_s)
    layout = prepared.Layout(tokens, written.hit_rate, tokens, num_stages=target.num_stages)
    machine = _with_drafter(scenario, target, drafter, prepared, layout, rows=tokens + 1, drafts=tokens)
    title = f"prepared answers: {_drafts(tokens)} by {drafter.words}, hit rate {written.hit_rate:g}"
    return _method(scenario, "ssd", title, target, drafter, machine, law_s(tokens))


def replicated(scenario: Scenario) -> Method:
    """Return DSI with the replicas and the lookahead that decode soonest by its law.

    Raises CannotBeHadError without a draft model, or for too few devices for two replicas and it.
    """
    drafter = draft_model(scenario)
    p, found = _constant(drafter), list[tuple[float, int, int, Target]]()
    for target in targets(scenario, scenario.devices.count - 1):
        most = (scenario.devices.count - 1) // target.num_devices if target.num_stages == 1 else 0
        draft_s = mean_s(drafter.step, target.context_tokens)
        for replicas, lookahead in product(range(2, most + 1), _tried(drafter.draft_tokens)):
            cycle_s = max(lookahead * draft_s, target.step_s(lookahead) / replicas)
            found.append((theory.replicas_token_s(p, lookahead, replicas, cycle_s), lookahead, replicas, target))
    if not found:
        raise CannotBeHadError(f"{scenario.devices.count} devices do not hold two replicas of the target and a drafter")
    law_s, lookahead, replicas, target = min(found, key=lambda each: each[:3])
    title = f"replicas: {replicas} targets verify {_drafts(lookahead)} at a time, {drafter.words} never stops"
    machine = _machine_of_replicas(scenario, target, drafter, dsi.Layout(replicas, lookahead))
    return _method(scenario, "dsi", title, target, drafter, machine, law_s, replicas)


def _constant(drafter: Drafter) -> float:
    """The one acceptance of all drafts. Raises CannotBeHadError where it falls from one draft to the next."""
    if not isinstance(drafter.acceptance, Bernoulli):
        raise CannotBeHadError("its law knows one acceptance for all drafts: give it as constant or accept_length")
    return drafter.acceptance.p


def _tried(wanted: DraftTokens) -> range:
    return range(1, MOST_DRAFTS + 1) if wanted == "best" else range(wanted, wanted + 1)


def _beside_drafter(scenario: Scenario) -> Target:
    """The target on all devices but the drafter's."""
    if scenario.devices.count < 2:
        raise CannotBeHadError("the drafter needs a device of its own: 2 devices or more")
    return best_target(scenario, scenario.devices.count - 1)


def _method(
    scenario: Scenario, key: str, title: str, target: Target, drafter: Drafter, machine: Machine, law_s: float | None,
    replicas: int = 1,
) -> Method:  # fmt: skip
    return Method(
        key, f"{title}, target {target.words}", machine, drafter.acceptance, replicas * target.num_devices + 1,
        max(target.device_bytes, drafter.num_bytes), law_s, origins=(*drafter.origins, *_own_origins(scenario, key)),
    )  # fmt: skip


def _own_origins(scenario: Scenario, key: str) -> tuple[Origin, ...]:
    written = scenario.rivals.ssd
    if key != "ssd" or written is None:
        return ()
    return (Origin("rivals.ssd hit_rate", written.origin, written.source),)


def _with_drafter(
    scenario: Scenario, target: Target, drafter: Drafter, schedule: Schedule, layout: Layout, *, rows: int, drafts: int
) -> Machine:
    """The target's machine with a drafter on a device after its own; worker 0 drafts, i + 1 is stage i."""
    base, stages = target.machine, target.num_stages
    tasks: dict[tuple[int, Task], Duration] = {
        (0, "draft"): drafter.step, (0, "prefill"): drafter.prefill, (0, "commit"): NOTHING,
        (stages, "verify"): target.verify(rows),
    }  # fmt: skip
    forwards = target.forwards(rows)
    for stage in range(stages):
        tasks[stage + 1, "forward"], tasks[stage + 1, "prefill"] = forwards[stage], target.prefills[stage]
        tasks[stage + 1, "rollback"] = target.rollbacks[stage]
    wires, own_device = Wires(scenario, base.links), target.num_devices
    device_of = [own_device, *(stage if stages > 1 else 0 for stage in range(stages))]
    messages: dict[tuple[Payload, int, int], Message] = {
        ("hidden", stage, stage + 1): hop for stage, hop in enumerate(target.hops, start=1)
    }
    for to in {1, stages}:
        messages["draft", 0, to] = wires.message("draft", own_device, device_of[to], tokens_bytes(drafts))
    for to in range(stages):
        told = target.commit_s if to == 0 else 0.0
        messages["verdict", stages, to] = wires.message(
            "verdict", device_of[stages], device_of[to], tokens_bytes(drafts), told
        )
    on = [worker.device for worker in base.workers if worker.role == "stage"]
    own = len(base.devices)
    return replace(
        base, layout=layout, schedule=schedule,
        workers=(Worker(0, "draft", own), *(Worker(stage + 1, "stage", on[stage]) for stage in range(stages))),
        devices=(*base.devices, f"{scenario.devices.gpu.name} {own_device}"),
        nodes=(*(base.nodes or (0,) * own), scenario.devices.node_of(own_device)), tasks=tasks, links=wires.links,
        messages=messages,
        origins=others(base.origins),
    )  # fmt: skip


def _machine_of_replicas(scenario: Scenario, target: Target, drafter: Drafter, layout: dsi.Layout) -> Machine:
    """Worker 0 drafts, i + 1 is replica i; a pass is cut into as many slices as there are replicas, LM head included.

    In every cycle some pass ends: were the LM head a task of its own, all would wait for it every time.
    """
    base, replicas = target.machine, layout.num_replicas
    rows = layout.lookahead
    slice_ = scaled(in_series(target.forwards(rows)[0], unread(target.verify(rows))), 1.0 / replicas)
    tasks: dict[tuple[int, Task], Duration] = {
        (0, "draft"): drafter.step, (0, "prefill"): drafter.prefill, (0, "commit"): NOTHING,
    }  # fmt: skip
    each = target.num_devices
    first = range(0, replicas * each, each)
    own_device = replicas * each
    device_of, wires = [own_device, *first], Wires(scenario)
    messages: dict[tuple[Payload, int, int], Message] = {}
    for worker in range(1, replicas + 1):
        tasks[worker, "forward"], tasks[worker, "verify"] = slice_, NOTHING
        tasks[worker, "prefill"] = in_series(target.prefills[0], unread(target.verify()))
        tasks[worker, "rollback"] = target.rollbacks[0]
        messages["draft", 0, worker] = wires.message("draft", own_device, device_of[worker], tokens_bytes(rows))
        for to in range(replicas + 1):
            if to != worker:
                told = target.commit_s if to == 0 else 0.0
                messages["verdict", worker, to] = wires.message(
                    "verdict", device_of[worker], device_of[to], tokens_bytes(rows), told
                )
    name = scenario.devices.gpu.name
    devices = tuple(f"{name} {at}" if each == 1 else f"{name} {at}-{at + each - 1}" for at in first)
    return replace(
        base, layout=layout, schedule=dsi,
        workers=(Worker(0, "draft", replicas), *(Worker(i + 1, "stage", i) for i in range(replicas))),
        devices=(*devices, f"{name} {own_device}"),
        nodes=tuple(scenario.devices.node_of(at) for at in (*first, own_device)),
        tasks=tasks, links=wires.links, messages=messages, origins=others(base.origins),
    )  # fmt: skip


def _drafts(count: int) -> str:
    return f"{count} draft{'' if count == 1 else 's'}"
