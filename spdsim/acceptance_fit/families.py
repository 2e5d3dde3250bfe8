"""The families of acceptance models, each fitted to verdicts by maximum likelihood.

The likelihood is that of the verdicts in their order, so that families can be compared. Where a draft's depth follows
from the verdicts before it, it is no news: a sequence's likelihood is the product over its drafts.
"""

from dataclasses import dataclass
from math import log

from spdsim.acceptance import Acceptance, Bernoulli, ByFillDepth
from spdsim.acceptance_fit.shares import Share, by_depth
from spdsim.acceptance_fit.verdicts import Table

LABELS = {"bernoulli": "Bernoulli", "by_fill_depth": "by fill depth", "markov": "Markov", "beta": "Beta"}
"""The kinds, as scenarios write them, in words."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One parameter. interval: 95 %; None: at an end of its range, or nothing tells."""

    name: str
    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Family:
    """A fitted family. kind: as scenarios write it. num_drafts: that it was fitted to."""

    kind: str
    model: Acceptance
    log_likelihood: float
    estimates: tuple[Estimate, ...]
    num_drafts: int

    @property
    def num_parameters(self) -> int:
        """How many numbers were fitted."""
        return len(self.estimates)

    @property
    def bic(self) -> float:
        """Schwarz's criterion (1978): parameters times log of the drafts, less twice the log-likelihood."""
        return self.num_parameters * log(self.num_drafts) - 2.0 * self.log_likelihood

    @property
    def aic(self) -> float:
        """Akaike's criterion (1974): twice the parameters, less twice the log-likelihood."""
        return 2.0 * self.num_parameters - 2.0 * self.log_likelihood


def fit_bernoulli(table: Table) -> Family:
    """Return the one probability of all drafts."""
    share = Share(int(table.accepted_ST.sum()), int(table.lengths_S.sum()))
    estimate = _estimate("p", share)
    return Family("bernoulli", Bernoulli(estimate.value), log_likelihood(share), (estimate,), share.count)


def fit_by_fill_depth(table: Table) -> Family:
    """Return a probability for every fill depth that occurred, n and more as one.

    With a verification lag more than n tokens are in flight, but a draft is made from those in the n stages.
    """
    every, n = by_depth(table), table.num_stages
    full = Share(sum(share.accepted for share in every[n - 1 :]), sum(share.count for share in every[n - 1 :]))
    shares = (*every[: n - 1], full) if full.count else every
    estimates = tuple(_estimate(f"p at depth {depth}", share) for depth, share in enumerate(shares, 1))
    model = ByFillDepth(tuple(estimate.value for estimate in estimates))
    total = sum(map(log_likelihood, shares))
    return Family("by_fill_depth", model, total, estimates, sum(share.count for share in shares))


def log_likelihood(share: Share) -> float:
    """Return the log-likelihood of verdicts at the probability that is their share."""
    return sum(
        count * log(count / share.count) for count in (share.accepted, share.count - share.accepted) if count > 0
    )


def _estimate(name: str, share: Share) -> Estimate:
    assert share.fraction is not None
    return Estimate(name, share.fraction, share.interval)
