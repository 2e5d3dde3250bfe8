"""What a run trains on and what it holds out, read before anything is loaded, and the draft vocabulary of it.

The draft vocabulary are the token ids that the training text has most often.
Shapes: V token ids of the draft vocabulary.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from executor.text.tokenizer import ByteTokenizer, load_tokenizer
from executor.training.batches import Split, split_by_document
from executor.training.chat import ChatTemplate
from executor.training.corpus import Corpus, read_corpus
from executor.training.encoding import Encoder
from executor.training.plan import TrainingPlan
from executor.training.texts import documents
from spdsim.errors import InputError

_TEXTS = 512
"""Windows that are counted at a time: one count goes over the whole vocabulary."""


@dataclass(frozen=True, slots=True)
class Material:
    """Windows to train on, of `corpus`, and held-out ones, of `held_out`: another file, or the same.

    draft_token_ids: rising; None: all. coverage, held_out_coverage: the share of tokens that count and can be drafted.
    """

    corpus: Corpus
    trained: tuple[int, ...]
    held_out: Corpus
    held: tuple[int, ...]
    draft_token_ids: tuple[int, ...] | None
    coverage: float
    held_out_coverage: float

    def settings(self) -> dict[str, Any]:
        """Return, by option, what must not change for a run to be resumed exactly."""
        return {"--data": self.corpus.digest(), "--held-out": [self.held_out.digest(), len(self.held)]}

    def notes(self) -> Iterator[str]:
        """Yield what is not quite as one would think."""
        for corpus in dict.fromkeys((self.corpus.file, self.held_out.file)):
            of_file = self.corpus if corpus == self.corpus.file else self.held_out
            if of_file.num_unmarked:
                what = "conversations of which the chat template does not tell the answers"
                yield f"{corpus}: {of_file.num_unmarked:,} {what}: all of their tokens count"


def read_material(plan: TrainingPlan, vocab_size: int) -> Material:
    """Return what a run learns from.

    Raises InputError, one line, for files that cannot be read, or have no text that is long enough.
    """
    home = plan.home
    tokenizer = ByteTokenizer() if plan.is_built_in else None if home is None else load_tokenizer(home)
    encoder = Encoder(tokenizer, lambda: _template(home, plan.model_name), vocab_size, plan.model_name)
    corpus = read_corpus(plan.data, documents(plan.data), encoder, plan.sequence_length)
    if isinstance(plan.held_out, Path):
        held_out = read_corpus(plan.held_out, documents(plan.held_out), encoder, plan.sequence_length)
        split = Split(tuple(range(len(corpus.spans))), tuple(range(len(held_out.spans))))
    else:
        held_out, split = corpus, split_by_document(corpus, plan.held_out, plan.seed)
    counts = count_tokens(corpus.counted_tokens(split.trained), vocab_size)
    of_held_out = count_tokens(held_out.counted_tokens(split.held_out), vocab_size)
    ids = None if plan.draft_vocab is None else most_frequent(counts, plan.draft_vocab)
    return Material(
        corpus, split.trained, held_out, split.held_out, ids, coverage(counts, ids), coverage(of_held_out, ids)
    )


def _template(home: Path | None, name: str) -> ChatTemplate:
    if home is None:
        raise InputError(f"{name}: has no files, and so no chat template: give texts or token ids")
    return ChatTemplate(home)


def count_tokens(windows: Iterable[Tensor], vocab_size: int) -> Tensor:
    """Return how often each token id occurs, int64 (vocab_size,)."""
    total, held = torch.zeros(vocab_size, dtype=torch.int64), list[Tensor]()
    for tokens in windows:
        held.append(tokens)
        if len(held) == _TEXTS:
            total += torch.cat(held).bincount(minlength=vocab_size)
            held.clear()
    return total + torch.cat(held).bincount(minlength=vocab_size) if held else total


def most_frequent(counts: Tensor, size: int) -> tuple[int, ...]:
    """Return the `size` token ids with the largest counts, rising; of equal ones the lower first."""
    order = torch.sort(counts, descending=True, stable=True).indices
    return tuple(sorted(order[:size].tolist()))


def coverage(counts: Tensor, ids: tuple[int, ...] | None) -> float:
    """Return the share of counted tokens that are among `ids`; None: all are."""
    total = int(counts.sum())
    return 1.0 if ids is None or not total else int(counts[list(ids)].sum()) / total
