"""What traces say of acceptance, where drafts were a module's own: a fit for each cut and lag.

Verdicts that were forced say nothing: somebody decreed them.
"""

from collections.abc import Sequence

from spdsim.acceptance_fit import AcceptanceFit, Verdicts, fit_acceptance
from spdsim.calibration.observed import Observed
from spdsim.calibration.proof import verdicts


def acceptance_fits(observed: Sequence[Observed]) -> tuple[AcceptanceFit, ...]:
    """Return the fits to all sequences whose drafts were a module's own, fewer stages first."""
    found: dict[tuple[int, int], list[tuple[bool, ...]]] = {}
    for each in observed:
        if _has_own_drafts(each):
            key = (each.layout.num_stages, each.layout.verification_lag)
            found.setdefault(key, []).extend(tuple(letter == "A" for letter in text) for text in verdicts(each))
    return tuple(
        fit_acceptance(Verdicts(tuple(records), *key)) for key, records in sorted(found.items()) if any(records)
    )


def _has_own_drafts(observed: Observed) -> bool:
    """Whether an executor recorded it, and decreed nothing: it says in the header what it decrees."""
    header = observed.trace.header
    is_pipeline = header.method == "spd" and observed.layout.num_stages > 1
    return header.source == "executor" and is_pipeline and header.mean_acceptance is None
