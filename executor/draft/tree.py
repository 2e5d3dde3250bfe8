"""A tree of drafts: levels of a few nodes, which chains are consistent with what is verified, and what to draft next.

A level is a position. Its nodes are drafts for it, each a child of a node of the level before; one chain from the
verified token to a node is one way in which the text may go on. Where the target chooses a token, the chains that
have it live on and all others are cut off; if no chain has it, the tree begins anew from that token.

Standard library only. Knows nothing of tensors, of stages, or of where probabilities come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

NOBODY = -1
"""The parent of a node that is none: a level has always as many, so that messages have one layout."""

Child = tuple[float, int]
"""A candidate after a node: its log-probability there, and its token."""


@dataclass(frozen=True, slots=True)
class Level:
    """The nodes of a position: token and parent of each, the parent an index into the level before, or NOBODY."""

    tokens: tuple[int, ...]
    parents: tuple[int, ...]


@dataclass(slots=True)
class _Nodes:
    level: Level
    scores: tuple[float, ...]
    alive: list[bool]


class Tree:
    """The levels in flight, oldest first: one verified node, and what was drafted after it.

    width: nodes of a level, alive or not.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._levels: list[_Nodes] = []

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels in flight, the verified one first."""
        return tuple(nodes.level for nodes in self._levels)

    @property
    def alive(self) -> tuple[tuple[int, ...], ...]:
        """The nodes of each level that descend from the verified one; of the first level that one itself."""
        return tuple(tuple(node for node in range(self._width) if nodes.alive[node]) for nodes in self._levels)

    def begin(self, token: int) -> None:
        """Begin anew from a token that the target has chosen, as node 0."""
        self._levels = [self._nodes(((0.0, token, NOBODY),), num_alive=1)]

    def grow(self, children: Sequence[Sequence[Child]]) -> Level:
        """Add the level of the likeliest chains, and return it.

        children: of each node of the newest level, its candidates; those of dead nodes are not looked at. Of all of
        them the `width` with the largest log-probability from the verified token on are taken, of equals the lowest
        token, then the lowest parent. The rest of a level, if there are fewer, is nobody's.
        """
        newest = self._levels[-1]
        found = [
            (newest.scores[node] + log_p, token, node)
            for node, candidates in enumerate(children) if newest.alive[node]
            for log_p, token in candidates
        ]  # fmt: skip
        found.sort(key=lambda child: (-child[0], child[1], child[2]))
        self._levels.append(self._nodes(found[: self._width], num_alive=min(len(found), self._width)))
        return self._levels[-1].level

    def keep(self, node: int) -> None:
        """Take `node` of the level after the verified one as verified: all that does not descend from it is dead."""
        del self._levels[0]
        before = [each == node for each in range(self._width)]
        self._levels[0].alive = before
        for nodes in self._levels[1:]:
            parents = nodes.level.parents
            alive = [is_alive and before[parents[each]] for each, is_alive in enumerate(nodes.alive)]
            nodes.alive = before = alive

    def _nodes(self, found: Sequence[tuple[float, int, int]], num_alive: int) -> _Nodes:
        rest = self._width - num_alive
        level = Level(
            (*(token for _, token, _ in found), *(0,) * rest), (*(parent for _, _, parent in found), *(NOBODY,) * rest)
        )
        scores = (*(score for score, _, _ in found), *(0.0,) * rest)
        return _Nodes(level, scores, [True] * num_alive + [False] * rest)
