"""What a worker is made of, as the interpreter sees it: a stage and a draft module, real or emulated.

Knows nothing of the schedule.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from executor.model.stage import StageOutput


class Stage(Protocol):
    """Some consecutive layers of the target."""

    def reset(self) -> None:
        """Begin a sequence."""

    def prefill(self, inputs: Tensor) -> StageOutput:
        """Run the prompt: token ids (T,) in the first stage, else hidden states (T, H)."""

    def forward(self, inputs: Tensor, position: int) -> StageOutput:
        """Run the token at absolute `position`: its id (1,) in the first stage, else its hidden state (1, H)."""


class LevelStage(Stage, Protocol):
    """A stage that runs levels of a tree of drafts, too."""

    def forward_level(self, inputs: Tensor, position: int, parents_W: Tensor | None) -> StageOutput:
        """Run the nodes of a level; without parents node 0 is verified, and the tree begins with it."""

    def keep(self, position: int, node: int) -> None:
        """Take a node of the level at absolute `position` as verified."""


class Drafter(Protocol):
    """The draft module and what it knows of the tokens."""

    def reset(self, prompt: Sequence[int]) -> None:
        """Begin a sequence."""

    def put_token(self, position: int, token_1: Tensor) -> None:
        """Say which token is at absolute `position`."""

    def put_features(self, stage: int, position: int, features: Tensor, /) -> None:
        """Take what `stage` put out for the token at absolute `position`."""

    def put_prompt_features(self, stage: int, features_TAH: Tensor) -> None:
        """Take what `stage` put out for the prompt."""

    def prefill(self) -> None:
        """Run the prompt."""

    def draft(self, newest: int, num_in_flight: int) -> Tensor:
        """Return the logits (draft vocabulary) of the token after the one at absolute position `newest`."""


class LevelDrafter(Drafter, Protocol):
    """The draft module with a tree of drafts, which begins anew with every token that is put.

    Features are those of all nodes at a position, and so are the logits of a draft, a row for each.
    """

    def grow(self, position: int, tokens_W: Tensor, parents_W: Tensor) -> None:
        """Add a level at absolute `position`."""

    def keep(self, position: int, node: int) -> None:
        """Take a node of the level at absolute `position` as verified."""
