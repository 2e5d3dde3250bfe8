"""What the levels of a tree of drafts take, over what a chain takes: several rows at once in stages and in a draft.

The rows of a level share the weights and the cache, so that a task takes as much longer as a matrix product with that
many rows does (`scenario.rows`), its host no longer. Rows are those of the executor: all nodes of a level, alive or
not, but the one that is right in the last stage.
"""

from dataclasses import replace

from spdsim import distributions
from spdsim.machine import Duration
from spdsim.scenario.rows import rows_factor
from spdsim.schedules.spd import Layout


def forward_of_level(layout: Layout, stage: int, one: Duration) -> Duration:
    """Return what `stage` takes for a level, where it takes `one` for a token."""
    factor = rows_factor(layout.rows_of_stage(stage))
    if factor == 1.0:
        return one
    by_depth = one.by_fill_depth
    return replace(
        one,
        base=distributions.scaled(one.base, factor),
        by_fill_depth=None if by_depth is None else tuple(distributions.scaled(drawn, factor) for drawn in by_depth),
    )


def draft_of_levels(layout: Layout, chain: Duration) -> Duration:
    """Return what a draft takes with levels in flight, where it takes `chain` with as many single tokens.

    Its rows grow with the levels in flight, so it depends on the fill depth.
    """
    if layout.width == 1:
        return chain
    depths = range(1, layout.num_stages + 1)
    factors = [rows_factor(layout.draft_rows(depth)) / rows_factor(depth + 1) for depth in depths]
    by_depth = tuple(
        distributions.scaled(chain.at_depth(depth), factor) for depth, factor in zip(depths, factors, strict=True)
    )
    return replace(chain, base=distributions.scaled(chain.base, factors[-1]), by_fill_depth=by_depth)
