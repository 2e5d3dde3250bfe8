"""Verification as a worker does it: with the whole LM head, or with a shard of it.

A judge is given last hidden states and drafts as they come, computes when the schedule says "verify" and "combine",
and is asked for the verdict when a host needs it, which is where a host waits for a device.

Positions are the schedule's. A flushed position comes again, and what was kept of it is overwritten.
"""

from collections.abc import Callable

from torch import Tensor

from executor.transport.message import Views
from executor.verify.coins import Key
from executor.verify.rule import level_verdict, verify_match, verify_rejection
from executor.verify.sampling import Rule, Sampling
from executor.verify.shards import combine, partial
from spdsim.schedules.ops import Verdict

Head = Callable[[Tensor], Tensor]
"""From hidden_1H, before the final norm, to the logits of some rows of the LM head."""


class _Cases:
    """What is known of the positions that are to be verified. is_tree: drafts are levels of a tree, level_2W each."""

    def __init__(self, sampling: Sampling, rule: Rule, seed: int, *, is_tree: bool) -> None:
        self._sampling, self._rule, self._seed, self._is_tree = sampling, rule, seed, is_tree
        self._right = 0
        self._sequence = 0
        self._has_drafts = False
        self._hidden: dict[int, Tensor] = {}
        self._drafts: dict[int, tuple[Tensor, Tensor | None]] = {}
        self._verdicts: dict[int, Tensor] = {}

    def begin(self, sequence: int, *, has_drafts: bool) -> None:
        """Begin a sequence; without drafts every token is the target's own choice."""
        self._sequence, self._has_drafts = sequence, has_drafts
        for table in (self._hidden, self._drafts, self._verdicts):
            table.clear()

    def keep_hidden(self, position: int, hidden_1H: Tensor) -> None:
        """Take what left the last stage for `position`; it must hold until it is verified."""
        self._hidden[position] = hidden_1H

    def keep_draft(self, position: int, token_1: Tensor, law_Q: Tensor | None) -> None:
        """Take the draft for `position`, or in a tree its level."""
        self._drafts[position] = (token_1, law_Q)

    def keep_node(self, node: int) -> None:
        """Take a node of the newest verified position as the right one: those that may follow it are its children."""
        self._right = node

    def verdict(self, position: int) -> Verdict:
        """Return what was found of `position`; the host waits for it."""
        accepted, token, *node = self._verdicts.pop(position).tolist()
        return Verdict(bool(accepted), token, *node)

    def _of_level(self, position: int, choice_2: Tensor) -> Tensor:
        """The verdict_3 on a level of a tree, where `choice_2` is the verdict on no draft: the target's own token."""
        level_2W, _ = self._draft_of(position)
        return choice_2 if level_2W is None else level_verdict(choice_2[1:], level_2W.to(choice_2.device), self._right)

    def _key(self, position: int) -> Key:
        return Key(self._seed, self._sequence, position)

    def _draft_of(self, position: int) -> tuple[Tensor | None, Tensor | None]:
        """The draft to hold against the target; none for y_1 and without drafts."""
        return self._drafts.pop(position) if self._has_drafts and position > 0 else (None, None)


class WholeHead(_Cases):
    """One worker has the whole LM head. draft_token_ids_Q: of the draft vocabulary; None: all."""

    def __init__(
        self, head: Head, sampling: Sampling, rule: Rule, seed: int, draft_token_ids_Q: Tensor | None = None,
        *, is_tree: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(sampling, rule, seed, is_tree=is_tree)
        self._head, self._draft_token_ids_Q = head, draft_token_ids_Q

    def verify(self, position: int) -> None:
        """Hold the target's distribution against the draft."""
        logits_V = self._head(self._hidden.pop(position - 1))
        key = self._key(position)
        if self._is_tree:
            self._verdicts[position] = self._of_level(position, verify_match(logits_V, None, self._sampling, key))
            return
        token_1, law_Q = self._draft_of(position)
        if token_1 is None or law_Q is None:
            verdict_2 = verify_match(logits_V, token_1, self._sampling, key)
        else:
            verdict_2 = verify_rejection(logits_V, token_1, law_Q, self._draft_token_ids_Q, self._sampling, key)
        self._verdicts[position] = verdict_2


class ShardedHead(_Cases):
    """Every worker has some rows of the LM head, from `first_row` on; the draft rank puts the parts together."""

    def __init__(
        self, head: Head, first_row: int, num_shards: int, sampling: Sampling, rule: Rule, seed: int,
        draft_token_ids_Q: Tensor | None = None, *, is_tree: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(sampling, rule, seed, is_tree=is_tree)
        self._head, self._first_row, self._num_shards = head, first_row, num_shards
        self._draft_token_ids_Q = draft_token_ids_Q
        self._partials: dict[int, dict[int, Views]] = {}

    def begin(self, sequence: int, *, has_drafts: bool) -> None:
        """Begin a sequence."""
        super().begin(sequence, has_drafts=has_drafts)
        self._partials.clear()

    def verify(self, position: int) -> None:
        """Compute this shard's part."""
        logits_R = self._head(self._hidden.pop(position - 1))
        found = partial(logits_R, self._first_row, self._sampling, self._rule, self._key(position))
        self._partials[position] = {0: found}

    def partial(self, position: int) -> Views:
        """Return this shard's part, for the draft rank."""
        return self._partials.pop(position)[0]

    def keep_partial(self, source: int, position: int, views: Views) -> None:
        """Take the part of worker `source`."""
        self._partials[position][source] = views

    def combine(self, position: int) -> None:
        """Put the parts of all shards together, in the order of workers."""
        found = self._partials.pop(position)
        parts = [found[worker] for worker in range(self._num_shards)]
        if self._is_tree:
            choice_2 = combine(parts, self._sampling, self._rule, self._key(position), None)
            self._verdicts[position] = self._of_level(position, choice_2)
            return
        token_1, law_Q = self._draft_of(position)
        self._verdicts[position] = combine(
            parts, self._sampling, self._rule, self._key(position), token_1, law_Q, self._draft_token_ids_Q
        )
