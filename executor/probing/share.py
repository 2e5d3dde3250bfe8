"""How long a probe may take: its share of all the time there is, spread over its cases. Standard library only."""

import time
from collections.abc import Callable, Iterator, Sequence

from executor.probing.findings import Params, Skipped, in_words

Tell = Callable[[str], None]
"""Is told what is being measured."""


class Share:
    """The seconds of one probe. What is left of them is spread over what is still to be measured.

    tell: hears of every case. skipped: cases for which no time was left.
    """

    def __init__(self, what: str, seconds: float, tell: Tell) -> None:
        self.what, self.seconds = what, seconds
        self.skipped: list[Skipped] = []
        self._tell = tell
        self._end_s = time.perf_counter() + seconds

    @property
    def left_s(self) -> float:
        """Seconds that are left; 0 if more than all were taken."""
        return max(0.0, self._end_s - time.perf_counter())

    def begin(self, params: Params) -> None:
        """Say what is measured next."""
        words = in_words(params)
        self._tell(f"{self.what}: {words}" if words else self.what)

    def cases(self, cases: Sequence[Params]) -> Iterator[tuple[Params, float]]:
        """Yield each case and the seconds that it may take; the first has its turn in any case, others if time is left.

        Cases that one process prepares, such as compiling, may take more.
        """
        for number, params in enumerate(cases):
            left_s = self.left_s
            if number > 0 and left_s == 0.0:
                self.skip_late(params)
                continue
            self.begin(params)
            yield params, left_s / (len(cases) - number)

    def prolong(self, seconds: float) -> None:
        """Let the share end later: to start processes is no part of it."""
        self._end_s += seconds

    def skip_late(self, params: Params) -> None:
        """Note a case for which no time is left."""
        self.skip(f"{in_words(params)}: no time was left of {self.seconds:.3g} s for this probe: use a larger --budget")

    def skip(self, why: str) -> None:
        """Note what is not measured."""
        self.skipped.append(Skipped(self.what, why))
