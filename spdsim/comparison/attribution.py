"""Which part of a cycle the difference between two runs comes from."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from math import sqrt

from spdsim.comparison.parts import Group, Parts, Sample
from spdsim.comparison.report import Culprit, Durations, GapTimes, MessageTimes, Part, TaskTimes

_LEAST_FRACTION = 0.005
"""Of the measured mean cycle: what moves it by less is no culprit."""

_SURE = 1.5
"""How many times its noise a culprit's share is at least: of some 15 parts, one is often beyond 1 by chance."""

_ROLES = ("draft", "stage", "head")
_TASKS = ("prefill", "forward", "draft", "verify", "combine", "commit", "rollback")
_PAYLOADS = ("hidden", "features", "draft", "partial", "verdict")


class Attribution:
    """The parts of two runs side by side."""

    def __init__(self, measured: Parts, predicted: Parts) -> None:
        self._measured, self._predicted = measured.durations, predicted.durations
        self._moved: dict[Group, list[tuple[float, float]]] = defaultdict(list)
        for item in dict.fromkeys((*measured.samples, *predicted.samples)):
            one, other = measured.samples.get(item), predicted.samples.get(item)
            self._moved[item.group].append(_moved(one, other))

    def tasks(self) -> tuple[TaskTimes, ...]:
        """Return every task of every role that one of the runs has, in the order of a cycle."""
        return tuple(
            TaskTimes(*self._of(group), role=group.role, op=group.what)
            for group in self._groups(lambda group: group.kind == "task")
        )

    def messages(self) -> tuple[MessageTimes, ...]:
        """Return every leg of every payload that one of the runs has."""
        return tuple(
            MessageTimes(*self._of(group), payload=group.what, leg=group.kind)
            for group in self._groups(lambda group: group.kind not in ("task", "gap"))
            if group.kind != "task" and group.kind != "gap"
        )

    def gaps(self) -> tuple[GapTimes, ...]:
        """Return the gaps of every role that has any on its critical path."""
        found = (GapTimes(*self._of(g), role=g.role) for g in self._groups(lambda group: group.kind == "gap"))
        return tuple(gap for gap in found if any(gap.means_s))

    def _groups(self, is_wanted: Callable[[Group], bool]) -> list[Group]:
        seen = (group for group in self._moved if group in self._measured or group in self._predicted)
        return sorted(filter(is_wanted, seen), key=_place)

    def _of(self, group: Group) -> tuple[Durations | None, Durations | None, float, float]:
        moved = self._moved[group]
        noise_s = sqrt(sum(noise_s**2 for _, noise_s in moved))
        return self._measured.get(group), self._predicted.get(group), sum(by_s for by_s, _ in moved), noise_s


def culprit(parts: Iterable[Part], cycle_s: float) -> Culprit | None:
    """Return the part that moves the mean cycle, measured as `cycle_s`, most; None where none does beyond noise."""
    telling = [part for part in parts if abs(part.explained_s) > max(_SURE * part.noise_s, _LEAST_FRACTION * cycle_s)]
    if not telling:
        return None
    worst = max(telling, key=lambda part: abs(part.explained_s))
    return Culprit(worst.name, *worst.means_s, worst.explained_s, worst.explained_s / cycle_s)


def _moved(measured: Sample | None, predicted: Sample | None) -> tuple[float, float]:
    """Return by how many seconds an item moves the mean cycle, and half the 95 % interval of that.

    Which way the critical path takes depends on the durations, so the average of both runs counts. Where it takes no
    time the path does not show whether it holds it: then it does so as often as in the other run.
    """
    here, there = _known(measured, predicted), _known(predicted, measured)
    counts = [
        sample.path_count
        for sample, (mean_s, _) in ((measured, here), (predicted, there))
        if sample is not None and mean_s != 0.0
    ]
    count = sum(counts) / max(len(counts), 1)
    if not count:
        return 0.0, 0.0
    return count * (there[0] - here[0]), count * sqrt(here[1] ** 2 + there[1] ** 2)


def _known(sample: Sample | None, other: Sample | None) -> tuple[float, float]:
    """Return the mean of one run in seconds, and half its 95 % interval.

    Of crossings that nobody waited for only a bound is known, the shortest: within it they are as in the other run.
    """
    if sample is None or not sample.is_there:
        return 0.0, 0.0
    if sample.estimate_s is not None:
        return sample.estimate_s
    mean_s, noise_s = (other and other.estimate_s) or (sample.shortest_s, 0.0)
    return (mean_s, noise_s) if mean_s <= sample.shortest_s else (sample.shortest_s, 0.0)


def _place(group: Group) -> tuple[int, int, int, str, str]:
    """Where a group stands among those of its kind."""
    task = group.what.removeprefix("issue ")
    what = _rank(task, _TASKS) if group.kind == "task" else _rank(group.what, _PAYLOADS)
    return what, _rank(group.role, _ROLES), _rank(group.kind, ("post", "crossing", "handling")), group.what, group.role


def _rank(name: str, order: tuple[str, ...]) -> int:
    return order.index(name) if name in order else len(order)
