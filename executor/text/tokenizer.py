"""Text to token ids and back: by the tokenizer.json of a model's directory, or by the bytes of UTF-8.

Knows nothing of models; a tokenizer may know fewer ids than the model has.
"""

import codecs
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from spdsim.errors import InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Rules

TOKENIZER = "tokenizer.json"
_HALF = "\N{REPLACEMENT CHARACTER}"
_BYTES = 256


class ByteTokenizer:
    """Token ids 0 to 255 are the bytes of UTF-8; further ids have no text. opening: tokens that begin every text."""

    opening: tuple[int, ...] = ()

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the token ids of `text`."""
        return tuple(text.encode("utf-8", errors="replace"))

    def encode_inside(self, text: str) -> tuple[int, ...]:
        """Return the token ids of `text`, which others precede or follow: the same ones."""
        return self.encode(text)

    def decode(self, tokens: tuple[int, ...]) -> str:
        """Return the text of token ids; what is not UTF-8 becomes U+FFFD."""
        return bytes(token for token in tokens if token < _BYTES).decode("utf-8", errors="replace")

    def stream(self) -> "ByteStream":
        """Return a new stream of text."""
        return ByteStream()


class ByteStream:
    """The text of a sequence, byte by byte; a character appears with its last byte."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def put(self, token: int) -> str:
        """Return the text that is certain once `token` has followed the others."""
        return self._decoder.decode(bytes([token])) if token < _BYTES else ""

    def finish(self) -> str:
        """Return what was held back."""
        return self._decoder.decode(b"", final=True)


class FileTokenizer:
    """A tokenizer.json, read by the tokenizers library."""

    def __init__(self, rules: "Rules") -> None:
        self._rules = rules

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the token ids of `text`, with those that the file puts around every text."""
        return tuple(self._rules.encode(text).ids)

    def encode_inside(self, text: str) -> tuple[int, ...]:
        """Return the token ids of `text`, which others precede or follow: its own, and no more."""
        return tuple(self._rules.encode(text, add_special_tokens=False).ids)

    @property
    def opening(self) -> tuple[int, ...]:
        """The special tokens that begin every text."""
        any_text = self._rules.encode("a")
        marks = zip(any_text.ids, any_text.special_tokens_mask, strict=True)
        return tuple(token for token, _ in takewhile(lambda pair: pair[1], marks))

    def decode(self, tokens: tuple[int, ...]) -> str:
        """Return the text of token ids, without special tokens."""
        return self._rules.decode(list(tokens), skip_special_tokens=True)

    def stream(self) -> "FileStream":
        """Return a new stream of text."""
        return FileStream(self)


class FileStream:
    """The text of a sequence, token by token; a token whose last character is not whole yet is held back.

    How a token reads depends on those before it, so the tokens that gave the last piece of text are decoded along.
    """

    def __init__(self, tokenizer: FileTokenizer) -> None:
        self._tokenizer = tokenizer
        self._before: tuple[int, ...] = ()
        self._held: tuple[int, ...] = ()

    def put(self, token: int) -> str:
        """Return the text that is certain once `token` has followed the others."""
        self._held += (token,)
        text = self._new_text()
        if not text or text.endswith(_HALF):
            return ""
        self._before, self._held = self._held, ()
        return text

    def finish(self) -> str:
        """Return what was held back."""
        text, self._held = self._new_text(), ()
        return text

    def _new_text(self) -> str:
        known = self._tokenizer.decode(self._before)
        return self._tokenizer.decode(self._before + self._held)[len(known) :]


Tokenizer = ByteTokenizer | FileTokenizer


def load_tokenizer(directory: Path) -> FileTokenizer | None:
    """Return the tokenizer in `directory`; None if it has none.

    Raises InputError if its file, or the library that reads it, cannot be read.
    """
    file = directory / TOKENIZER
    if not file.is_file():
        return None
    try:
        from tokenizers import Tokenizer as Rules
    except ImportError:
        raise InputError(f"{file}: needs the tokenizers library: pip install 'spdsim[executor]'") from None
    try:
        return FileTokenizer(Rules.from_file(str(file)))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"{file}: cannot be read as a tokenizer: {' '.join(str(error).split())}") from None
