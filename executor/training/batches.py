"""Which windows are trained on and which are held out, and in what order: each once an epoch, shuffled anew.

Knows nothing of tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch

from executor.training.corpus import Corpus
from executor.training.steps import key_of
from spdsim.errors import InputError


@dataclass(frozen=True, slots=True)
class Split:
    """The numbers of the windows of each kind, rising."""

    trained: tuple[int, ...]
    held_out: tuple[int, ...]


def split_by_document(corpus: Corpus, share: float, seed: int) -> Split:
    """Return a split that holds out `share` of the documents, at least one, drawn by the seed.

    Of a single document the end is held out. Raises InputError if there are not two windows to split.
    """
    owners = sorted({span.document for span in corpus.spans})
    if len(owners) > 1:
        num_held = min(max(1, round(share * len(owners))), len(owners) - 1)
        order = _shuffled(len(owners), key_of(seed, "held out"))
        held = {owners[index] for index in order[:num_held]}
        marks = [span.document in held for span in corpus.spans]
    else:
        num_held = min(max(1, round(share * len(corpus.spans))), len(corpus.spans) - 1)
        marks = [number >= len(corpus.spans) - num_held for number in range(len(corpus.spans))]
    split = Split(*(tuple(number for number, mark in enumerate(marks) if mark is kind) for kind in (False, True)))
    if not (split.trained and split.held_out):
        rule = "must be two at least, so that one can be held out: give more text, or --held-out FILE"
        raise InputError(f"{corpus.file}: is one sequence of --sequence-length tokens at most: {rule}")
    return split


def spread(numbers: Sequence[int], most: int) -> tuple[int, ...]:
    """Return `numbers`, or `most` of them at even distances."""
    if len(numbers) <= most:
        return tuple(numbers)
    return tuple(numbers[index * len(numbers) // most] for index in range(most))


class Order:
    """The windows of each step, `per_step` of them: all in a new order in every epoch, keyed by seed and epoch."""

    def __init__(self, windows: Sequence[int], per_step: int, seed: int) -> None:
        self._windows, self._per_step, self._seed = windows, per_step, seed
        self._epoch, self._order = -1, list[int]()

    def steps_of(self, epochs: float) -> int:
        """Return the steps in which every window comes `epochs` times, the last one perhaps more often."""
        return max(1, ceil(epochs * len(self._windows) / self._per_step))

    def of_step(self, step: int) -> list[int]:
        """Return the windows of a step, counted from 0."""
        first = step * self._per_step
        return [self._window(number) for number in range(first, first + self._per_step)]

    def _window(self, number: int) -> int:
        epoch, place = divmod(number, len(self._windows))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, _shuffled(len(self._windows), key_of(self._seed, "epoch", epoch))
        return self._windows[self._order[place]]


def _shuffled(count: int, key: int) -> list[int]:
    order: list[int] = torch.randperm(count, generator=torch.Generator().manual_seed(key)).tolist()
    return order
