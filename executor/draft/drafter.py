"""The draft rank's module and all that it must remember: what a worker tells it, in positions, and what it asks.

A worker says which token is at a position and what the stages put out for it, in whatever order these come; what a
rejection makes wrong is overwritten when its position comes again. Positions are absolute: rows of the cache.

Knows nothing of the schedule beyond this: of the tokens in flight the newest n are in stages, one in each, and what
the stages put out for them in earlier cycles is here when a draft begins.
Shapes: T tokens of a prompt, A anchors of one stage, H hidden size, F all anchors side by side, V draft vocabulary.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from executor.draft.features import prompt_chunks
from executor.draft.runner import Runner


class Drafter:
    """A draft module at work. embed: token ids (T,) to hidden states (T, H), the target's embedding."""

    def __init__(self, runner: Runner, embed: Callable[[Tensor], Tensor]) -> None:
        self._runner, self._embed, self._ring = runner, embed, runner.ring
        self._cut = cut = runner.module.shape.cut
        self._parts = [cut.anchors_of_stage(stage) for stage in range(cut.num_stages)]
        self._prompt: tuple[int, ...] = ()
        self._of_prompt: dict[int, Tensor] = {}

    def reset(self, prompt: Sequence[int]) -> None:
        """Begin a sequence."""
        self._prompt = tuple(prompt)
        self._of_prompt.clear()

    def put_prompt_features(self, stage: int, features_TAH: Tensor) -> None:
        """Take what `stage` put out for the prompt; it must hold until `prefill`."""
        self._of_prompt[stage] = features_TAH

    def prefill(self) -> None:
        """Run the prompt, whose tokens have completed every stage. Needs the features of all stages that have any."""
        of_stages = [self._of_prompt[stage] for stage, part in enumerate(self._parts) if part]
        for start, features_TF in prompt_chunks(self._prompt, of_stages, self._embed, self._runner.device):
            self._runner.prefill(features_TF, start)
        # The first draft needs the features of the token before the first one in flight.
        self._ring.put(len(self._prompt) - 1, 0, features_TF[-1])
        self._of_prompt.clear()

    def put_token(self, position: int, token_1: Tensor) -> None:
        """Say which token is at a position."""
        self._ring.put(position, 0, self._embed(token_1))

    def put_features(self, stage: int, position: int, features_AH: Tensor) -> None:
        """Take what `stage` put out for the token at a position."""
        self._ring.put(position, self._parts[stage].start, features_AH)

    def draft(self, newest: int, num_in_flight: int) -> Tensor:
        """Return the logits (V,) of the token after position `newest`, the newest in flight; they hold until the next.

        Raises RunError where the caches have too few rows.
        """
        return self._runner.draft(newest, self._cut.num_rows(num_in_flight))

    def prepare(self) -> None:
        """Make ready, before the first sequence: compile, or capture graphs."""
        self._runner.prepare()
