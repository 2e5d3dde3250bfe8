"""A machine as straight-line code: what each shape of cycle does to all workers' clocks."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from spdsim.engine.steps import Compiler
from spdsim.fast.code import Code, Program, assemble
from spdsim.fast.lower import lower, now_register
from spdsim.machine import Machine
from spdsim.schedules.ops import Verdict
from spdsim.schedules.spd import Layout, PipelineState, advance, start
from spdsim.trace import Trace, TraceHeader

_WITHOUT_END = 2**62


@dataclass(frozen=True, slots=True)
class Plan:
    """The cycles of a sequence: the prefill, those until the pipeline is full, the full one again and again.

    refill: the cycles after a rejection until the pipeline is full again. clocks: the registers' cells of the workers'
    clocks; driver: that of the one who commits tokens. drafts: whether anything is drafted. num_refilled: how many
    registers, of the first, the refill touches.
    """

    program: Program
    prefill: Code
    fill: tuple[Code, ...]
    full: Code
    refill: tuple[Code, ...]
    clocks: tuple[int, ...]
    driver: int
    drafts: bool
    num_refilled: int

    @property
    def likeness(self) -> Hashable:
        """What plans have in common that differ in numbers only, so that their sequences can be decoded together."""
        program = self.program
        return (
            self.prefill, self.fill, self.full, self.refill, self.clocks, self.driver, self.drafts,
            program.registers, program.num_cells, len(program.draws),
            tuple(scalar.offset for scalar in program.constants),
        )  # fmt: skip


def plan_of(machine: Machine, seed: int) -> Plan:
    """Return the code of `machine`, which `unsupported` has nothing against. Raises DeadlockError."""
    layout = machine.layout
    assert isinstance(layout, Layout)
    compiler = Compiler(machine, Trace(TraceHeader("simulator", "spd", layout.num_stages, 0, ())), seed)
    prefill = start(layout, _WITHOUT_END)
    first = advance(prefill, Verdict(accepted=True))
    fill = [first, *_after(first)]
    full = fill.pop()
    rejected = advance(full, Verdict(accepted=False))
    # With one stage every token is the target's own: nothing is rejected.
    refill = [] if layout.num_stages == 1 else [rejected, *_after(rejected)][:-1]
    states = [prefill, *fill, full, *refill]
    workers = range(layout.num_workers)
    between = [compiler.between_cycles(worker) for worker in workers]
    cycles = [lower(compiler.steps_of(state), state, between) for state in states]
    program = assemble(cycles, map(now_register, workers))
    codes = program.codes
    clocks = tuple(program.registers.index(now_register(worker)) for worker in workers)
    refills = codes[2 + len(fill) :]
    touched = max((cell for code in refills for cell in code.reads | code.writes), default=-1)
    return Plan(
        program, codes[0], codes[1 : 1 + len(fill)], codes[1 + len(fill)], refills,
        clocks, clocks[layout.driver], layout.num_stages > 1, touched + 1,
    )  # fmt: skip


class Plans:
    """The plans of machines, each worked out once."""

    def __init__(self) -> None:
        self._known: dict[int, list[tuple[Machine, int, Plan]]] = {}

    def of(self, machine: Machine, seed: int) -> Plan:
        """Return `plan_of`, which is looked up where it is known."""
        # What a machine holds is told apart well enough by its numbers; equality decides.
        numbers = hash((seed, *machine.tasks.values(), *machine.messages.values()))
        alike = self._known.setdefault(numbers, [])
        for known, known_seed, plan in alike:
            if known_seed == seed and known == machine:
                return plan
        plan = plan_of(machine, seed)
        alike.append((machine, seed, plan))
        return plan


def _after(state: PipelineState) -> Iterator[PipelineState]:
    """Yield the states that follow, up to the one whose pipeline is full."""
    while not state.is_full:
        state = advance(state, None)
        yield state
