"""Runs of easy and hard text: a hidden Markov model of two states, fitted by Baum and Welch.

Sequences are independent, each with its first state drawn from the stationary distribution, as the simulator has it.
So the step that maximises has a term for the first states, which the textbook's does not. Expectation and maximisation
come close from several starts; Newton's method in log-odds goes the rest of the way, and its second derivatives give
the intervals.
Sources: Baum, Petrie, Soules and Weiss (1970); the backward pass is that of Kim (1994).

With two states one number says all of a law: the probability of the easy state.
Shapes: P points (sets of parameters), S sequences, T drafts of the longest.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spdsim.acceptance import Markov
from spdsim.acceptance_fit.families import Estimate, Family
from spdsim.acceptance_fit.verdicts import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_NAMES = ("p, easy", "p, hard", "stay, easy", "stay, hard")
_LEAST = 1e-9
_EXPECTATIONS, _NEWTON_STEPS, _CLOSE = 60, 25, 1e-5
_RACE, _AHEAD = 12, 3
_STEP, _END = 2e-3, 1e-4
_Z = 1.959964
_DAMPINGS = (0.0, 1e-3, 1e-1, 1e1, 1e3)
_MOST_ODDS, _MOST_STEP = 20.0, 2.0


def fit_markov(table: Table) -> Family:
    """Return the two states, the easy one first, of sequences with some drafts accepted and some not."""
    points_P4 = _starts(float(table.accepted_ST.sum() / table.lengths_S.sum()))
    known = np.full(len(points_P4), -np.inf)
    for number in range(_EXPECTATIONS):
        if number == _RACE:
            # What is behind by then is on its way to the same top, or to a lower one.
            points_P4, known = points_P4[ahead := np.argsort(known)[-_AHEAD:]], known[ahead]
        passed = _forward(points_P4, table)
        points_P4 = _maximised(points_P4, passed, table)
        if passed.log_likelihood_P.max() - known.max() < _END:
            break
        known = passed.log_likelihood_P
    best = points_P4[int(_forward(points_P4, table).log_likelihood_P.argmax())]
    best, most, curvature_44 = _climbed(best, table)
    if best[0] < best[1]:
        order = [1, 0, 3, 2]
        best, curvature_44 = best[order], curvature_44[np.ix_(order, order)]
    values = [float(value) for value in best]
    intervals = _intervals(best, curvature_44)
    estimates = (Estimate(*each) for each in zip(_NAMES, values, intervals, strict=True))
    model = Markov((values[0], values[1]), (values[2], values[3]))
    return Family("markov", model, most, tuple(estimates), int(table.lengths_S.sum()))


def markov_log_likelihood(model: Markov, table: Table) -> float:
    """Return the log-likelihood of the verdicts, whatever the states were."""
    return float(_forward(np.array([[*model.p, *model.stay]]), table).log_likelihood_P[0])


def _starts(p: float) -> "Floats":
    """Where to begin: states little and much apart, runs short and long, hard text rare or not."""
    found = []
    for apart in (0.3, 0.8):
        for stays in ((0.9, 0.9), (0.97, 0.85), (0.6, 0.6)):
            found.append((p + apart * (1.0 - p), p * (1.0 - apart), *stays))
    return _inside(np.array(found))


@dataclass(frozen=True, slots=True)
class _Forward:
    """easy_TPS: probability of the easy state given the verdicts so far; before_TPS: given those before."""

    log_likelihood_P: "Floats"
    easy_TPS: "Floats"
    before_TPS: "Floats"


def _forward(points_P4: "Floats", table: Table) -> _Forward:
    p_easy_P1, p_hard_P1, stay_easy_P1, stay_hard_P1 = points_P4.T[:, :, None]
    leave_easy_P1, leave_hard_P1 = 1.0 - stay_easy_P1, 1.0 - stay_hard_P1
    num_sequences, longest = table.accepted_ST.shape
    easy_TPS, before_TPS = np.empty((2, longest, len(points_P4), num_sequences))
    before_PS = np.broadcast_to(leave_hard_P1 / (leave_easy_P1 + leave_hard_P1), (len(points_P4), num_sequences))
    total_PS = np.zeros((len(points_P4), num_sequences))
    is_draft_ST = table.is_draft_ST
    for t in range(longest):
        accepted_S, is_draft_S = table.accepted_ST[:, t], is_draft_ST[:, t]
        easy_PS = before_PS * np.where(accepted_S, p_easy_P1, 1.0 - p_easy_P1)
        both_PS = easy_PS + (1.0 - before_PS) * np.where(accepted_S, p_hard_P1, 1.0 - p_hard_P1)
        total_PS += np.log(both_PS) * is_draft_S
        before_TPS[t] = before_PS
        easy_TPS[t] = easy_PS = easy_PS / both_PS
        before_PS = easy_PS * stay_easy_P1 + (1.0 - easy_PS) * leave_hard_P1
    return _Forward(total_PS.sum(axis=1), easy_TPS, before_TPS)


def _maximised(points_P4: "Floats", passed: _Forward, table: Table) -> "Floats":
    """The next points of Baum and Welch: what is expected of states and moves, as if it had been counted."""
    _, _, stay_easy_P1, stay_hard_P1 = points_P4.T[:, :, None]
    shape = (len(points_P4), len(table.lengths_S))
    state_PS = np.zeros(shape)
    # Drafts in each state, those that were accepted among them, moves (easy to easy, …), and first states.
    in_easy_P, right_in_easy_P = np.zeros((2, len(points_P4)))
    moves_P4 = np.zeros((len(points_P4), 4))
    is_draft_ST = table.is_draft_ST
    for t in reversed(range(table.accepted_ST.shape[1])):
        easy_PS, is_draft_S = passed.easy_TPS[t], is_draft_ST[:, t]
        if t + 1 < table.accepted_ST.shape[1]:
            goes_on_S = is_draft_ST[:, t + 1]
            before_PS = passed.before_TPS[t + 1]
            then_easy_PS, then_hard_PS = state_PS / before_PS, (1.0 - state_PS) / (1.0 - before_PS)
            moves = (
                easy_PS * stay_easy_P1 * then_easy_PS, easy_PS * (1.0 - stay_easy_P1) * then_hard_PS,
                (1.0 - easy_PS) * (1.0 - stay_hard_P1) * then_easy_PS, (1.0 - easy_PS) * stay_hard_P1 * then_hard_PS,
            )  # fmt: skip
            moves_P4 += np.stack([(move * goes_on_S).sum(axis=1) for move in moves], axis=1)
            state_PS = np.where(goes_on_S, moves[0] + moves[1], easy_PS)
        else:
            state_PS = easy_PS
        in_easy_P += (state_PS * is_draft_S).sum(axis=1)
        right_in_easy_P += (state_PS * table.accepted_ST[:, t]).sum(axis=1)
    first_easy_P = state_PS.sum(axis=1)
    drafts, right = table.lengths_S.sum(), table.accepted_ST.sum()
    found_P4 = np.stack(
        (
            right_in_easy_P / np.maximum(in_easy_P, _LEAST),
            (right - right_in_easy_P) / np.maximum(drafts - in_easy_P, _LEAST),
            *_stays(points_P4, moves_P4, first_easy_P, len(table.lengths_S)),
        ),
        axis=1,
    )
    return _inside(found_P4)


def _stays(
    points_P4: "Floats", moves_P4: "Floats", first_easy_P: "Floats", num_sequences: int
) -> "tuple[Floats, Floats]":
    """The stays that maximise what is expected, one after the other, twice.

    With u and v the probabilities of leaving the easy and the hard state, the first states add
    first_easy log v + first_hard log u - S log(u + v) to the terms of the moves; given v, u is the root of a quadratic.
    """
    leave_easy_P, leave_hard_P = 1.0 - points_P4[:, 2], 1.0 - points_P4[:, 3]
    stays_easy_P, leaves_easy_P, leaves_hard_P, stays_hard_P = moves_P4.T
    for _ in range(2):
        leave_easy_P = _leave(stays_easy_P, leaves_easy_P + num_sequences - first_easy_P, leave_hard_P, num_sequences)
        leave_hard_P = _leave(stays_hard_P, leaves_hard_P + first_easy_P, leave_easy_P, num_sequences)
    return 1.0 - leave_easy_P, 1.0 - leave_hard_P


def _leave(stays_P: "Floats", leaves_P: "Floats", other_P: "Floats", num_sequences: int) -> "Floats":
    """The root in (0, 1) of stays u (u + v) = (1 - u)(leaves (u + v) - S u)."""
    a_P = stays_P + leaves_P - num_sequences
    b_P = (stays_P + leaves_P) * other_P - leaves_P + num_sequences
    c_P = -leaves_P * other_P
    root_P = np.sqrt(np.maximum(b_P * b_P - 4.0 * a_P * c_P, 0.0))
    # The form that loses no digits, whatever the sign of b; a may be zero.
    with_b_P = -2.0 * c_P / np.maximum(b_P + root_P, _LEAST)
    return _inside(np.where(b_P > 0.0, with_b_P, (root_P - b_P) / (2.0 * a_P + (a_P == 0.0))))


def _climbed(point_4: "Floats", table: Table) -> "tuple[Floats, float, Floats]":
    """Newton's method in log-odds, damped so that it only climbs; returns the curvature at the top too."""
    odds_4 = np.log(point_4 / (1.0 - point_4))
    most, slope_4, curvature_44 = _derivatives(odds_4, table)
    for _ in range(_NEWTON_STEPS):
        size = max(1.0, float(np.abs(np.diag(curvature_44)).max()))
        steps_P4 = np.stack([
            np.linalg.lstsq(-curvature_44 + damping * size * np.eye(4), slope_4, rcond=None)[0] for damping in _DAMPINGS
        ])  # fmt: skip
        odds_P4 = np.clip(odds_4 + np.clip(steps_P4, -_MOST_STEP, _MOST_STEP), -_MOST_ODDS, _MOST_ODDS)
        reached_P = _forward(_of_odds(odds_P4), table).log_likelihood_P
        best = int(reached_P.argmax())
        if reached_P[best] - most < _CLOSE:
            break
        odds_4 = odds_P4[best]
        most, slope_4, curvature_44 = _derivatives(odds_4, table)
    return _of_odds(odds_4), most, curvature_44


