"""The fast path is the engine to the last bit, however sequences are put together, and says where it cannot be."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spdsim.acceptance import (
    Acceptance,
    Bernoulli,
    BetaPerSequence,
    ByFillDepth,
    Coins,
    Markov,
    Replay,
    max_tokens,
    toss,
)  # fmt: skip
from spdsim.analysis.causality import causality
from spdsim.analysis.decoding import decodings
from spdsim.distributions import Constant, Distribution, Empirical, Gamma, LogNormal, Normal, Sum, scaled
from spdsim.draws import Draws
from spdsim.engine import Engine, Request
from spdsim.engine.steps import SEND, Compiler, Programs
from spdsim.errors import DeadlockError
from spdsim.fast import Decoded, Task, decode, decode_each, unsupported
from spdsim.fast.code import assemble
from spdsim.fast.graph import Latest, Register, Scalar
from spdsim.fast.graph import Sum as Plus
from spdsim.fast.lower import Cycle, host_register
from spdsim.fast.noise import Noise
from spdsim.fast.plan import plan_of
from spdsim.machine import Link, Machine
from spdsim.schedules.spd import Layout, LmHead, PipelineState
from tests.machines import PLACEMENTS, Place, empty_trace, machine
from tests.test_reference import Kind, random_layout, random_machine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

ACCEPTANCES: list[Acceptance] = [
    Bernoulli(0.0),
    Bernoulli(0.8),
    Bernoulli(1.0),
    ByFillDepth((0.3, 0.6, 0.9)),
    Markov((0.9, 0.4), (0.9, 0.8)),
    BetaPerSequence(0.7, 3.0),
    Replay(((True, False) * 20, (True,) * 9, (False,))),
]


def random_distribution(random: Random, found: Distribution) -> Distribution:
    """Return a distribution around a constant, of any kind."""
    assert isinstance(found, Constant)
    mean = found.value_s
    drawn: list[Distribution] = [
        Normal(mean, 0.3 * mean), LogNormal(mean, 0.3), Gamma(mean, 0.3), Empirical((mean, 2.0 * mean, 0.5 * mean)),
        Sum((LogNormal(mean, 0.3), Constant(0.1))),
    ]  # fmt: skip
    return random.choice([found, found, found, *drawn])


def any_machine(random: Random) -> Machine:
    """Return a machine on which nothing is shared, with 1 to 9 stages and all that may take time."""
    layout = random_layout(random)
    if layout.num_stages > 1 and random.random() < 0.3:
        layout = replace(layout, num_stages=random.choice([7, 8, 9]))
    found = random_machine(random, layout, Kind(random.random() < 0.3, hosts=random.random() < 0.6, link_each=True))
    if random.random() < 0.3:
        return found
    tasks = {
        key: replace(
            duration,
            base=random_distribution(random, duration.base),
            by_fill_depth=duration.by_fill_depth
            and tuple(random_distribution(random, one) for one in duration.by_fill_depth),
        )
        for key, duration in found.tasks.items()
    }
    messages = {
        edge: replace(
            message,
            link=None if random.random() < 0.1 else message.link,
            transit=random_distribution(random, message.transit),
            prefill_transit=random_distribution(random, message.prefill_transit),
            post=random_distribution(random, message.post),
            receipt=random.choice(["serial", "taken", "posted", "read"]),
            leaves_at_once=random.random() < 0.3,
        )
        for edge, message in found.messages.items()
    }
    return replace(
        found, tasks=tasks, messages=messages, shared_fraction=random.choice([0.0, 0.3, 1.0]),
        between_cycles=random.choice([Constant(0.0), random_distribution(random, Constant(0.1))]),
    )  # fmt: skip


def requests_of(machine: Machine, acceptance: Acceptance, lengths: Sequence[int], first: int = 0) -> list[Request]:
    """Return sequences of the given lengths (or as long as their record), with their coins."""
    found = []
    for number, length in enumerate(lengths, start=first):
        length = min(length, max_tokens(acceptance, number) or length)
        coins = toss(acceptance, 0, number, length + machine.layout.capacity + 1)
        found.append(Request(number, length, coins))
    return found


def engine_says(machine: Machine, requests: Sequence[Request], seed: int, start_s: Sequence[float]) -> Decoded:
    """Return what the analysis reads from the engine's trace of the same sequences."""
    trace = empty_trace(machine)
    engine = Engine(machine, trace, seed)
    done_s = [engine.decode(request, begin_s) for request, begin_s in zip(requests, start_s, strict=True)]
    windows = decodings(trace, causality(trace))
    commits = [
        [span.end_s for span in trace.spans(sequence) if span.op == "commit"] for sequence in range(len(requests))
    ]
    longest = max(map(len, commits))
    return Decoded(
        np.array([window.begin_s for window in windows]), np.array([window.prompt_at_s for window in windows]),
        np.array([window.end_s for window in windows]), np.array(done_s),
        np.array([[*ends, *[np.nan] * (longest - len(ends))] for ends in commits]),
        np.array([window.num_tokens for window in windows]), np.array([len(window.cycle_s) for window in windows]),
        np.array([window.num_rejections for window in windows]),
        np.array([window.num_rejected for window in windows]),
    )  # fmt: skip


