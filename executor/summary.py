"""The figures of a run, from the results of its jobs: how fast, how much faster than plain decoding, and why.

Times are those that worker 0 saw. Knows nothing of devices or spans; `spdsim.analysis` takes a trace apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from executor.plan import Job, JobResult
from spdsim import theory
from spdsim.analysis.estimates import mean_of, ratio
from spdsim.analysis.report import Estimate
from spdsim.schedules.spd import Layout


@dataclass(frozen=True, slots=True)
class Decoding:
    """Sequences decoded by one method.

    num_tokens: y_1 of each included. tokens_per_s and time_per_token_s: without the prefill and y_1; None where no
    sequence has a second token.
    """

    num_sequences: int
    num_tokens: int
    tokens_per_s: Estimate | None
    time_per_token_s: Estimate | None
    time_to_first_token_s: Estimate


@dataclass(frozen=True, slots=True)
class Difference:
    """The first token that is not plain decoding's: its sequence and its position."""

    sequence: int
    position: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Every figure of a run; None where there is nothing to tell.

    num_drafts: verified drafts. num_cycles: after the prefill. speedup: over plain decoding in the same run.
    closed_form_speedup: the law's, at the acceptance of this run. differences: None where the tokens of the two
    methods need not be equal, or only one was run.
    """

    speculative: Decoding | None
    plain: Decoding | None
    speedup: Estimate | None
    num_cycles: int | None
    num_drafts: int
    num_accepted: int
    acceptance_probability: float | None
    tokens_per_cycle: float | None
    equivalent_accept_length: float | None
    closed_form_speedup: float | None
    differences: tuple[Difference, ...] | None

    @property
    def best(self) -> Decoding | None:
        """What the run was about: speculative decoding, or plain decoding where there is nothing else."""
        return self.speculative or self.plain


Done = tuple[Job, JobResult]


def figures(layout: Layout, jobs: Sequence[Job], results: Sequence[JobResult], *, must_agree: bool) -> Figures:
    """Return the figures of the jobs that ended, which are the first `len(results)` of `jobs`.

    must_agree: the tokens of both methods must be equal, so that a difference is worth telling.
    """
    done = list(zip(jobs, results, strict=False))
    speculative = [(job, result) for job, result in done if job.method == "spd"]
    plain = [(job, result) for job, result in done if job.method == "plain"]
    accepted = [verdict for _, result in speculative for verdict in result.accepted]
    decoded = [result for _, result in speculative if len(result.tokens) > 1]
    cycles = sum(result.num_cycles for result in decoded)
    tokens_per_cycle = sum(len(result.tokens) for result in decoded) / cycles if cycles else None
    acceptance = sum(accepted) / len(accepted) if accepted else None
    n = layout.num_stages
    return Figures(
        speculative=_decoding(speculative), plain=_decoding(plain), speedup=_speedup(speculative, plain),
        num_cycles=sum(result.num_cycles for _, result in speculative) if speculative else None,
        num_drafts=len(accepted), num_accepted=sum(accepted),
        acceptance_probability=acceptance,
        tokens_per_cycle=tokens_per_cycle,
        equivalent_accept_length=None if tokens_per_cycle is None else n * tokens_per_cycle,
        closed_form_speedup=None if acceptance is None else theory.speedup(n, acceptance, layout.verification_lag),
        differences=_differences(speculative, plain) if must_agree else None,
    )  # fmt: skip


def _decoding(done: Sequence[Done]) -> Decoding | None:
    if not done:
        return None
    results = [result for _, result in done]
    waits_s = np.array([result.first_token_s - result.start_s for result in results])
    steps, times_s = _steps(results), _times_s(results)
    has_time = float(times_s.sum()) > 0.0
    return Decoding(
        num_sequences=len(results),
        num_tokens=sum(len(result.tokens) for result in results),
        tokens_per_s=_estimate(*ratio(steps, times_s)) if has_time else None,
        time_per_token_s=_estimate(*ratio(times_s, steps)) if has_time else None,
        time_to_first_token_s=_estimate(*mean_of(waits_s)),
    )


def _speedup(speculative: Sequence[Done], plain: Sequence[Done]) -> Estimate | None:
    """Over the time that plain decoding would take for as many tokens, by sequence."""
    by_sequence = {job.sequence: result for job, result in plain if len(result.tokens) > 1}
    both = [(result, by_sequence[job.sequence]) for job, result in speculative if job.sequence in by_sequence]
    if not both:
        return None
    fast, slow = [result for result, _ in both], [result for _, result in both]
    times_s = _times_s(fast)
    if not float(times_s.sum()) > 0.0:
        return None
    return _estimate(*ratio(_times_s(slow) / _steps(slow) * _steps(fast), times_s))


def _estimate(mean: float, low: float | None, high: float | None) -> Estimate:
    """A mean with its interval; of two or three sequences it would reach below zero, where no time and no speed is."""
    return Estimate(mean, None if low is None else max(0.0, low), high)


def _differences(speculative: Sequence[Done], plain: Sequence[Done]) -> tuple[Difference, ...] | None:
    """Where the tokens of the two methods part, a difference a sequence at most."""
    by_sequence = {job.sequence: result.tokens for job, result in plain}
    pairs = [(job.sequence, result.tokens, by_sequence.get(job.sequence)) for job, result in speculative]
    if not any(tokens for _, _, tokens in pairs):
        return None
    found = (
        Difference(sequence, position)
        for sequence, tokens, expected in pairs
        if expected is not None and (position := _first_difference(tokens, expected)) is not None
    )
    return tuple(found)


def _first_difference(tokens: Sequence[int], expected: Sequence[int]) -> int | None:
    for position, (token, other) in enumerate(zip(tokens, expected, strict=False)):
        if token != other:
            return position
    return None if len(tokens) == len(expected) else min(len(tokens), len(expected))


def _steps(results: Sequence[JobResult]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Tokens after y_1, by sequence."""
    return np.array([len(result.tokens) - 1.0 for result in results])


def _times_s(results: Sequence[JobResult]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Seconds of decoding, by sequence; none where y_1 is all there is, however the clock was read."""
    return np.array([result.end_s - result.first_token_s if len(result.tokens) > 1 else 0.0 for result in results])
