"""Draft-then-verify on a scenario's devices: the drafter on the first device, the target on all of them."""

from dataclasses import replace

from spdsim.machine import Duration, Machine, Message, Worker
from spdsim.methods.drafters import MOST_DRAFTS, Drafter, accept_length
from spdsim.methods.durations import NOTHING, mean_s
from spdsim.methods.links import here
from spdsim.methods.method import Method
from spdsim.methods.target import Target, best_target, others
from spdsim.scenario import Scenario
from spdsim.schedules import rounds
from spdsim.schedules.ops import Payload, Task


def drafted_in_rounds(scenario: Scenario, key: str, name: str, drafter: Drafter) -> Method:
    """Return a method that drafts a round and then verifies it. Raises CannotBeHadError if the target does not fit."""
    target = best_target(scenario, scenario.devices.count)
    context = target.context_tokens
    laws = {tokens: law_s(target, drafter, tokens, context) for tokens in _tried(drafter)}
    tokens = min(laws, key=lambda number: laws[number])
    layout = rounds.Layout(tokens, drafter.one_pass, drafter.num_features > 0, target.num_stages)
    plural = "" if tokens == 1 else "s"
    return Method(
        key, f"{name}: {tokens} draft{plural} by {drafter.words}, target {target.words}",
        machine_of_rounds(target, drafter, layout), drafter.acceptance, target.num_devices,
        target.device_bytes + drafter.num_bytes, laws[tokens], origins=drafter.origins,
    )  # fmt: skip


def law_s(target: Target, drafter: Drafter, draft_tokens: int, context_tokens: float) -> float:
    """Return seconds per token by the closed form: (g c + v) / tau, hosts left out (arXiv:2211.17192, theorem 3.8)."""
    drafts_s = drafter.passes(draft_tokens) * mean_s(drafter.step_of(draft_tokens), context_tokens)
    return (drafts_s + target.step_s(draft_tokens + 1)) / accept_length(drafter.acceptance, draft_tokens)


def machine_of_rounds(target: Target, drafter: Drafter, layout: rounds.Layout) -> Machine:
    """Return the machine: worker 0 drafts on the device of stage 0, in turn with it."""
    rows, stages = layout.draft_tokens + 1, layout.num_stages
    base, forwards = target.machine, target.forwards(rows)
    tasks: dict[tuple[int, Task], Duration] = {
        (0, "draft"): drafter.step_of(layout.draft_tokens), (0, "prefill"): drafter.prefill, (0, "commit"): NOTHING,
        (stages, "verify"): target.verify(rows),
    }  # fmt: skip
    for stage in range(stages):
        tasks[stage + 1, "forward"], tasks[stage + 1, "prefill"] = forwards[stage], target.prefills[stage]
        tasks[stage + 1, "rollback"] = target.rollbacks[stage]
    messages: dict[tuple[Payload, int, int], Message] = {("draft", 0, 1): here()}
    for stage, hop in enumerate(target.hops, start=1):
        messages["hidden", stage, stage + 1] = hop
    messages["verdict", stages, 0] = _to_drafter(target, target.commit_s)
    messages["features", stages, 0] = _to_drafter(target, 0.0)
    on = [worker.device for worker in base.workers if worker.role == "stage"]
    return replace(
        base, layout=layout, schedule=rounds,
        workers=(Worker(0, "draft", on[0]), *(Worker(stage + 1, "stage", on[stage]) for stage in range(stages))),
        tasks=tasks, messages=messages, origins=others(base.origins),
    )  # fmt: skip


def _to_drafter(target: Target, receive_s: float) -> Message:
    """What the last stage sends the drafter: within the device, or, over a pipeline, as its verdict does."""
    if target.num_stages == 1:
        return here(receive_s=receive_s)
    verdict = target.machine.messages["verdict", target.num_stages, 0]
    return Message(
        verdict.link, verdict.num_bytes, verdict.prefill_bytes, verdict.transit, verdict.prefill_transit, verdict.post,
        receive_s=verdict.receive_s + receive_s, receipt=verdict.receipt,
    )  # fmt: skip


def _tried(drafter: Drafter) -> range:
    wanted = drafter.draft_tokens
    return range(1, MOST_DRAFTS + 1) if wanted == "best" else range(wanted, wanted + 1)


__all__ = ["drafted_in_rounds", "law_s", "machine_of_rounds"]
