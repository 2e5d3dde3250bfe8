"""Times as sums and maxima of other times: what a cycle does to the clocks, free of what cannot change anything.

A node is a number; its operands have smaller numbers. Equal nodes are one. A sum with nothing and a maximum whose
one side is known never to be less than the other are left out, so every node that remains has the very value, to the
last bit, that the engine works out.
"""

from dataclasses import dataclass

from spdsim.draws import Draws


@dataclass(frozen=True, slots=True)
class Register:
    """What a clock shows when the cycle begins."""

    number: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """The seconds drawn for this cycle."""

    draws: Draws


@dataclass(frozen=True, slots=True)
class Scalar:
    """base_s + slope_s * position, the position being `offset` from the oldest in flight."""

    base_s: float
    slope_s: float = 0.0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of two nodes."""

    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Latest:
    """The later of two nodes."""

    left: int
    right: int


Node = Register | Drawn | Scalar | Sum | Latest


class Graph:
    """The nodes of a cycle, in an order in which they can be worked out."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._numbers: dict[Node, int] = {}
        # By node, the set of those that are never later than it, as bits; and the Scalars and Drawn of 0 or more.
        self._not_later: list[int] = []
        self._not_negative: set[int] = set()

    def register(self, number: int, not_before: int | None = None) -> int:
        """Return the node of a clock, which is known to show nothing earlier than the node `not_before`."""
        return self._node(Register(number), 0 if not_before is None else self._not_later[not_before])

    def scalar(self, base_s: float, slope_s: float = 0.0, offset: int = 0) -> int:
        """Return the node of base_s + slope_s * position."""
        node = self._node(Scalar(base_s, slope_s, offset if slope_s else 0))
        if base_s >= 0.0 and slope_s >= 0.0:
            self._not_negative.add(node)
        return node

    def drawn(self, draws: Draws) -> int:
        """Return the node of a draw; none is negative."""
        node = self._node(Drawn(draws))
        self._not_negative.add(node)
        return node

    def plus(self, left: int, right: int) -> int:
        """Return the node of a sum."""
        for one, other in ((left, right), (right, left)):
            if self.nodes[one] == Scalar(0.0):
                return other
        known = self._not_later[left] if right in self._not_negative else 0
        known |= self._not_later[right] if left in self._not_negative else 0
        return self._node(Sum(left, right), known)

    def latest(self, left: int, right: int) -> int:
        """Return the node of the later of two times."""
        if self._is_not_later(right, left):
            return left
        if self._is_not_later(left, right):
            return right
        return self._node(Latest(*sorted((left, right))), self._not_later[left] | self._not_later[right])

    def operands(self, node: int) -> tuple[int, ...]:
        """Return the nodes that `node` is worked out from."""
        match self.nodes[node]:
            case Sum(left, right) | Latest(left, right):
                return left, right
            case _:
                return ()

    def _is_not_later(self, one: int, other: int) -> bool:
        """Whether node `one` is known never to be later than `other`; a maximum is not if neither side is."""
        todo = [one]
        while todo:
            node = todo.pop()
            if self._not_later[other] >> node & 1:
                continue
            if not isinstance(self.nodes[node], Latest):
                return False
            todo += self.operands(node)
        return True

    def _node(self, node: Node, not_later: int = 0) -> int:
        number = self._numbers.get(node)
        if number is None:
            number = self._numbers[node] = len(self.nodes)
            self.nodes.append(node)
            self._not_later.append(not_later | 1 << number)
        return number