def assert_same(got: Decoded, expected: Decoded) -> None:
    for field in fields(Decoded):
        np.testing.assert_array_equal(getattr(got, field.name), getattr(expected, field.name), field.name, strict=True)


def joined(parts: Sequence[Decoded]) -> Decoded:
    """Return several results as one; all hold a sequence of the largest length."""
    return Decoded(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Decoded)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
@example(30)
def test_every_time_is_the_engines_to_the_last_bit(number: int) -> None:
    """Finish times, decode windows, the end of every commit and all counts, on random machines with random requests."""
    random = Random(number)
    tried = any_machine(random)
    lengths = random.choice([[1], [2], [1, 2, 3, 9, 30], [12] * 18, [random.randrange(1, 40) for _ in range(4)]])
    requests = requests_of(tried, random.choice(ACCEPTANCES), lengths, random.choice([0, 13, 10**6]))
    start_s = [random.random() for _ in requests]
    assert unsupported(tried) is None
    assert_same(decode(tried, requests, number, np.array(start_s)), engine_says(tried, requests, number, start_s))


def with_other_numbers(found: Machine, random: Random) -> Machine:
    """Return a machine that differs in what its tasks and messages take, and has the same shape."""

    def changed(distribution: Distribution) -> Distribution:
        return scaled(distribution, random.choice([1.0, 1.7, random.random() + 0.5]))

    tasks = {
        key: replace(
            duration,
            base=changed(duration.base),
            per_context_token_s=duration.per_context_token_s * random.choice([1.0, 1.3]),
        )
        for key, duration in found.tasks.items()
    }
    messages = {
        edge: replace(message, transit=changed(message.transit), post=changed(message.post))
        for edge, message in found.messages.items()
    }
    return replace(found, tasks=tasks, messages=messages, between_cycles=changed(found.between_cycles))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_machines_decoded_together_have_the_times_of_each_alone(number: int) -> None:
    """To the last bit: machines that differ in numbers, in what is random, in shape or in nothing; other seeds too."""
    random = Random(number)
    base = any_machine(random)
    tried = [base, *(with_other_numbers(base, random) for _ in range(4)), any_machine(random), base]
    seeds = [random.choice([0, 0, 1]) for _ in tried]
    requests = [
        requests_of(
            each, random.choice(ACCEPTANCES), [random.randrange(1, 30) for _ in range(random.randrange(5))],
            random.choice([0, 13]),
        )
        for each in tried
    ]  # fmt: skip
    start_s = [np.array([random.random() for _ in some]) for some in requests]
    plans = [plan_of(each, seed) for each, seed in zip(tried, seeds, strict=True)]
    together = decode_each([Task(*task) for task in zip(plans, requests, start_s, strict=True)])
    for got, each, some, seed, begin_s in zip(together, tried, requests, seeds, start_s, strict=True):
        assert_same(got, decode(each, some, seed, begin_s))


def test_machines_that_differ_in_numbers_only_are_alike() -> None:
    """So that a sweep of them takes one run of the code; others are told apart."""
    layout = Layout(4)
    some = [machine(layout, forward=1.0 + k, draft=0.8, verify=0.3, hop=0.1 + 0.01 * k) for k in range(3)]
    assert len({plan_of(each, 0).likeness for each in some}) == 1
    others = [
        machine(Layout(3), forward=1.0, draft=0.8, verify=0.3, hop=0.1),
        machine(layout, forward=LogNormal(1.0, 0.1), draft=0.8, verify=0.3, hop=0.1),
        # As long as each other, these two are one number.
        machine(layout, forward=1.0, draft=0.8, verify=0.1, hop=0.1),
    ]
    assert len({plan_of(each, 0).likeness for each in (some[0], *others)}) == 4