def _of_odds(odds: "Floats") -> "Floats":
    return _inside(1.0 / (1.0 + np.exp(-np.clip(odds, -_MOST_ODDS, _MOST_ODDS))))


def _inside(values: "Floats") -> "Floats":
    """Probabilities off the ends, where nothing is impossible."""
    return np.asarray(np.clip(values, _LEAST, 1.0 - _LEAST))


def _derivatives(odds_4: "Floats", table: Table) -> "tuple[float, Floats, Floats]":
    """The log-likelihood with its first and second derivatives by log-odds, by differences, in one pass."""
    units = _STEP * np.eye(4)
    pairs = [(i, j) for i in range(4) for j in range(i)]
    both = np.array([units[i] + units[j] for i, j in pairs])
    shifts_P4 = np.concatenate((np.zeros((1, 4)), units, -units, both, -both))
    values_P = _forward(_of_odds(odds_4 + shifts_P4), table).log_likelihood_P
    middle, up, down = values_P[0], values_P[1:5], values_P[5:9]
    curvature_44 = np.diag(up + down - 2.0 * middle)
    for number, (i, j) in enumerate(pairs):
        mixed = values_P[9 + number] + values_P[9 + len(pairs) + number]
        curvature_44[i, j] = curvature_44[j, i] = (mixed - up[i] - down[i] - up[j] - down[j] + 2.0 * middle) / 2.0
    return float(middle), (up - down) / (2.0 * _STEP), curvature_44 / _STEP**2


def _intervals(point_4: "Floats", curvature_44: "Floats") -> list[tuple[float, float] | None]:
    """The intervals, symmetric in log-odds; none where the top is at an end of the range, or flat."""
    odds_4 = np.log(point_4 / (1.0 - point_4))
    try:
        variance_4 = np.diag(np.linalg.inv(-curvature_44))
        is_peak = bool(np.linalg.eigvalsh(-curvature_44).min() > 0.0)
    except np.linalg.LinAlgError:
        return [None] * 4
    if not is_peak:
        return [None] * 4
    found: list[tuple[float, float] | None] = []
    for odds, variance in zip(odds_4.tolist(), variance_4.tolist(), strict=True):
        half = _Z * variance**0.5
        low, high = _of_odds(np.array([odds - half, odds + half])).tolist()
        found.append((low, high) if half < _MOST_ODDS / 2.0 else None)
    return found
