"""From recorded verdicts to an acceptance model: families fitted, one of them chosen, and how well it fits.

Needs no torch: verdicts are what an executor or a file says. Knows nothing of time or devices.
"""

from spdsim.acceptance_fit.document import fit_document, fragment_text
from spdsim.acceptance_fit.families import Estimate, Family
from spdsim.acceptance_fit.fit import AcceptanceFit, fit_acceptance
from spdsim.acceptance_fit.goodness import Check, Goodness
from spdsim.acceptance_fit.shares import Pace, Share, wilson
from spdsim.acceptance_fit.verdicts import Verdicts, fill_depths

__all__ = [
    "AcceptanceFit", "Check", "Estimate", "Family", "Goodness", "Pace", "Share", "Verdicts", "fill_depths",
    "fit_acceptance", "fit_document", "fragment_text", "wilson",
]  # fmt: skip
