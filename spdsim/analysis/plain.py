"""What plain decoding would take for the tokens of a run: the same stages and LM head, one token at a time."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spdsim.analysis.causality import Causality
from spdsim.analysis.fate import USEFUL
from spdsim.analysis.hops import Hops
from spdsim.trace import ONE_DEVICE, PLAIN_PIPELINE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PlainWork:
    """The part of a run that plain decoding does too.

    stages_s: useful time of all stages, by sequence; issued_s: what their hosts issued longer than that. lm_head_s:
    time of the delivered verifications after y_1, shards added up, by sequence. hops: from stage to stage.
    """

    stages_s: "Floats"
    issued_s: "Floats"
    lm_head_s: "Floats"
    hops: Hops

    @classmethod
    def sum(cls, parts: "Iterable[PlainWork]") -> "PlainWork":
        """Return the work of several pieces of a run, in their order."""
        pieces = list(parts)
        return cls(
            np.concatenate([piece.stages_s for piece in pieces]),
            np.concatenate([piece.issued_s for piece in pieces]),
            np.concatenate([piece.lm_head_s for piece in pieces]),
            Hops.sum(piece.hops for piece in pieces),
        )

    def times_s(self, steps: "Floats", plain_token_s: float | None) -> "dict[str, Floats]":
        """Return the seconds of `steps` tokens a sequence in plain decoding, by baseline.

        plain_token_s: of a token on one device, where that is known apart. In a plain pipeline a stage's host issues
        ahead while the others work, so that what its device does is added up.
        """
        devices_s = self.stages_s + self.lm_head_s
        one_device = devices_s + self.issued_s if plain_token_s is None else steps * plain_token_s
        return {ONE_DEVICE: one_device, PLAIN_PIPELINE: devices_s + steps * self.hops.total_s}


def useful_s(graph: Causality, fate: "NDArray[np.uint8]", op: str, num_sequences: int) -> "Floats":
    """Return the seconds of an op's useful spans after the prefill, by sequence."""
    which = graph.of_op(op) & (fate == USEFUL) & (graph.cycle >= 0)
    seconds = (graph.end_s - graph.start_s)[which]
    return np.asarray(np.bincount(graph.sequence[which], weights=seconds, minlength=num_sequences), np.float64)


def plain_work(graph: Causality, fate: "NDArray[np.uint8]", hops: Hops, num_sequences: int) -> PlainWork:
    """Return the plain work of a trace. fate: of every span. hops: of the same trace."""
    return PlainWork(
        useful_s(graph, fate, "forward", num_sequences),
        useful_s(graph, fate, "issue forward", num_sequences),
        useful_s(graph, fate, "verify", num_sequences) + useful_s(graph, fate, "issue verify", num_sequences),
        hops,
    )
