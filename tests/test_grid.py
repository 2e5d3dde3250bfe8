"""The text grid of the schedule.

To accept a change on purpose: `SPDSIM_WRITE_GOLDEN=1 pytest tests/test_grid.py`, then read the difference.
"""

import pytest

from spdsim.errors import InputError
from spdsim.schedules.grid import grid
from spdsim.schedules.spd import Layout
from tests.golden import check_golden

FROM_THE_PAPER = """\
cycle  draft   stage 0  stage 1  stage 2  stage 3  verdict
0      D1      F0
1      D2      F1       F0
2      D3      F2       F1       F0
3      D4 V1   F3       F2       F1       F0       accept
4      D5 V2   F4       F3       F2       F1       accept
5      D6 V3   F5       F4       F3       F2       reject
6      D4      F3
7      D5      F4       F3
8      D6      F5       F4       F3
9      D7 V4   F6       F5       F4       F3       accept
"""


def test_four_stages_with_a_rejection_at_position_three() -> None:
    """The picture by which the algorithm is explained."""
    assert grid(Layout(4), "AARA") == FROM_THE_PAPER


@pytest.mark.parametrize(
    ("name", "layout", "verdicts"),
    [
        ("plain", Layout(1), "AR"),
        ("last-stage", Layout(3, "last_stage"), "ARA"),
        ("sharded-lag-1", Layout(3, "sharded", 1), "ARA"),
        ("own-device-lag-2", Layout(3, "own_device", 2), "ARA"),
        ("draft-rank-lag-1", Layout(2, verification_lag=1), "AAAAAAAAAAAR"),
    ],
)
def test_every_layout_has_its_grid(name: str, layout: Layout, verdicts: str) -> None:
    """Golden files, with the prefill."""
    check_golden(f"grid-{name}.txt", grid(layout, verdicts, prefill=True))


def test_one_token_needs_no_cycle() -> None:
    """K = 1: the prefill gives the token; without it the grid is its header."""
    assert grid(Layout(2), "") == "cycle  draft   stage 0  stage 1  verdict\n"
    assert grid(Layout(2), "", prefill=True).splitlines()[1:] == ["-1     V0 P    P        P"]


def test_no_line_ends_in_blanks() -> None:
    """So that the grid can be pasted into a file."""
    lines = grid(Layout(5, "own_device", 1), "AARA", prefill=True).splitlines()
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("verdicts", ["AAX", "aar", "A R", "AA\nR"])
def test_a_letter_that_is_no_verdict_is_refused(verdicts: str) -> None:
    """One line, with the place of the letter."""
    with pytest.raises(InputError, match=r"letter \d must be A \(accept\) or R \(reject\)") as error:
        grid(Layout(2), verdicts)
    assert "\n" not in str(error.value)
