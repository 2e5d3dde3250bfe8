"""The methods with several sequences in flight at a time: how each shares the devices among them.

What several sequences have in common is read once, the weights; each has a cache and states of its own, a share of
every message, and the host's bookkeeping of its own. Plain methods and draft-then-verify may also be had as copies,
each with its part of the sequences: that is what one would run instead.

Knows nothing of how methods are compared or printed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from spdsim.acceptance import Acceptance, Bernoulli
from spdsim.distributions import Constant
from spdsim.machine import Duration, Machine, Message
from spdsim.methods import drafters, plain, rounds, spd
from spdsim.methods.catalogue import METHODS, method_named
from spdsim.methods.drafters import Drafter
from spdsim.methods.durations import mean_s, of_rows
from spdsim.methods.method import CannotBeHadError, Method
from spdsim.methods.target import Spread, Target, batch_factors, target_on, targets
from spdsim.scenario import Scenario
from spdsim.scenario.rows import rows_factor
from spdsim.scenario.times import ProfileTimes
from spdsim.schedules import pipeline_shared, rounds_shared, spd_shared
from spdsim.schedules import rounds as rounds_schedule
from spdsim.schedules.ops import Payload, Task
from spdsim.schedules.spd import Layout

COPIES = "plain_copies"
"""Plain decoding with the whole target on every device; with one sequence it is `plain`."""

_DRAFTERS = {"draft_then_verify": drafters.draft_model, "eagle": drafters.eagle, "one_pass": drafters.one_pass}
_TITLES = {"draft_then_verify": "draft, then verify", "eagle": "EAGLE chain", "one_pass": "one-pass drafts"}
_SPD = {
    "spd": spd.as_written, "spd_colocated": spd.colocated, "spd_sharded": spd.sharded,
    "spd_tensor_parallel": spd.in_groups,
}  # fmt: skip
PLAIN = ("plain", COPIES, "tensor_parallel", "plain_pipeline")
KEYS = (*PLAIN, *_DRAFTERS, *_SPD)
"""The methods whose law with several sequences is known here."""


@dataclass(frozen=True, slots=True)
class Share:
    """Some copies of a machine, each with `sequences` in flight.

    shown: how many of them a trace of it has; one stands for all where they keep step, a token of each at a time.
    """

    copies: int
    sequences: int
    machine: Machine
    shown: int


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A method with several sequences in flight: what it is, in words, and what shares them."""

    key: str
    title: str
    shares: tuple[Share, ...]
    acceptance: Acceptance
    num_devices: int
    device_bytes: int


def arrangements(scenario: Scenario, key: str, sequences: int) -> Iterator[Arrangement]:
    """Yield the ways of a method to keep so many sequences in flight, of which the best is to be taken.

    With one sequence there is one way, that of `spdsim.methods`. Raises CannotBeHadError if there is none, and
    InputError for a key that there is not.
    """
    if key != COPIES:
        entry = method_named(key)
        if sequences == 1:
            yield _alone(entry.build(scenario))
            return
    if key not in KEYS:
        raise CannotBeHadError("not with several sequences in flight: its law is not known here")
    scenario = with_concurrency(scenario, sequences)
    if key in _SPD:
        yield from _spd_shared(scenario, _SPD[key](scenario))
    elif key in _DRAFTERS:
        yield from _rounds_shared(scenario, key, _DRAFTERS[key](scenario))
    elif key == "plain_pipeline":
        yield _pipeline_shared(scenario)
    else:
        yield from _in_step(scenario, key)


def with_concurrency(scenario: Scenario, sequences: int) -> Scenario:
    """Return the scenario with so many sequences in flight."""
    workload = scenario.workload.model_copy(update={"concurrency": sequences})
    return scenario.model_copy(update={"workload": workload})


def name_of(key: str) -> str:
    """Return what a method is, in a few words."""
    return "plain decoding, a copy on every device" if key == COPIES else method_named(key).name


