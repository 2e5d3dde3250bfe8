"""What a stage does: inputs by position in, hidden states and features out."""

import torch
from torch import Tensor

from executor.model.stage import StageOutput
from executor.plan import Job
from executor.transport.message import Views
from executor.worker.parts import Stage
from spdsim.schedules.spd import PROMPT


class StageRole:
    """A stage and what waits to be run by it. Positions are the schedule's."""

    def __init__(self, stage: Stage, *, is_first: bool, device: torch.device) -> None:
        self._stage, self._is_first, self._device = stage, is_first, device
        self._inputs: dict[int, Tensor] = {}
        self._token_1 = torch.zeros(1, dtype=torch.int64, device=device)
        self._prompt_tokens = 0
        self.output = StageOutput(torch.empty(0), torch.empty(0))

    def begin(self, job: Job) -> None:
        """Begin a sequence."""
        self._inputs.clear()
        self._prompt_tokens = len(job.prompt)
        self._stage.reset()
        if self._is_first:
            self._inputs[PROMPT] = torch.tensor(job.prompt, dtype=torch.int64, device=self._device)

    def prefill(self, position: int) -> None:
        """Run the prompt."""
        self.output = self._stage.prefill(self._inputs.pop(PROMPT))

    def forward(self, position: int) -> None:
        """Run a token; what was flushed after it is overwritten when its position comes again."""
        self.output = self._stage.forward(self._inputs.pop(position), self._prompt_tokens + position)

    def enter(self, position: int, token: int) -> None:
        """Let a token that the host knows be run next: y_1, a corrected one, any in plain decoding."""
        if self._is_first:
            self._token_1.fill_(token)
            self._inputs[position] = self._token_1

    def keep_node(self, position: int, node: int) -> None:
        """Take a node of a tree as the right one at `position`: a chain has no other."""

    def fill_hidden(self, position: int, views: Views) -> None:
        """Send every token's hidden state on."""
        views[0].copy_(self.output.hidden_TH)

    def fill_last_hidden(self, position: int, views: Views) -> None:
        """Send the last token's hidden state to be verified, with this stage's features where the format has them."""
        views[0].copy_(self.output.hidden_TH[-1:])
        if len(views) > 1:
            views[1].copy_(self.output.features_TAH)

    def fill_features(self, position: int, views: Views) -> None:
        """Send the anchors that lie in this stage."""
        if self.output.features_TAH.numel():
            views[0].copy_(self.output.features_TAH)

    def keep_input(self, position: int, views: Views) -> None:
        """Take the hidden state that this stage runs next."""
        self._inputs[position] = views[0]

    def keep_draft(self, position: int, views: Views) -> None:
        """Take a draft: the first stage runs it next, others hear of it where they verify."""
        if self._is_first:
            self._inputs[position] = views[0]
