"""Parts without arithmetic: what they would compute is invented, so that messages, schedule and verdicts are real.

How long they take is the interpreter's business.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from executor.model.stage import StageOutput
from executor.transport.message import Views
from spdsim.schedules.ops import Verdict

_MULTIPLIER, _INCREMENT, _MASK = 6364136223846793005, 1442695040888963407, 2**64 - 1


def invented_token(seed: int, sequence: int, position: int, vocab_size: int) -> int:
    """Return the target's own token at a position of the schedule, in emulation."""
    mixed = (seed * _MULTIPLIER + sequence) * _MULTIPLIER + position
    return ((mixed * _MULTIPLIER + _INCREMENT & _MASK) >> 33) % vocab_size


class EmulatedStage:
    """Puts out zeros of the right shape. width: nodes of a level, where there is a tree."""

    def __init__(self, hidden_size: int, num_anchors: int, dtype: torch.dtype, width: int = 1) -> None:
        self._hidden_size, self._num_anchors, self._dtype = hidden_size, num_anchors, dtype
        self._output, self._of_level = self._zeros(1), self._zeros(width)

    def reset(self) -> None:
        """Nothing is kept of a sequence."""

    def prefill(self, inputs: Tensor) -> StageOutput:
        """Put out zeros for the prompt."""
        return self._zeros(inputs.shape[0])

    def forward(self, inputs: Tensor, position: int) -> StageOutput:
        """Put out zeros for a token."""
        return self._output

    def forward_level(self, inputs: Tensor, position: int, parents_W: Tensor | None) -> StageOutput:
        """Put out zeros for a level."""
        return self._of_level

    def keep(self, position: int, node: int) -> None:
        """Nothing is kept."""

    def _zeros(self, tokens: int) -> StageOutput:
        hidden_TH = torch.zeros(tokens, self._hidden_size, dtype=self._dtype)
        return StageOutput(hidden_TH, torch.zeros(tokens, self._num_anchors, self._hidden_size, dtype=self._dtype))


class NoDrafter:
    """Takes everything and proposes nothing: drafts are forced, in emulation and where they are to cost nothing."""

    def __init__(self) -> None:
        self._logits = torch.zeros(1)

    def reset(self, prompt: Sequence[int]) -> None:
        """Nothing is kept of a sequence."""

    def put_token(self, position: int, token_1: Tensor) -> None:
        """Nothing is kept."""

    def grow(self, position: int, tokens_W: Tensor, parents_W: Tensor) -> None:
        """Nothing is kept."""

    def keep(self, position: int, node: int) -> None:
        """Nothing is kept."""

    def put_features(self, stage: int, position: int, features_AH: Tensor) -> None:
        """Nothing is kept."""

    def put_prompt_features(self, stage: int, features_TAH: Tensor) -> None:
        """Nothing is kept."""

    def prefill(self) -> None:
        """Nothing is computed."""

    def draft(self, newest: int, num_in_flight: int) -> Tensor:
        """Return nothing of meaning."""
        return self._logits


class EmulatedJudge:
    """Knows the target's own token and holds it against the draft."""

    def __init__(self, seed: int, vocab_size: int, partial: Views = ()) -> None:
        self._seed, self._vocab_size, self._partial = seed, vocab_size, partial
        self._drafts: dict[int, int] = {}
        self._sequence = 0
        self._has_drafts = False

    def begin(self, sequence: int, *, has_drafts: bool) -> None:
        """Begin a sequence."""
        self._sequence, self._has_drafts = sequence, has_drafts
        self._drafts.clear()

    def keep_hidden(self, position: int, hidden_1H: Tensor) -> None:
        """Nothing is computed of it."""

    def keep_draft(self, position: int, token_1: Tensor, law: Tensor | None) -> None:
        """Take a draft, or a level of a tree: forced, it is of one chain, that of its first nodes."""
        self._drafts[position] = int(token_1.view(-1)[0])

    def keep_node(self, node: int) -> None:
        """Nothing is kept."""

    def verify(self, position: int) -> None:
        """Nothing is computed."""

    def partial(self, position: int) -> Views:
        """Return a shard's part, of the right shape."""
        return self._partial

    def keep_partial(self, source: int, position: int, views: Views) -> None:
        """Nothing is computed of it."""

    def combine(self, position: int) -> None:
        """Nothing is computed."""

    def verdict(self, position: int) -> Verdict:
        """Return whether the draft is the target's own token."""
        own = invented_token(self._seed, self._sequence, position, self._vocab_size)
        if not self._has_drafts or position == 0:
            return Verdict(True, own)
        return Verdict(self._drafts.pop(position) == own, own)
