"""What is known of a token at each depth: where a cut into stages puts the anchors of the draft module.

An anchor is a hidden state of the target: 0 is the embedding, k the output of layer k - 1, before the final norm.
A token's depth is the number of stages that it has completed.

Pure Python; knows nothing of tensors.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise

from spdsim.errors import InputError

Block = tuple[int, slice]
"""A type, and the rows of a draft that are of that type."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The layers of each stage, and the anchors that the draft module reads, in order, 0 first.

    Type i of the draft module's input is made of the first i + 1 anchors.
    Raises InputError when the anchors are not 0 < … <= the number of layers.
    """

    layers: tuple[int, ...]
    anchors: tuple[int, ...]

    def __post_init__(self) -> None:
        if rule := broken_anchor_rule(self.anchors, sum(self.layers)):
            raise InputError(f"anchors are {list(self.anchors)}: {rule}")

    @property
    def num_stages(self) -> int:
        """Stages n."""
        return len(self.layers)

    @property
    def deepest_type(self) -> int:
        """The type made of all anchors: that of a token that has completed every stage."""
        return len(self.anchors) - 1

    def anchors_of_stage(self, stage: int) -> range:
        """Return the indices of the anchors that `stage` puts out; the embedding is no stage's but the draft rank's."""
        first = sum(self.layers[:stage])
        return range(bisect_right(self.anchors, first), bisect_right(self.anchors, first + self.layers[stage]))

    @property
    def types(self) -> tuple[int, ...]:
        """The type for each depth 0 to n: the deepest whose anchors a token at that depth has.

        The authors' programs reckon with the largest stage's layers at every depth: the same where stages are equal,
        and elsewhere, in training, more than a token has.
        """
        return tuple(bisect_right(self.anchors, done) - 1 for done in accumulate(self.layers, initial=0))

    def num_rows(self, num_in_flight: int) -> int:
        """Return R, the rows of a draft made with `num_in_flight` (>= 1) tokens in flight.

        They are the tokens in the stages, and the one before them: it has completed every stage.
        """
        return min(num_in_flight, self.num_stages) + 1

    def row_types(self, num_rows: int) -> tuple[int, ...]:
        """Return the types of a draft's rows, oldest first: a completed token, then those in the stages."""
        in_stages = range(num_rows - 2, -1, -1)
        return (self.deepest_type, *(self.types[depth] for depth in in_stages))

    def row_blocks(self, num_rows: int, width: int = 1) -> tuple[Block, ...]:
        """Return the types of a draft's rows, each once, with its rows: those of one type lie together.

        width: nodes of a level in a tree of drafts, so many rows for each but the two oldest, which are verified.
        """
        sizes = (1, 1, *(width,) * (num_rows - 2))
        blocks, start = [], 0
        for kind, rows in groupby(zip(self.row_types(num_rows), sizes, strict=True), key=lambda row: row[0]):
            stop = start + sum(size for _, size in rows)
            blocks.append((kind, slice(start, stop)))
            start = stop
        return tuple(blocks)


def broken_anchor_rule(anchors: tuple[int, ...], num_layers: int) -> str | None:
    """Return the rule that `anchors` break, or None."""
    if not anchors or anchors[0] != 0:
        return "must begin with 0, the embedding"
    if any(left >= right for left, right in pairwise(anchors)):
        return "must rise from one to the next"
    if anchors[-1] > num_layers:
        return f"must be at most {num_layers}, the number of layers"
    return None
