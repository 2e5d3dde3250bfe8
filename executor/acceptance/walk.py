"""The schedule over a text whose drafts are all known: which of them would be verified, and with what verdict.

A draft depends on the tokens before it and on how many were in flight when it was made. Where each is known for every
position and every number in flight, no pipeline need run: the verdicts themselves say how many were in flight.
`tests/test_acceptance_walk.py` holds this against the schedule.

Pure Python; knows nothing of tensors.
"""

from collections.abc import Sequence

from spdsim.acceptance_fit.verdicts import next_depth


def walk(right_by_fill: Sequence[Sequence[bool]], num_stages: int, verification_lag: int = 0) -> tuple[bool, ...]:
    """Return the verdicts on the drafts of y_2, y_3, …

    right_by_fill: entry f - 1 says of each of these positions whether its draft is right that is made with f tokens in
    the stages, 1 to n. What is in flight beyond the n in stages waits for its verdict, and a draft does not see it
    otherwise than what is verified.
    """
    capacity, depth = num_stages + verification_lag, 1
    found = []
    for position in range(len(right_by_fill[0])):
        is_right = right_by_fill[min(depth, num_stages) - 1][position]
        found.append(is_right)
        depth = next_depth(depth, is_right, capacity)
    return tuple(found)
