"""Closed forms that the simulator must reproduce. Standard library only.

n: stages; k: verification lag; p: probability that a draft is accepted; K: verified tokens, y_1 included;
R: rejections among y_2 … y_(K-1). All follow from the schedule (arXiv:2605.30852 for k = 0).
"""

from collections.abc import Sequence


def cycles(num_tokens: int, num_rejections: int, num_stages: int, verification_lag: int = 0) -> int:
    """Return the cycles that `num_tokens` take: (K - 1) + (n + k - 1)(R + 1), and 0 for the first token alone.

    `num_rejections` leaves the last token out: after it nothing is refilled.
    """
    if num_tokens < 2:
        return 0
    return (num_tokens - 1) + (num_stages + verification_lag - 1) * (num_rejections + 1)


def speedup(num_stages: int, acceptance: float, verification_lag: int = 0) -> float:
    """Return the long-run speedup with equal stages and all else free: n / (1 + (1 - p)(n + k - 1))."""
    return num_stages / (1.0 + (1.0 - acceptance) * (num_stages + verification_lag - 1))


def run_speedup(num_tokens: int, num_rejections: int, num_stages: int, verification_lag: int = 0) -> float | None:
    """Return the speedup of one run of K tokens, n (K - 1) / C_k(K); None for K = 1."""
    if num_tokens < 2:
        return None
    return num_stages * (num_tokens - 1) / cycles(num_tokens, num_rejections, num_stages, verification_lag)


def acceptance_of(speedup: float, num_stages: int, verification_lag: int = 0) -> float:
    """Return the acceptance at which the law gives `speedup`: 1 - (n / S - 1) / (n + k - 1).

    Raises ValueError with one stage, where every acceptance gives 1.
    """
    if num_stages < 2:
        raise ValueError("with one stage the speedup does not depend on the acceptance")
    return 1.0 - (num_stages / speedup - 1.0) / (num_stages + verification_lag - 1)


def stage_slots(num_stages: int, acceptance: float, verification_lag: int = 0) -> tuple[float, float, float]:
    """Return stage slots per token in a long run: (useful, wasted, idle).

    n useful; a rejection leaves (n - 1) n / 2 slots idle while the pipeline fills, and flushes as many,
    with a lag k n more.
    """
    n = num_stages
    idle = (1.0 - acceptance) * n * (n - 1) / 2.0
    return float(n), idle + (1.0 - acceptance) * verification_lag * n, idle


def accept_length(acceptance: float, draft_tokens: int) -> float:
    """Return tokens of a round of draft-then-verify: (1 - a^(g + 1)) / (1 - a) (arXiv:2211.17192, equation 1)."""
    return sum(acceptance**accepted for accepted in range(draft_tokens + 1))


def accept_length_by_position(acceptances: Sequence[float], draft_tokens: int) -> float:
    """Return tokens of a round where the i-th draft is accepted, those before it being so, with entry i - 1."""
    tokens = survives = 1.0
    for at in range(draft_tokens):
        survives *= acceptances[min(at, len(acceptances) - 1)]
        tokens += survives
    return tokens


def asynchronous_token_s(acceptance: float, window: int, round_s: float) -> float:
    """Return seconds per token of two parties side by side that look ahead: (1 - p) M (1 + p / (1 - p^L)).

    round_s: M, the longer of a window of L drafts and of a verification. At p = 1 it is M / L. By the renewal at each
    rejection: after it the first draft is verified in the round in which it is made, and the rest of its window later.
    """
    if acceptance >= 1.0:
        return round_s / window
    return (1.0 - acceptance) * round_s * (1.0 + acceptance / (1.0 - acceptance**window))


def replicas_token_s(acceptance: float, lookahead: int, num_replicas: int, cycle_s: float) -> float:
    """Return seconds per token with k replicas of the target: (1 - p) c (k + p / (1 - p^L)), and c / L at p = 1.

    cycle_s: c, the longer of L drafts and of the k-th part of a pass. With L = 1 and c = t_d it is the bound of
    arXiv:2405.14105, t_d p + t_t (1 - p).
    """
    if acceptance >= 1.0:
        return cycle_s / lookahead
    return (1.0 - acceptance) * cycle_s * (num_replicas + acceptance / (1.0 - acceptance**lookahead))


def acceptance_of_accept_length(tokens: float, draft_tokens: int) -> float:
    """Return the acceptance at which rounds of `draft_tokens` drafts bring so many tokens each, by bisection.

    Raises ValueError unless `tokens` is from 1 to draft_tokens + 1.
    """
    if not 1.0 <= tokens <= draft_tokens + 1:
        raise ValueError(f"{tokens} tokens of rounds of {draft_tokens} drafts: must be 1 to {draft_tokens + 1}")
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2.0
        low, high = (middle, high) if accept_length(middle, draft_tokens) < tokens else (low, middle)
    return (low + high) / 2.0