def every_key() -> tuple[str, ...]:
    """Return the keys of all methods, those without a law for several sequences too."""
    return (*KEYS, *(entry.key for entry in METHODS if entry.key not in KEYS))


def _alone(method: Method) -> Arrangement:
    shares = (Share(1, 1, method.machine, 1),)
    return Arrangement(method.key, method.title, shares, method.acceptance, method.num_devices, method.device_bytes)


# Plain decoding: all sequences of a copy keep step.


def _in_step(scenario: Scenario, key: str) -> Iterator[Arrangement]:
    sequences, count = scenario.workload.concurrency, scenario.devices.count
    sizes = [size for size in (2, 4, 8) if size <= count] if key == "tensor_parallel" else [1]
    if not sizes:
        raise CannotBeHadError("a group needs two devices or more")
    reasons = []
    for size in sizes:
        copies = 1 if key == "plain" else min(count // size, sequences)
        try:
            yield _copied(scenario, key, size, copies)
        except CannotBeHadError as error:
            reasons.append(str(error))
    if len(reasons) == len(sizes):
        raise CannotBeHadError(reasons[-1])


def _copied(scenario: Scenario, key: str, size: int, copies: int) -> Arrangement:
    loads, fullest = _loads(scenario.workload.concurrency, copies), ceil(scenario.workload.concurrency / copies)
    spread: Spread = "one_device" if size == 1 else "tensor_parallel"
    target = target_on(with_concurrency(scenario, fullest), spread, size)
    shares = tuple(Share(number, load, machine_in_step(target, load), 1) for number, load in loads)
    group = "one device" if size == 1 else f"{size} devices"
    where = f"{copies} times, on {group} each" if copies > 1 else f"on {group}"
    title = f"plain decoding {where}, {_up_to(fullest)} at a time"
    return Arrangement(key, title, shares, Bernoulli(1.0), copies * size, target.device_bytes)


def machine_in_step(target: Target, sequences: int) -> Machine:
    """Return the machine on which a token of each sequence takes what the token of one stands for.

    target: on one device or one tensor-parallel group, which is one worker here, its all-reduces in its forward.
    """
    forward, head = target.factors(sequences, sequences)
    base, host = target.machine, float(sequences)
    factors: dict[Task, float] = {"forward": forward, "verify": head, "prefill": host, "commit": host}
    tasks = {
        (worker, task): replace(
            of_rows(duration, factors.get(task, 1.0)), per_context_token_s=sequences * duration.per_context_token_s
        )
        for (worker, task), duration in base.tasks.items()
    }
    return replace(base, tasks=tasks)


def _loads(sequences: int, copies: int) -> list[tuple[int, int]]:
    """How many copies have how many sequences, as evenly as can be."""
    each, more = divmod(sequences, copies)
    return [(number, load) for number, load in ((more, each + 1), (copies - more, each)) if number]


def _up_to(load: int) -> str:
    return "one sequence" if load == 1 else f"{load} sequences"


def _pipeline_shared(scenario: Scenario) -> Arrangement:
    method, sequences = plain.pipeline(scenario), scenario.workload.concurrency
    base, stages = method.machine, method.machine.layout.num_stages
    entries = ceil(sequences / stages)
    layout = pipeline_shared.Layout(stages, sequences, entries)
    machine = replace(_shared(scenario, base, _batched(scenario, entries)), layout=layout, schedule=pipeline_shared)
    title = f"{method.title}, {_up_to(entries)} in a stage"
    shares = (Share(1, sequences, machine, sequences),)
    return Arrangement(method.key, title, shares, method.acceptance, method.num_devices, method.device_bytes)


# SPD.


def _spd_shared(scenario: Scenario, method: Method) -> Iterator[Arrangement]:
    base, sequences = method.machine, scenario.workload.concurrency
    of_one = base.layout
    assert isinstance(of_one, Layout)
    if of_one.verification_lag:
        lag = of_one.verification_lag
        raise CannotBeHadError(f"partition.verification_lag is {lag}: must be 0 with several sequences in flight")
    group = scenario.partition.tensor_parallel if method.key != "spd_tensor_parallel" else 2
    for entries in _entries(sequences, of_one.num_stages):
        layout = spd_shared.Layout(of_one, sequences, entries)
        machine = _shared(scenario, base, _batched(scenario, entries, group, of_one.num_stages + 1))
        title = f"{method.title}, {_up_to(entries)} in a stage"
        shares = (Share(1, sequences, replace(machine, layout=layout, schedule=spd_shared), sequences),)
        yield Arrangement(method.key, title, shares, method.acceptance, method.num_devices, method.device_bytes)


def _entries(sequences: int, stages: int) -> Iterator[int]:
    """What is tried: the powers of two, as many as plain decoding has in a stage, and all at once."""
    powers = {1 << power for power in range(sequences.bit_length())}
    yield from sorted({number for number in powers | {ceil(sequences / stages), sequences} if number <= sequences})


# Draft-then-verify.


def _rounds_shared(scenario: Scenario, key: str, drafter: Drafter) -> Iterator[Arrangement]:
    sequences, count = scenario.workload.concurrency, scenario.devices.count
    found = False
    for target in targets(with_concurrency(scenario, 1), count):
        copies = 1 if target.spread == "pipeline" else min(count // target.num_devices, sequences)
        fullest = ceil(sequences / copies)
        try:
            whole = target_on(with_concurrency(scenario, fullest), target.spread, target.num_devices)
        except CannotBeHadError:
            continue
        found = True
        yield _rounds_copied(scenario, key, drafter, whole, copies)
    if not found:
        raise CannotBeHadError(f"the target does not fit with {sequences} sequences in flight in any way known here")


def _rounds_copied(scenario: Scenario, key: str, drafter: Drafter, target: Target, copies: int) -> Arrangement:
    loads, fullest = _loads(scenario.workload.concurrency, copies), ceil(scenario.workload.concurrency / copies)
    wanted = drafter.draft_tokens
    tried = range(1, drafters.MOST_DRAFTS + 1) if wanted == "best" else range(wanted, wanted + 1)
    tokens = min(tried, key=lambda number: _round_law_s(target, drafter, number, fullest))
    shares = tuple(
        Share(number, load, _machine_of_rounds(scenario, target, drafter, tokens, load), load) for number, load in loads
    )
    times = f", {copies} times" if copies > 1 else ""
    title = (
        f"{_TITLES[key]}: {tokens} draft{'' if tokens == 1 else 's'} by {drafter.words}, target {target.words}{times}, "
        f"{_up_to(fullest)} at a time"
    )
    held = target.device_bytes + drafter.num_bytes
    return Arrangement(key, title, shares, drafter.acceptance, copies * target.num_devices, held)


def _round_law_s(target: Target, drafter: Drafter, tokens: int, sequences: int) -> float:
    """Seconds per token of each sequence by the closed form, hosts left out, with a cache for each sequence."""
    context = target.context_tokens
    forward, head = target.factors(sequences * (tokens + 1), sequences)
    stages_s = sum(
        forward * mean_s(part, 0.0) + sequences * (mean_s(part, context) - mean_s(part, 0.0))
        for part in target.forwards()
    )
    hops_s = sum(mean_s(Duration(message.transit), 0.0) for message in target.hops)
    step = drafter.step_of(tokens)
    draft_s = mean_s(step, 0.0) * _draft_factor(drafter, tokens, sequences)
    draft_s += sequences * (mean_s(step, context) - mean_s(step, 0.0))
    round_s = drafter.passes(tokens) * draft_s + stages_s + head * mean_s(target.verify(), context) + hops_s
    return round_s / drafters.accept_length(drafter.acceptance, tokens)


def _draft_factor(drafter: Drafter, tokens: int, sequences: int) -> float:
    """What a draft op takes for several sequences, over what it takes for one."""
    rows = tokens if drafter.one_pass else 1
    return rows_factor(rows * sequences) / rows_factor(rows)


def _machine_of_rounds(scenario: Scenario, target: Target, drafter: Drafter, tokens: int, sequences: int) -> Machine:
    of_one = rounds_schedule.Layout(tokens, drafter.one_pass, drafter.num_features > 0, target.num_stages)
    base = rounds.machine_of_rounds(target, drafter, of_one)
    numbers = range(1, sequences + 1)
    one, factors = target.factors(tokens + 1), [target.factors(number * (tokens + 1), number) for number in numbers]
    by_task: dict[Task, tuple[float, ...]] = {
        "draft": tuple(_draft_factor(drafter, tokens, number) for number in numbers),
        "forward": tuple(forward / one[0] for forward, _ in factors),
        "verify": tuple(head / one[1] for _, head in factors),
        "prefill": tuple(map(float, numbers)),
    }
    machine = _shared(scenario, base, by_task)
    # The host's bookkeeping comes with the verdict, once for each sequence.
    edge: tuple[Payload, int, int] = ("verdict", target.num_stages, 0)
    verdict = machine.messages[edge]
    told = replace(verdict, receive_s=verdict.receive_s + (sequences - 1) * target.commit_s)
    return replace(
        machine, layout=rounds_shared.Layout(of_one, sequences), schedule=rounds_shared,
        messages={**machine.messages, edge: told},
    )  # fmt: skip


# What several sequences at once take, by task and by message.


def _batched(
    scenario: Scenario, entries: int, num_devices: int = 1, draft_rows: int = 1
) -> dict[Task, tuple[float, ...]]:
    """What tasks take for 1 to `entries` sequences at once, a token of each, over what they take for one.

    draft_rows: of one sequence in the draft module, the tokens in flight among them.
    """
    numbers = range(1, entries + 1)
    factors = [batch_factors(scenario, number, number, num_devices) for number in numbers]
    return {
        "forward": tuple(forward for forward, _ in factors),
        "verify": tuple(head for _, head in factors),
        "draft": tuple(rows_factor(number * draft_rows) / rows_factor(draft_rows) for number in numbers),
    }


def _shared(scenario: Scenario, base: Machine, by_task: dict[Task, tuple[float, ...]]) -> Machine:
    """The machine with what several sequences at once take; prompts and rollbacks one after another."""
    one_by_one = tuple(float(number) for number in range(1, scenario.workload.concurrency + 1))
    by_task = {"prefill": one_by_one, "rollback": one_by_one, **by_task}
    tasks = {
        (worker, task): replace(duration, batch_factors=by_task.get(task, ()))
        for (worker, task), duration in base.tasks.items()
    }
    messages = {edge: _message(scenario, base, edge[1], edge[2], message) for edge, message in base.messages.items()}
    return replace(base, tasks=tasks, messages=messages)


def _message(scenario: Scenario, base: Machine, source: int, to: int, message: Message) -> Message:
    """A message to which every sequence adds as much as one has; where its time was measured, none of it on the way."""
    timing = scenario.timing
    is_measured = isinstance(timing, ProfileTimes) and not isinstance(message.transit, Constant)
    nodes = [base.nodes[base.workers[worker].device] if base.nodes else 0 for worker in (source, to)]
    figures = scenario.links.intra_node if nodes[0] == nodes[1] else scenario.links.inter_node
    if message.link is None or is_measured or figures is None:
        return replace(message, batch_bytes=message.num_bytes)
    more_s = message.num_bytes / figures.bandwidth_bytes_per_s
    return replace(message, batch_bytes=message.num_bytes, batch_transit_s=more_s)


__all__ = ["COPIES", "KEYS", "PLAIN", "Arrangement", "Share", "arrangements", "every_key", "name_of"]
