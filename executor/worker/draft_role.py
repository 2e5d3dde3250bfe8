"""What the draft rank does: features in, proposals out, the module's own or forced ones."""

import torch
from torch import Tensor

from executor.draft.forced import forced_token
from executor.plan import Job, Plan
from executor.transport.message import Views
from executor.verify.coins import Key
from executor.verify.rule import draft_token
from executor.worker.emulated import invented_token
from executor.worker.parts import Drafter
from spdsim.acceptance import Coins, toss


class DraftRole:
    """The draft module and the latest proposal. Positions are the schedule's."""

    def __init__(self, plan: Plan, drafter: Drafter, draft_token_ids: Tensor | None, device: torch.device) -> None:
        self._plan, self._drafter, self._draft_token_ids = plan, drafter, draft_token_ids
        self._vocab_size = plan.scenario.model.vocab_size
        self._token_1 = torch.zeros(1, dtype=torch.int64, device=device)
        self._forced_1 = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(plan.layout.capacity + 2)]
        self._own_tokens: dict[int, tuple[int, ...]] = {}
        self._coins: Coins | None = None
        self._sequence = self._prompt_tokens = 0
        self.token_1 = self._token_1
        self.law: Tensor | None = None

    def begin(self, job: Job) -> None:
        """Begin a sequence that is drafted for."""
        self._sequence, self._prompt_tokens = job.sequence, len(job.prompt)
        self._drafter.reset(job.prompt)
        forced = self._plan.draft.forced
        # A pipeline drafts beyond the last token that is verified.
        num_tokens = job.max_new_tokens + self._plan.layout.capacity + 1
        self._coins = None if forced is None else toss(forced, self._plan.seed, job.sequence, num_tokens)

    def learn(self, sequence: int, tokens: tuple[int, ...]) -> None:
        """Take the target's own continuation, which forced drafts are right about."""
        self._own_tokens[sequence] = tokens

    def prefill(self, position: int) -> None:
        """Run the prompt through the module."""
        self._drafter.prefill()

    def draft(self, position: int, num_in_flight: int) -> None:
        """Propose the token at `position`; a forced proposal costs what the module's own does, if there is one."""
        logits_V = self._drafter.draft(self._prompt_tokens + position - 1, num_in_flight)
        self.law = None
        if self._coins is not None:
            self.token_1 = self._forced(position, self._coins.accepts(position, num_in_flight))
        elif self._plan.uses_rejection:
            key = Key(self._plan.seed, self._sequence, position)
            self.token_1, self.law = draft_token(logits_V, self._plan.sampling, key, self._draft_token_ids)
        else:
            best_1 = logits_V.argmax(-1, keepdim=True)
            self.token_1 = best_1 if self._draft_token_ids is None else self._draft_token_ids[best_1]
        self._drafter.put_token(self._prompt_tokens + position, self.token_1)

    def enter(self, position: int, token: int) -> None:
        """Take a token that the host knows: y_1, or a corrected one."""
        self._token_1.fill_(token)
        self._drafter.put_token(self._prompt_tokens + position, self._token_1)

    def grow(self) -> tuple[int, Tensor] | None:
        """Choose the level of a tree that is to be sent; a chain has none."""
        return None

    def keep_node(self, position: int, node: int) -> None:
        """Take a node of a tree as the right one at `position`: a chain has no other."""

    def fill_draft(self, position: int, views: Views) -> None:
        """Send the proposal, and its distribution where the format has it."""
        views[0].copy_(self.token_1)
        if len(views) > 1 and self.law is not None:
            views[1].copy_(self.law)

    def keep_features(self, stage: int, position: int, features_TAH: Tensor) -> None:
        """Take what a stage put out for one token."""
        self._drafter.put_features(stage, self._prompt_tokens + position, features_TAH[0])

    def keep_prompt_features(self, stage: int, features_TAH: Tensor) -> None:
        """Take what a stage put out for the prompt."""
        self._drafter.put_prompt_features(stage, features_TAH)

    def _forced(self, position: int, is_right: bool) -> Tensor:
        token_1 = self._forced_1[position % len(self._forced_1)]
        return token_1.fill_(forced_token(self._own_token(position), is_right, self._vocab_size))

    def _own_token(self, position: int) -> int:
        if self._plan.emulated is not None:
            return invented_token(self._plan.seed, self._sequence, position, self._vocab_size)
        own = self._own_tokens[self._sequence]
        # Beyond the last token nothing is verified, so that any proposal serves.
        return own[position] if position < len(own) else 0
