"""All families fitted to verdicts, one of them chosen, and how well it describes them.

The criterion is Schwarz's (BIC): with more and more drafts it finds the family that the verdicts were drawn from, and a
simulation shall have no more parameters than verdicts tell. Akaike's, which is told beside it, forgives a parameter
that is worth its place in predicting the next draft, and so names too large a family again and again.
"""

from collections.abc import Callable
from dataclasses import dataclass

from spdsim.acceptance_fit import shares
from spdsim.acceptance_fit.beta import fit_beta
from spdsim.acceptance_fit.families import Family, fit_bernoulli, fit_by_fill_depth
from spdsim.acceptance_fit.goodness import Goodness, goodness
from spdsim.acceptance_fit.markov import fit_markov
from spdsim.acceptance_fit.shares import Pace, Share
from spdsim.acceptance_fit.verdicts import Table, Verdicts
from spdsim.errors import InputError

ALIKE = 2.0
"""Families whose criteria differ by no more cannot be told apart (Kass and Raftery 1995)."""


@dataclass(frozen=True, slots=True)
class AcceptanceFit:
    """What verdicts say. The first of `families` has the smallest BIC; those in `alike` cannot be told from it.

    left_out: families that were not fitted, and why. over_sequences: the interval of the acceptance over whole
    sequences; None with one. by_third: early, middle and late in each sequence. runs: of each class of lengths.
    """

    verdicts: Verdicts
    overall: Share
    over_sequences: tuple[float, float] | None
    by_depth: tuple[Share, ...]
    by_third: tuple[Share, Share, Share]
    by_sequence: tuple[Share, ...]
    runs: tuple[int, ...]
    pace: Pace
    families: tuple[Family, ...]
    left_out: tuple[tuple[str, str], ...]
    goodness: Goodness

    @property
    def chosen(self) -> Family:
        """The family with the smallest BIC."""
        return self.families[0]

    @property
    def alike(self) -> tuple[Family, ...]:
        """Other families that verdicts do not tell from the chosen one."""
        return tuple(other for other in self.families[1:] if other.bic - self.chosen.bic <= ALIKE)


def fit_acceptance(verdicts: Verdicts, seed: int = 0) -> AcceptanceFit:
    """Return what `verdicts` say. seed: of the draws that they are held against.

    Raises InputError where no draft was verified.
    """
    if not verdicts.num_drafts:
        raise InputError("no draft was verified: must be at least one, in a sequence of two tokens or more")
    table = Table.of(verdicts)
    families, left_out = _fitted(table)
    chosen = families[0]
    return AcceptanceFit(
        verdicts=verdicts,
        overall=Share(verdicts.num_accepted, verdicts.num_drafts),
        over_sequences=shares.over_sequences(verdicts),
        by_depth=shares.by_depth(table),
        by_third=shares.by_third(verdicts),
        by_sequence=shares.by_sequence(verdicts),
        runs=shares.runs(verdicts),
        pace=shares.pace(verdicts),
        families=families,
        left_out=left_out,
        goodness=goodness(chosen.model, table, verdicts.capacity, seed),
    )


def _fitted(table: Table) -> tuple[tuple[Family, ...], tuple[tuple[str, str], ...]]:
    """The families, the best first, and those left out with the reason."""
    accepted, drafts, sequences = int(table.accepted_ST.sum()), int(table.lengths_S.sum()), len(table.lengths_S)
    reasons: dict[str, str] = {}
    if accepted in (0, drafts):
        what = "every draft was accepted" if accepted else "no draft was accepted"
        reasons = dict.fromkeys(("by_fill_depth", "markov", "beta"), f"{what}: nothing tells families apart")
    else:
        if sequences < 2:
            reasons["beta"] = "there is one sequence: nothing tells how sequences differ"
        if table.lengths_S.max() < 2:
            reasons["markov"] = "no sequence has two drafts: nothing tells of runs"
        if table.depth_ST.max() < 2:
            reasons["by_fill_depth"] = "all drafts were made at one fill depth"
    ways: dict[str, Callable[[Table], Family]] = {
        "bernoulli": fit_bernoulli, "by_fill_depth": fit_by_fill_depth, "markov": fit_markov, "beta": fit_beta,
    }  # fmt: skip
    found = [way(table) for kind, way in ways.items() if kind not in reasons]
    return tuple(sorted(found, key=lambda family: family.bic)), tuple(reasons.items())
