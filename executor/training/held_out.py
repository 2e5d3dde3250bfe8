"""How well a draft module drafts: on text that it was not trained on, at every fill depth.

Shapes: S rows of a window, C of them at a time, H hidden size, V draft vocabulary, n stages.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from executor.training.corpus import Window
from executor.training.loss import CHUNK_ROWS
from executor.training.ranks import Ranks
from executor.training.student import Student
from executor.training.teacher import Lesson, Teacher


@dataclass(frozen=True, slots=True)
class AtFill:
    """The drafts made with `fill` tokens in flight.

    acceptance: the share whose likeliest token is the target's, over the target's whole vocabulary. divergence_nats:
    KL from the target's distribution, restricted to the draft vocabulary.
    """

    fill: int
    acceptance: float
    divergence_nats: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What was measured on `num_positions` positions that count."""

    fills: tuple[AtFill, ...]
    num_positions: int


@torch.no_grad()
def measure(
    student: Student, teacher: Teacher, ids_V: Tensor | None, windows: Iterable[Window], ranks: Ranks, *, is_mixed: bool
) -> HeldOut:
    """Return how well the drafts are on the windows of all processes.

    windows: this process's. ids_V: the draft vocabulary; None: all. Rows are laid out as decoding has them, however
    they are in training.
    """
    num_stages = student.shape.cut.num_stages
    # For every fill: what counts, what agrees, and the divergence.
    sums_n3 = torch.zeros(num_stages, 3, dtype=torch.float64, device=ranks.device)
    for window in (window.to(ranks.device) for window in windows):
        weights_S = window.tokens_S.new_ones(len(window.tokens_S)) if window.weights_S is None else window.weights_S
        lesson = teacher(window.tokens_S)
        with torch.autocast(ranks.device.type, torch.bfloat16, enabled=is_mixed):
            for fill in range(1, num_stages + 1):
                hidden_SH = student(lesson.features_TF, fill)
                sums_n3[fill - 1] += _sums(student, hidden_SH, teacher, lesson, ids_V, weights_S.double())
    counts, agreed, divergence = ranks.total(sums_n3).unbind(1)
    shares, means = (agreed / counts).tolist(), (divergence / counts).tolist()
    return HeldOut(
        tuple(AtFill(number + 1, share, mean) for number, (share, mean) in enumerate(zip(shares, means, strict=True))),
        int(counts[0]),
    )


def _sums(
    student: Student, hidden_SH: Tensor, teacher: Teacher, lesson: Lesson, ids_V: Tensor | None, weights_S: Tensor
) -> Tensor:
    """Over the rows of a window: their weights, those that agree with the target, and their divergence from it (3,)."""
    sums_3 = weights_S.new_zeros(3)
    for start in range(0, len(hidden_SH), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        theirs_CX, ours_CV = teacher.logits(lesson.hidden_TH[rows]), student.logits(hidden_SH[rows])
        drafts_C = ours_CV.argmax(-1) if ids_V is None else ids_V[ours_CV.argmax(-1)]
        theirs_CV = theirs_CX if ids_V is None else theirs_CX[:, ids_V]
        log_p_CV, log_q_CV = theirs_CV.log_softmax(-1), ours_CV.log_softmax(-1)
        divergence_C = F.kl_div(log_q_CV, log_p_CV, reduction="none", log_target=True).sum(-1)
        found_3C = torch.stack((torch.ones_like(divergence_C), drafts_C == theirs_CX.argmax(-1), divergence_C))
        sums_3 += (found_3C * weights_S[rows]).sum(1)
    return sums_3
