"""What a draft module learns: the target's distribution over the tokens that it can draft.

Shapes: T rows, C of them at a time, H hidden size, V draft vocabulary.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from executor.training.student import Student
from executor.training.teacher import Lesson, Teacher

CHUNK_ROWS = 256
"""Rows whose logits are there at a time; a vocabulary is large, and they are computed anew in the backward pass."""


def distillation(
    student: Student,
    hidden_TH: Tensor,
    teacher: Teacher,
    lesson: Lesson,
    ids_V: Tensor | None,
    weights_T: Tensor | None,
) -> Tensor:
    """Return the mean over rows of KL(target || draft), a scalar, in nats.

    hidden_TH: of the rows that draft. ids_V: the draft vocabulary, to which the target's distribution is restricted
    (and normalised); None: all token ids. weights_T: what each row counts; None: all alike. 0 where nothing counts.
    """
    if weights_T is None:
        weights_T = hidden_TH.new_ones(hidden_TH.shape[0], dtype=torch.float32)
    total = hidden_TH.new_zeros((), dtype=torch.float32)
    for start in range(0, hidden_TH.shape[0], CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        given = (student, hidden_TH[rows], teacher, lesson.hidden_TH[rows], ids_V, weights_T[rows])
        is_kept = torch.is_grad_enabled() and hidden_TH.shape[0] > CHUNK_ROWS
        total = total + (checkpoint(_weighted, *given, use_reentrant=False) if is_kept else _weighted(*given))
    return total / weights_T.sum().clamp(min=1e-12)


def _weighted(
    student: Student, hidden_CH: Tensor, teacher: Teacher, theirs_CH: Tensor, ids_V: Tensor | None, weights_C: Tensor
) -> Tensor:
    """The sum of a few rows' divergences, each times its weight."""
    log_p_CV = F.log_softmax(teacher.logits(theirs_CH, ids_V), dim=-1)
    log_q_CV = F.log_softmax(student.logits(hidden_CH), dim=-1)
    return (F.kl_div(log_q_CV, log_p_CV, reduction="none", log_target=True).sum(-1) * weights_C).sum()
