"""What every row of a draft sees, for all positions of a text at once: blocks of rows, and whose keys they look at.

While f tokens are in flight (the fill), a draft's rows are of depth f - 1 (the oldest in flight) to 0 (the newest), and
all tokens before them are complete. A row of depth d at position t sees the token at distance δ as it is in the same
draft: at depth d + δ, or complete where d + δ >= f. Over a whole text that makes one *block* of T rows for each depth
in flight, and one of completed rows, whose rows see near keys in other blocks and all further ones among the completed.

A type of features may serve several depths. With one block for each type, the rows of a block all look around as if
they were at the least of these depths: cheaper, and not quite what decoding computes. Depths from which on a token has
all anchors are as good as complete, since all that they see is, too.

Pure Python; knows nothing of tensors. Source: the training layout of the v11 release of speculative pipeline decoding
(arXiv:2605.30852), there with one block for each type.
"""

from dataclasses import dataclass

from executor.draft.cut import Cut
from spdsim.errors import InputError

COMPLETED = 0
"""The index of the block of completed rows."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one type, one for each position.

    near: the blocks whose key a row sees at distance 0, 1, …; every token further back is seen among the completed.
    """

    kind: int
    near: tuple[int, ...]


def blocks_of(cut: Cut, fill: int, *, per_depth: bool) -> tuple[Block, ...]:
    """Return the blocks with `fill` tokens in flight: the completed rows first, the rows that draft last.

    per_depth: one block for each depth, as decoding has it; else one for each type. With one anchor alone the completed
    rows are those that draft. Raises InputError unless 1 <= fill <= n.
    """
    if not 1 <= fill <= cut.num_stages:
        raise InputError(f"fill is {fill}: must be 1 to {cut.num_stages}, the number of stages")
    in_flight = [kind for kind in cut.types[:fill] if kind != cut.deepest_type]
    # Types never fall with depth, so that these are depths 0 to len(in_flight) - 1.
    block_of_depth = _numbered(list(range(len(in_flight))) if per_depth else in_flight)
    least = {block: depth for depth, block in reversed(list(enumerate(block_of_depth)))}
    blocks = [Block(in_flight[depth], tuple(block_of_depth[depth:])) for _, depth in sorted(least.items())]
    return (Block(cut.deepest_type, ()), *blocks)


def _numbered(labels: list[int]) -> list[int]:
    """The block of each depth: equal labels share one, and the last block is that of depth 0."""
    falling = sorted(set(labels), reverse=True)
    return [falling.index(label) + 1 for label in labels]