def test_durations_that_are_drawn_alike_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that differ in constants share their random numbers."""
    some = [machine(Layout(3), forward=LogNormal(1.0, 0.1), draft=0.8, hop=0.1 + 0.01 * k) for k in range(5)]
    asked = 0
    blocks = Draws.blocks

    def counted(draws: Draws, number: int) -> "Iterator[NDArray[np.float64]]":
        nonlocal asked
        asked += 1
        return blocks(draws, number)

    tasks = [Task(plan_of(each, 0), requests_of(each, Bernoulli(0.8), [9] * 16)) for each in some]
    monkeypatch.setattr(Draws, "blocks", counted)
    decode_each(tasks)
    assert asked == 3


@pytest.mark.parametrize("acceptance", ACCEPTANCES, ids=str)
@pytest.mark.parametrize("num_stages", [1, 2, 8])
def test_long_sequences_cross_blocks_of_draws_as_the_engine_does(num_stages: int, acceptance: Acceptance) -> None:
    """Several sequences from two blocks, and more cycles than a block holds."""
    tried = machine(Layout(num_stages), forward=LogNormal(1.0, 0.1), draft=Gamma(0.8, 0.1), hop=0.1, verify=0.2)
    requests = requests_of(tried, acceptance, [280, 150, 149], first=14)
    assert_same(decode(tried, requests, 3), engine_says(tried, requests, 3, [0.0] * 3))


def test_sequences_follow_one_another_from_where_the_last_was_done() -> None:
    """Sequence j of every replication begins when sequence j - 1 is done, as in `decode_all`."""
    tried = machine(Layout(3), forward=LogNormal(1.0, 0.2), hop=0.1, verify=0.3)
    requests = requests_of(tried, Bernoulli(0.7), [20] * 6)
    engine = Engine(tried, empty_trace(tried))
    pairs = zip(requests[::2], requests[1::2], strict=True)
    expected_s = [engine.decode(second, engine.decode(first)) for first, second in pairs]
    first = decode(tried, requests[::2], 0)
    assert decode(tried, requests[1::2], 0, first.done_s).done_s.tolist() == expected_s


def noisy_machine() -> Machine:
    return machine(Layout(4), forward=LogNormal(1.0, 0.2), draft=Gamma(0.8, 0.3), hop=0.1, verify=Normal(0.2, 0.1))


@pytest.mark.parametrize("acceptance", [Bernoulli(0.7), ByFillDepth((0.3, 0.9)), BetaPerSequence(0.5, 1.0)], ids=str)
def test_how_sequences_are_put_together_changes_nothing(
    acceptance: Acceptance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one call or several, in chunks of any size, in another order, and where draws hardly fit the memory."""
    tried = noisy_machine()
    requests = requests_of(tried, acceptance, [90] * 40)
    expected = decode(tried, requests, 1)
    assert_same(joined([decode(tried, requests[:7], 1), decode(tried, requests[7:], 1)]), expected)
    order = list(range(39, -1, -1))
    backwards = decode(tried, [requests[i] for i in order], 1)
    assert backwards.done_s[order].tolist() == expected.done_s.tolist()
    for name, value in (("CHUNK", 9), ("_MAX_DRAWS_BYTES", 2**18)):
        with monkeypatch.context() as patch:
            patch.setattr(f"spdsim.fast.run.{name}", value)
            assert_same(decode(tried, requests, 1), expected)


