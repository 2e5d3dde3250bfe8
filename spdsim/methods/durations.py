"""Durations put together of others: one task after another, and several tokens at once."""

from dataclasses import replace

from spdsim import distributions
from spdsim.distributions import Constant
from spdsim.machine import Duration, Issue

NOTHING = Duration(Constant(0.0))


def in_series(*parts: Duration, is_read: bool = False) -> Duration:
    """Return the duration of tasks one after another on one device, issued together.

    is_read: the host waits for the result. Where a part is host and device together, so is the whole.
    """
    base = distributions.added(tuple(part.base for part in parts))
    slope_s = sum(part.per_context_token_s for part in parts)
    if any(part.issue is None for part in parts):
        return Duration(base, slope_s)
    issues = [part.issue for part in parts if part.issue is not None]
    lead_s = issues[0].lead_s if issues else 0.0
    return Duration(base, slope_s, issue=Issue(lead_s, sum(issue.total_s for issue in issues), is_read))


def of_rows(one: Duration, factor: float) -> Duration:
    """Return the duration for several tokens at once, `factor` times that for one; the cache is read once for all."""
    return replace(one, base=distributions.scaled(one.base, factor), by_fill_depth=None)


def scaled(one: Duration, factor: float) -> Duration:
    """Return the duration of a part of a task, or of several like it; what the host issues is shared out too."""
    issue = one.issue
    if issue is not None:
        issue = replace(issue, lead_s=issue.lead_s * factor, total_s=issue.total_s * factor)
    return Duration(distributions.scaled(one.base, factor), one.per_context_token_s * factor, issue=issue)


def unread(one: Duration) -> Duration:
    """Return the duration of a task whose result stays on the device: the host does not wait for it."""
    return one if one.issue is None else replace(one, issue=replace(one.issue, is_read=False))


def mean_s(duration: Duration, context_tokens: float) -> float:
    """Return the mean seconds at a context of so many tokens: the device's, or the host's where it issues longer."""
    device_s = distributions.mean_s(duration.base) + duration.per_context_token_s * context_tokens
    return device_s if duration.issue is None else max(device_s, duration.issue.total_s)
