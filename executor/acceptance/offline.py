"""Verdicts without a run: one pass of the target over each text, and of the draft module for each number in flight.

What decoding drafts at a position depends on the tokens before it and on how many are in flight. Over a whole text
`executor.training.student` computes all positions at once, so every cut into stages is read off the same features.

Shapes: T tokens of a text, R rows whose drafts would be verified, H hidden size, F features, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from executor.acceptance.walk import walk
from executor.draft.checkpoint import SavedDraft
from executor.draft.cut import Cut
from executor.draft.shape import DraftShape, draft_layer
from executor.model.architecture import Architecture, read_architecture
from executor.model.weights import Checkpoint, RandomWeights, Weights, load
from executor.plan import Plan
from executor.rank import device_of
from executor.training.loss import CHUNK_ROWS
from executor.training.student import Student
from executor.training.teacher import Lesson, Teacher
from executor.worker.channels import DTYPES


@dataclass(frozen=True, slots=True)
class Text:
    """Tokens of a text. first: the position of y_1, which is not drafted."""

    tokens: tuple[int, ...]
    first: int


@dataclass(frozen=True, slots=True)
class LookedUp:
    """Verdicts of every text, by index of the cut.

    num_rows: positions looked at. num_own: at which the text has the target's own choice.
    """

    accepted: tuple[tuple[tuple[bool, ...], ...], ...]
    num_rows: int
    num_own: int


class Offline:
    """A target and a draft module, for some plans that differ in their cuts only. saved: its weights; None: random.

    max_rows: the longest text. Raises InputError where one of them cannot be loaded, or they do not go together.
    """

    def __init__(self, plans: Sequence[Plan], saved: SavedDraft | None, max_rows: int) -> None:
        plan = plans[0]
        self._device, dtype = device_of(plan, 0), DTYPES[plan.dtype]
        torch.set_num_threads(plan.threads)
        architecture = read_architecture(plan.model.config)
        directory, anchors = plan.model.directory, plan.draft.anchors
        weights: Weights = RandomWeights(plan.model.seed) if directory is None else Checkpoint(directory)
        self._layouts = [(each.layout.num_stages, each.layout.verification_lag) for each in plans]
        self._cuts = [Cut(each.layers, anchors) for each in plans]
        if saved is not None:
            saved.check_target(plan.model.config)
        shape = _shape(plan, saved, architecture, self._cuts[0])
        with torch.inference_mode():
            self._teacher = Teacher(architecture, weights, anchors, max_rows, self._device, dtype)
            self._student = Student(shape, architecture.rotary, self._teacher.norm, self._device, dtype)
            if saved is None:
                load(self._student, RandomWeights(plan.draft.seed), "draft.")
            else:
                self._student.load_state_dict(dict(saved.tensors))
        ids = shape.draft_token_ids
        self._ids_V = None if ids is None else torch.tensor(ids, dtype=torch.int64, device=self._device)

    @torch.inference_mode()
    def look_up(self, texts: Sequence[Text], *, is_own: bool, progress: Callable[[int, int], None]) -> LookedUp:
        """Return the verdicts on every text.

        is_own: the target wrote the texts from y_1 on, so a draft is right if it is the text's next token; else if it
        is what the target would say there, whatever the text says. progress: in texts.
        """
        accepted: list[list[tuple[bool, ...]]] = [[] for _ in self._cuts]
        num_rows = num_own = 0
        for number, text in enumerate(texts):
            lesson = self._teacher(torch.tensor(text.tokens, dtype=torch.int64, device=self._device))
            rows = slice(text.first, len(text.tokens) - 1)
            next_R = lesson.tokens_T[text.first + 1 :]
            own_R = _best(self._teacher.logits, lesson.hidden_TH[rows])
            num_rows += len(next_R)
            num_own += int((own_R == next_R).sum())
            rights = self._right(lesson, rows, next_R if is_own else own_R)
            for found, (stages, lag), right in zip(accepted, self._layouts, rights, strict=True):
                found.append(walk(right, stages, lag))
            progress(number + 1, len(texts))
        return LookedUp(tuple(map(tuple, accepted)), num_rows, num_own)

    def _right(self, lesson: Lesson, rows: slice, wanted_R: Tensor) -> Iterator[list[list[bool]]]:
        """Yield, for each cut, by the number in flight and by row, whether the draft is what is wanted."""
        known: dict[tuple[int, ...], list[bool]] = {}
        for cut in self._cuts:
            # No weight depends on where stages begin: the cut says which of them a depth has.
            self._student.shape = replace(self._student.shape, cut=cut)
            found = []
            for fill in range(1, cut.num_stages + 1):
                # What has all anchors is as good as complete: cuts that agree in the rest draft the same.
                seen = tuple(kind for kind in cut.types[:fill] if kind != cut.deepest_type)
                if seen not in known:
                    hidden_RH = self._student(lesson.features_TF, fill)[rows]
                    drafts_R = _best(self._student.logits, hidden_RH)
                    drafts_R = drafts_R if self._ids_V is None else self._ids_V[drafts_R]
                    known[seen] = (drafts_R == wanted_R).tolist()
                found.append(known[seen])
            yield found


def _best(logits: Callable[[Tensor], Tensor], hidden_RH: Tensor) -> Tensor:
    """The likeliest of each row's tokens, int64 (R,), the lowest among equals."""
    parts = [logits(part_CH).argmax(-1) for part_CH in torch.split(hidden_RH, CHUNK_ROWS)]
    return torch.cat(parts) if parts else hidden_RH.new_empty(0, dtype=torch.int64)


def _shape(plan: Plan, saved: SavedDraft | None, architecture: Architecture, cut: Cut) -> DraftShape:
    """The shape of the module at a cut; a checkpoint's is checked at the cut that it was made for."""
    layer = draft_layer(architecture.layers[0])
    if saved is not None:
        trained = Cut(trained_layers(saved, architecture.num_layers), saved.config.anchors)
        return replace(saved.shape_for(trained, layer, architecture.vocab_size), cut=cut)
    size = plan.draft.vocab_size
    ids = None if size is None else tuple(range(size))
    return DraftShape(cut, layer, plan.draft.num_layers, architecture.vocab_size, ids)


def trained_layers(saved: SavedDraft, num_layers: int) -> tuple[int, ...]:
    """Return the layers of each stage that a module was made for: as it says, else cut evenly."""
    if saved.config.stage_layers is not None:
        return saved.config.stage_layers
    each, rest = divmod(num_layers, saved.config.num_stages)
    return tuple(each + (stage < rest) for stage in range(saved.config.num_stages))


def texts_of(prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]] | None) -> list[Text]:
    """Return what is looked up: prompts with what follows them, or, without, their own text from its second token."""
    if continuations is None:
        return [Text(tuple(prompt), 1) for prompt in prompts]
    return [
        Text((*prompt, *continuation), len(prompt)) for prompt, continuation in zip(prompts, continuations, strict=True)
    ]
