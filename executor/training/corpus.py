"""The tokens of a data file, cut into windows: what is trained on, or held out.

A window holds tokens of one document only, at most S, so that nothing attends from one text to another. A document
gives its tokens in turn, each once, and every window begins as texts of this model do (the tokenizer's opening tokens),
wherever in its document it is cut. A document, or the rest of one, of fewer than `LEAST_TOKENS` tokens is left out.

Held in memory are the token ids, 4 bytes each, and a byte for whether each counts: never the text.
Shapes: S tokens of a window, N of the file.
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from executor.training.encoding import Encoder
from executor.training.texts import Chat, Document
from spdsim.errors import InputError

LEAST_TOKENS = 16
"""A shorter text, or rest of one, teaches little for the cost of a pass."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a window lies: tokens `start` to `stop` - 1 of the file, of its document number `document`.

    line: where the document begins. offset: tokens of the document before the window. is_last: it is the document's
    last one. num_counted: rows that count.
    """

    document: int
    line: int
    start: int
    stop: int
    offset: int
    is_last: bool
    num_counted: int

    @property
    def num_tokens(self) -> int:
        """Its tokens, without an opening."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Window:
    """What one pass reads: token ids, int64, and how much each row counts; None: all alike."""

    tokens_S: Tensor
    weights_S: Tensor | None

    def to(self, device: torch.device) -> "Window":
        """Return the same on a device."""
        return Window(self.tokens_S.to(device), None if self.weights_S is None else self.weights_S.to(device))


@dataclass(frozen=True, slots=True)
class Corpus:
    """The tokens of a file and its windows, in its order.

    tokens_N: token ids, int32. counts_N: whether each token does, 0 or 1, uint8. num_documents: those with a window.
    num_left_out: tokens of no window. num_unmarked: conversations in which nobody can tell the answers, so that all of
    their tokens count.
    """

    file: Path
    opening: tuple[int, ...]
    tokens_N: Tensor
    counts_N: Tensor
    spans: tuple[Span, ...]
    num_documents: int
    num_left_out: int
    num_unmarked: int

    def window(self, number: int) -> Window:
        """Return a window."""
        span = self.spans[number]
        opening = torch.tensor(self.opening if span.offset else (), dtype=torch.int64)
        tokens_S = torch.cat((opening, self.tokens_N[span.start : span.stop].long()))
        deciding = (self.counts_N[part] for part in _deciding(span.start, span.stop, span.is_last))
        weights_S = torch.cat((torch.zeros(len(opening)), *deciding))
        return Window(tokens_S, None if bool(weights_S.all()) else weights_S)

    def where(self, number: int) -> str:
        """Return in words where a window is: the file, the line at which its document begins, and which tokens."""
        span = self.spans[number]
        tokens = f"tokens {span.offset:,} to {span.offset + span.num_tokens - 1:,}"
        return f"{self.file}:{span.line}, {tokens} of its document"

    def counted_tokens(self, numbers: Iterable[int]) -> Iterator[Tensor]:
        """Yield the token ids of each window that count, int64."""
        for span in (self.spans[number] for number in numbers):
            rows = slice(span.start, span.stop)
            yield self.tokens_N[rows][self.counts_N[rows].bool()].long()

    def digest(self) -> str:
        """Return what tells these tokens from others."""
        key = blake2b(self.tokens_N.numpy().data, digest_size=16)
        key.update(self.counts_N.numpy().data)
        key.update(repr((self.opening, [(span.start, span.stop) for span in self.spans])).encode())
        return key.hexdigest()


def read_corpus(file: Path, documents: Iterable[Document], encoder: Encoder, sequence_length: int) -> Corpus:
    """Return the windows of at most `sequence_length` tokens of what is in a file.

    Raises InputError where the file has no window, or as `documents` and `encoder` do.
    """
    if sequence_length <= (num_opening := len(encoder.opening)):
        rule = f"must be more than the {num_opening} tokens that begin every text of this model"
        raise InputError(f"--sequence-length is {sequence_length}: {rule}")
    reading = _Reading(sequence_length, encoder.opening)
    num_unmarked = 0
    for document in documents:
        tokens, marks = encoder.encode(document, f"{file}:{document.line}")
        num_unmarked += marks is None and isinstance(document.content, Chat)
        if not document.continues:
            reading.begin(document.line)
        reading.add(tokens, marks)
    reading.cut()
    if not reading.spans:
        raise InputError(f"{file}: {reading.why_empty()}")
    # The memory in which they were gathered.
    tokens_N = torch.frombuffer(reading.tokens, dtype=torch.int32)
    counts_N = torch.frombuffer(reading.counts, dtype=torch.uint8)
    return Corpus(
        file, encoder.opening, tokens_N, counts_N, tuple(reading.spans),
        len({span.document for span in reading.spans}), reading.num_left_out, num_unmarked,
    )  # fmt: skip


class _Reading:
    """A file while it is read: of the document at hand the tokens are there, and not yet the windows."""

    def __init__(self, sequence_length: int, opening: tuple[int, ...]) -> None:
        self.tokens, self.counts, self.spans = array("i"), bytearray(), list[Span]()
        self.num_left_out = self._longest = 0
        self._length, self._opening = sequence_length, opening
        self._document, self._line, self._start = -1, 0, 0

    def begin(self, line: int) -> None:
        """Begin a document at a line of the file."""
        self.cut()
        self._document, self._line, self._start = self._document + 1, line, len(self.tokens)

    def add(self, tokens: tuple[int, ...], marks: tuple[bool, ...] | None) -> None:
        """Add tokens to the document; marks: which of them count; None: all."""
        self.tokens.extend(tokens)
        self.counts.extend(b"\x01" * len(tokens) if marks is None else marks)

    def cut(self) -> None:
        """Cut the document at hand into windows."""
        start, end = self._start, len(self.tokens)
        self._longest = max(self._longest, end - start)
        while start < end:
            offset = start - self._start
            num_opening = len(self._opening) if offset else 0
            stop = min(end, start + self._length - num_opening)
            num_counted = sum(sum(self.counts[part]) for part in _deciding(start, stop, stop == end))
            if num_opening + stop - start < LEAST_TOKENS or not num_counted:
                self.num_left_out += stop - start
            else:
                span = Span(self._document, self._line, start, stop, offset, stop == end, num_counted)
                self.spans.append(span)
            start = stop
        self._start = end

    def why_empty(self) -> str:
        """Return why there is no window."""
        if self._document < 0:
            return "is empty: must have text"
        if self._longest < LEAST_TOKENS:
            return f"has no text of {LEAST_TOKENS} tokens: the longest has {self._longest}: must have a longer one"
        return "has no token that counts: must have a conversation with an answer, or text"


def _deciding(start: int, stop: int, is_last: bool) -> tuple[slice, slice]:
    """The tokens that decide whether rows `start` to `stop` - 1 count, one each: those after them.

    After the last row of a document there is none: it counts like its own token.
    """
    return slice(start + 1, stop + (not is_last)), slice(stop - 1, stop - (not is_last))
