"""A schedule as text: one line a cycle, one column a worker.

The picture in the docs, the golden file in the tests and the context of an error.
Standard library only. Knows nothing of time.

    cycle  draft   stage 0  stage 1  verdict
    0      D1      F0
    1      D2 V1   F1       F0       accept

F a stage's forward pass, D a draft, V a verification, C the combination of a sharded one, P the prefill;
the number is the position, the first one where an op looks at several.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from spdsim.errors import InputError
from spdsim.schedules import spd
from spdsim.schedules.ops import Compute, Verdict
from spdsim.schedules.schedule import Layout, Schedule, State
from spdsim.trace import worker_labels

LETTERS = {"prefill": "P", "forward": "F", "draft": "D", "verify": "V", "combine": "C"}
"""The letter of each task that the grid shows; bookkeeping and rollbacks are left out."""

_MIN_DRAFT_WIDTH = 6


class Script:
    """Coins by decree: what is written in the place of chance.

    verdicts: a letter for each position from 1 on, "A" where a draft for it is accepted, "R" where it is rejected;
    beyond them all are accepted. events: a letter for each event in the order in which they are first asked for, "Y"
    where it happens, "N" where it does not; beyond them all happen. Raises InputError on any other letter.
    """

    def __init__(self, verdicts: str, events: str = "") -> None:
        _check_letters("verdicts", verdicts, {"A": "accept", "R": "reject"})
        _check_letters("events", events, {"Y": "yes", "N": "no"})
        self._verdicts, self._events = verdicts, events
        self._asked: list[tuple[str, int]] = []
        self.num_tokens = len(verdicts) + 1

    @property
    def fixed(self) -> list[bool] | None:
        """None: verdicts are asked for one by one, for no list is long enough for every schedule."""
        return None

    def accepts(self, position: int, fill_depth: int) -> bool:
        """Return what is written for `position`."""
        del fill_depth
        return self._verdicts[position - 1 : position] != "R"

    def event(self, name: str, index: int) -> float:
        """Return 0.0, which is less than any probability but 0, for yes, and for no a number just below 1."""
        if (name, index) not in self._asked:
            self._asked.append((name, index))
        number = self._asked.index((name, index))
        return 1.0 - 2.0**-53 if self._events[number : number + 1] == "N" else 0.0


def grid(layout: spd.Layout, verdicts: str, prefill: bool = False) -> str:
    """Return SPD's schedule of `layout` for one sequence of len(verdicts) + 1 tokens, as lines of text.

    verdicts: a letter per verified draft, "A" accepted or "R" rejected. prefill: show cycle -1 too.
    Raises InputError on any other letter.
    """
    script = Script(verdicts)

    def outcome(state: spd.PipelineState) -> Verdict | None:
        is_accepted = state.cycle < 0 or script.accepts(state.committed, 1)
        return Verdict(is_accepted) if state.is_full else None

    return _drawn(spd, spd.start(layout, script.num_tokens), outcome, prefill)


def drawn(schedule: Schedule, layout: Layout, script: Script, prefill: bool = False) -> str:
    """Return any schedule for one sequence of `script.num_tokens` tokens, as lines of text.

    schedule: a module that is one, and `layout` its own. prefill: show cycle -1 too.
    """
    first = schedule.start(layout, script.num_tokens)
    return _drawn(schedule, first, schedule.judge(first, script).outcome, prefill)


def _check_letters(name: str, letters: str, meanings: dict[str, str]) -> None:
    rule = " or ".join(f"{letter} ({meaning})" for letter, meaning in meanings.items())
    for number, letter in enumerate(letters, start=1):
        if letter not in meanings:
            raise InputError(f"{name} is {letters!r}: letter {number} must be {rule}")


def _drawn(schedule: Schedule, first: State, outcome: Callable[[Any], Any], prefill: bool) -> str:
    layout = first.layout
    workers = range(layout.num_workers)
    header = ["cycle", *worker_labels(layout.role(worker) for worker in workers), "verdict"]
    cycles = _cycles(schedule, first, outcome)
    rows = [[str(cycle), *cells] for cycle, cells in cycles.items() if prefill or cycle >= 0]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    if layout.role(0) == "draft":
        widths[1] = max(widths[1], _MIN_DRAFT_WIDTH)
    return "\n".join(_line(row, widths) for row in (header, *rows)) + "\n"


def _cycles(schedule: Schedule, state: State, outcome: Callable[[Any], Any]) -> dict[int, list[str]]:
    """Return the cells of every cycle, whose steps are put together: what each worker does, and the outcome."""
    found: dict[int, list[str]] = {}
    while not state.is_done:
        came = outcome(state)
        cells = [" ".join(_named(schedule, state, worker)) for worker in range(state.layout.num_workers)]
        cells.append("" if came is None or state.cycle < 0 else _said(came))
        before = found.get(state.cycle, [""] * len(cells))
        found[state.cycle] = [f"{one} {more}".strip() for one, more in zip(before, cells, strict=True)]
        state = schedule.advance(state, came)
    return found


def _said(outcome: object) -> str:
    match outcome:
        case Verdict(accepted):
            return "accept" if accepted else "reject"
        case int():
            return f"{outcome} accepted"
        case _:
            return str(outcome)


def _named(schedule: Schedule, state: State, worker: int) -> Iterator[str]:
    for op in schedule.program(state, worker):
        if isinstance(op, Compute) and op.task in LETTERS:
            # The prompt has no position to name.
            yield LETTERS[op.task] + (str(op.position) if op.position >= 0 else "")


def _line(cells: Iterable[str], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
