"""What an evaluation needs of every sequence, and who makes it: a few numbers a sequence, no trace.

A further way of simulating is another `Producer`, chosen in `producer_of`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from spdsim import fast
from spdsim.acceptance import Acceptance
from spdsim.analysis.causality import causality
from spdsim.analysis.decoding import Decoding, decodings
from spdsim.analysis.fate import fates
from spdsim.analysis.hops import hops
from spdsim.analysis.plain import PlainWork, plain_work
from spdsim.engine import decode_all
from spdsim.machine import Machine
from spdsim.scenario import Scenario
from spdsim.simulation import header_of, request_of
from spdsim.trace import Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

Path = Literal["fast", "engine"]

_PIECE_TOKENS = 16_384
"""Tokens whose trace is held at a time."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Sequences as numbers, one entry each; what they mean is said in `spdsim.analysis.decoding`.

    plain: what plain decoding does too; None where there were no traces to read it off (`reference.py`).
    """

    prompt_at_s: "Floats"
    begin_s: "Floats"
    end_s: "Floats"
    num_tokens: "Ints"
    num_cycles: "Ints"
    num_drafted: "Ints"
    num_rejections: "Ints"
    num_rejected: "Ints"
    plain: PlainWork | None = None

    def __len__(self) -> int:
        """Return how many sequences there are."""
        return len(self.num_tokens)

    @property
    def steps(self) -> "Floats":
        """Tokens after the first, of each sequence."""
        return np.asarray(self.num_tokens - 1.0, np.float64)

    @property
    def times_s(self) -> "Floats":
        """Seconds of decoding, of each sequence."""
        return self.end_s - self.begin_s

    @property
    def measured_acceptance(self) -> float | None:
        """Accepted drafts over verified drafts; None where nothing was drafted."""
        num_drafted = int(self.num_drafted.sum())
        return 1.0 - float(self.num_rejected.sum()) / num_drafted if num_drafted else None

    @classmethod
    def of(cls, windows: "Sequence[Decoding]") -> "Runs":
        """Return the decode windows of a trace as numbers, without plain work."""

        def floats(name: str) -> "Floats":
            return np.array([getattr(window, name) for window in windows], np.float64)

        def counts(name: str) -> "Ints":
            return np.array([getattr(window, name) for window in windows], np.int64)

        return cls(
            floats("prompt_at_s"), floats("begin_s"), floats("end_s"), counts("num_tokens"),
            np.array([len(window.cycle_s) for window in windows], np.int64),
            counts("num_drafted"), counts("num_rejections"), counts("num_rejected"),
        )  # fmt: skip

    @classmethod
    def join(cls, parts: "Iterable[Runs]") -> "Runs":
        """Return the sequences of all parts, in their order."""
        pieces = list(parts)
        names = [field.name for field in fields(cls) if field.name != "plain"]
        arrays = {name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in names}
        work = [piece.plain for piece in pieces if piece.plain is not None]
        return cls(**arrays, plain=PlainWork.sum(work) if len(work) == len(pieces) else None)


class Producer(Protocol):
    """Simulates replications of one scenario.

    A sequence is the same whatever is asked for together with it: its draws have its number for a key.
    """

    def runs(self, first: int, last: int) -> Runs:
        """Return the sequences of replications `first` to `last` - 1; at least one."""


def producer_of(
    scenario: Scenario, machine: Machine, model: Acceptance | None = None, plans: fast.Plans | None = None
) -> tuple[Producer, Path, str]:
    """Return who simulates `scenario`, on which path, and why not on the fast one ("" if it is, or if there is none).

    model: which drafts are accepted, if not as the scenario has it. plans: those of the fast path that are known.
    A producer without traces leaves the plain work of its sequences to `reference.py`.
    """
    why_not = fast.unsupported(machine)
    if why_not is None:
        return FastProducer(scenario, machine, model, plans or fast.Plans()), "fast", ""
    return EngineProducer(scenario, machine, model), "engine", why_not


@dataclass(frozen=True, slots=True)
class EngineProducer:
    """Simulates with the engine, and reads the numbers off its traces, a piece at a time.

    model: which drafts are accepted, if not as the scenario has it.
    """

    scenario: Scenario
    machine: Machine
    model: Acceptance | None = None

    def runs(self, first: int, last: int) -> Runs:
        """Return the sequences of replications `first` to `last` - 1; at least one."""
        return Runs.join(self._pieces(first, last))

    def _pieces(self, first: int, last: int) -> Iterator[Runs]:
        workload = self.scenario.workload
        step = max(1, _PIECE_TOKENS // (workload.sequences * workload.max_new_tokens))
        for begin in range(first, last, step):
            yield self._piece(begin, min(last, begin + step))

    def _piece(self, first: int, last: int) -> Runs:
        per_replication = self.scenario.workload.sequences
        trace = _decoded(
            self.scenario, self.machine, self.model,
            (range(r * per_replication, (r + 1) * per_replication) for r in range(first, last)),
        )  # fmt: skip
        graph = causality(trace)
        windows = decodings(trace, graph, first * per_replication)
        work = plain_work(graph, fates(trace), hops(graph, len(self.machine.workers)), len(windows))
        return replace(Runs.of(windows), plain=work)


class FastProducer:
    """Simulates many sequences at once, without traces. model: as for `EngineProducer`."""

    def __init__(self, scenario: Scenario, machine: Machine, model: Acceptance | None, plans: fast.Plans) -> None:
        """Raise DeadlockError for a machine that never ends."""
        self._scenario, self._machine, self._model = scenario, machine, model
        self._plan = plans.of(machine, scenario.seed)

    def runs(self, first: int, last: int) -> Runs:
        """Return the sequences of replications `first` to `last` - 1; at least one."""
        return self.runs_of_each([(self, first, last)])[0]

    @classmethod
    def runs_of_each(cls, wanted: "Sequence[tuple[FastProducer, int, int]]") -> list[Runs]:
        """Return for each producer the sequences of replications first to last - 1, as `runs` would, all at a time."""
        rounds: list[list[fast.Decoded]] = [[] for _ in wanted]
        for number in range(max(producer._num_sequences for producer, _, _ in wanted)):
            busy = [one for one, (producer, _, _) in enumerate(wanted) if number < producer._num_sequences]
            tasks = [wanted[one][0]._task(number, *wanted[one][1:], rounds[one]) for one in busy]
            for one, decoded in zip(busy, fast.decode_each(tasks), strict=True):
                rounds[one].append(decoded)
        return [producer._joined(found) for (producer, _, _), found in zip(wanted, rounds, strict=True)]

    @property
    def _num_sequences(self) -> int:
        return self._scenario.workload.sequences

    def _task(self, number: int, first: int, last: int, before: Sequence[fast.Decoded]) -> fast.Task:
        """Return sequence `number` of each replication; it begins when the one before it is done."""
        requests = [
            request_of(self._scenario, self._machine, replication * self._num_sequences + number, self._model)
            for replication in range(first, last)
        ]
        return fast.Task(self._plan, requests, before[-1].done_s if before else None)

    def _joined(self, rounds: Sequence[fast.Decoded]) -> Runs:
        def joined(name: str) -> Any:
            return np.stack([getattr(one, name) for one in rounds], axis=1).ravel()

        names = [field.name for field in fields(Runs) if field.name not in ("plain", "num_drafted")]
        drafted = (joined("num_tokens") - 1) * self._machine.layout.tells_verdicts
        return Runs(**{name: joined(name) for name in names}, num_drafted=drafted)


def _decoded(
    scenario: Scenario, machine: Machine, model: Acceptance | None, replications: Iterable[Iterable[int]]
) -> Trace:
    trace = Trace(header_of(scenario, machine))
    requests = ((request_of(scenario, machine, number, model) for number in numbers) for numbers in replications)
    assert all(decode_all(machine, trace, requests, scenario.seed))
    return trace
