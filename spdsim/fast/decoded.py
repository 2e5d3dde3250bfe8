"""What the fast path says of sequences: their decode windows and counts, as `spdsim.analysis.decoding` defines them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Decoded:
    """Sequences that have been decoded, one entry each.

    begin_s: end of the commit of y_1, where decoding begins, shape (S,). prompt_at_s: where the sequence began (S,).
    end_s: when the driver's last cycle ended (S,). done_s: when the last worker was done (S,).
    token_end_s: end of the commit of each position, (S, largest num_tokens), nan beyond a sequence's end.
    num_tokens: verified tokens, y_1 included (S,). num_cycles: decode cycles (S,). num_rejections: among the
    verdicts after which something was refilled, those on y_2 … y_(K-1) (S,). num_rejected: among all K - 1 (S,).
    """

    begin_s: "Floats"
    prompt_at_s: "Floats"
    end_s: "Floats"
    done_s: "Floats"
    token_end_s: "Floats"
    num_tokens: "Ints"
    num_cycles: "Ints"
    num_rejections: "Ints"
    num_rejected: "Ints"


def empty(num_tokens: "Ints", start_s: "Floats") -> Decoded:
    """Return the record of sequences that have not been decoded yet: times nan, counts zero."""
    size = len(num_tokens)
    longest = int(num_tokens.max(initial=0))
    times = (np.full(size, np.nan) for _ in range(3))
    counts = (np.zeros(size, np.int64) for _ in range(3))
    begin_s, end_s, done_s = times
    return Decoded(begin_s, start_s, end_s, done_s, np.full((size, longest), np.nan), num_tokens, *counts)
