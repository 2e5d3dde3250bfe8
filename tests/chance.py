"""How likely counts are under a law, for tests of what is drawn at random from fixed seeds."""

import torch
from torch import Tensor


def chi_square(count_C: Tensor, law_C: Tensor) -> tuple[float, int]:
    """Return Pearson's statistic and its degrees of freedom; infinite if something impossible was counted."""
    possible_C = law_C > 0.0
    if count_C[~possible_C].any():
        return float("inf"), 1
    count_C, expected_C = count_C[possible_C].double(), law_C[possible_C].double() * count_C.sum()
    return float(((count_C - expected_C) ** 2 / expected_C).sum()), int(possible_C.sum()) - 1


def p_value(statistic: float, degrees: int) -> float:
    """Return the probability of a chi-square at least as large; a law with one outcome is certain."""
    if degrees == 0:
        return 1.0 if statistic == 0.0 else 0.0
    half = torch.tensor([degrees / 2.0, statistic / 2.0], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def chi_square_p(count_C: Tensor, law_C: Tensor) -> float:
    """Return how likely counts at least as far from the law are."""
    return p_value(*chi_square(count_C, law_C))


def uniform_p(value_N: Tensor, num_cells: int) -> float:
    """Return the p-value of values of [0, 1) being uniform, by cells of one size."""
    return chi_square_p(cells(value_N, num_cells).bincount(minlength=num_cells), _even(num_cells))


def independence_p(first_N: Tensor, second_N: Tensor, num_cells: int) -> float:
    """Return the p-value of pairs of values of [0, 1) being uniform on the square."""
    pair_N = cells(first_N, num_cells) * num_cells + cells(second_N, num_cells)
    return chi_square_p(pair_N.bincount(minlength=num_cells**2), _even(num_cells**2))


def cells(value_N: Tensor, num_cells: int) -> Tensor:
    """Return the cell, of `num_cells` of one size, in which each value of [0, 1] lies."""
    return (value_N.double() * num_cells).long().clamp_(max=num_cells - 1)


def _even(num_cells: int) -> Tensor:
    return torch.full((num_cells,), 1.0 / num_cells, dtype=torch.float64)