def test_what_needs_too_much_memory_is_decoded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sequence is far behind the others, so that draws would have to be kept for it."""
    tried = noisy_machine()
    always, never = Coins([True] * 400), Coins([False] * 400)
    requests = [Request(number, 300, never if number == 5 else always) for number in range(16)]
    expected = decode(tried, requests, 0)
    sizes = []

    class Counted(Noise):
        def __init__(
            self, streams: Sequence[Sequence[Draws]], machines: "Ints", numbers: "Ints", max_bytes: int
        ) -> None:
            sizes.append(len(numbers))
            super().__init__(streams, machines, numbers, max_bytes)

    monkeypatch.setattr("spdsim.fast.run.Noise", Counted)
    monkeypatch.setattr("spdsim.fast.run._MAX_DRAWS_BYTES", 2**19)
    assert_same(decode(tried, requests, 0), expected)
    assert sizes[:2] == [16, 8]


def test_no_requests_give_no_entries() -> None:
    """Empty arrays, and no error."""
    assert [len(getattr(decode(noisy_machine(), [], 0), field.name)) for field in fields(Decoded)] == [0] * 9


def test_what_workers_queue_for_needs_the_engine() -> None:
    """A device, a link, or what nodes share; and the reason says which."""
    layout = Layout(3)
    alone = machine(layout, hop=0.1)
    assert unsupported(alone) is None
    assert unsupported(machine(layout, Place([0, 0, 1, 2]), hop=0.1)) == "several workers share a device: device 0"
    assert unsupported(replace(alone, contention=(1.0, 1.5))) == "workers of a node slow each other down"
    common = unsupported(machine(layout, Place(common_link=True), hop=0.1))
    assert common == "several workers send on a link, or may: (0, 0)"
    shared = replace(alone, links=(replace(alone.links[0], is_shared=True), *alone.links[1:]))
    assert unsupported(shared) == f"several workers send on a link, or may: {alone.links[0].name}"
    assert unsupported(replace(alone, links=(*alone.links, Link("unused", is_shared=True)))) is None


@pytest.mark.parametrize("lm_head", PLACEMENTS)
def test_what_cannot_change_a_time_is_not_worked_out(lm_head: LmHead) -> None:
    """Without work of the hosts' own they are where their devices are: no clock of a host is kept."""
    layout = Layout(4, lm_head)
    plan = plan_of(machine(layout, forward=1.0, draft=0.8, verify=0.1, hop=0.1), 0)
    hosts = {host_register(worker) for worker in range(layout.num_workers)}
    assert not hosts & set(plan.program.registers)
    busy = plan_of(machine(layout, forward=1.0, draft=0.8, verify=0.1, hop=0.1, post=0.1), 0)
    assert len(busy.full.instructions) > len(plan.full.instructions)


def test_a_missing_message_is_a_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the engine: better than waiting forever."""
    steps_of = Compiler.steps_of

    def mute(compiler: Compiler, state: PipelineState) -> Programs:
        return [[step for step in steps if step[0] != SEND] for steps in steps_of(compiler, state)]

    monkeypatch.setattr(Compiler, "steps_of", mute)
    with pytest.raises(DeadlockError, match="deadlock in cycle -1"):
        decode(machine(Layout(2)), [Request(0, 2, Coins([True] * 9))], 0)


@given(st.integers(0, 2**32 - 1))
def test_code_keeps_what_is_still_needed(number: int) -> None:
    """Sums and maxima of four registers, which may end in one another: cells that are used again lose nothing."""
    random = Random(number)
    cycle = Cycle()
    graph = cycle.graph
    registers = range(4)
    nodes = [*(graph.register(register) for register in registers), graph.scalar(2.0)]
    for _ in range(random.randrange(9)):
        combine = random.choice([graph.plus, graph.latest])
        nodes.append(combine(random.choice(nodes), random.choice(nodes)))
    results = [node for node in nodes if node != nodes[4]]
    cycle.after = {register: random.choice(results) for register in registers}
    cycle.committed = random.choice(results)
    begin = [random.random() for _ in registers]

    def value(node: int) -> float:
        match graph.nodes[node]:
            case Register(register):
                return begin[register]
            case Scalar(base_s):
                return base_s
            case Plus(left, right):
                return value(left) + value(right)
            case Latest(left, right):
                return max(value(left), value(right))
            case other:
                raise AssertionError(other)

    program = assemble([cycle], registers)
    cells = [np.array([begin[register]]) for register in program.registers]
    cells += [np.empty(1) for _ in range(program.num_cells - len(cells))]
    cells += [np.array(scalar.base_s) for scalar in program.constants]
    code = program.codes[0]
    for operation, left, right, result in code.instructions:
        assert operation is not None
        operation(cells[left], cells[right], out=cells[result])
    assert cells[code.committed] == value(cycle.committed)
    got = {register: cells[cell].item() for cell, register in enumerate(program.registers)}
    assert got == {register: value(cycle.after[register]) for register in registers}
