"""The documents of a data file, read one after another: text in UTF-8, or JSON lines.

A line of JSON is {"text": …}, a conversation ({"messages": [{"role", "content"}, …]} or {"conversations": [{"from",
"value"}, …]}), or {"tokens": [1, 2, 3]}. Anything else in a file is text, one document.

Standard library only; knows nothing of tokenizers. Never holds more of a file than a document, or a part of one.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from spdsim.errors import InputError
from spdsim.files import parse_json

JSON_LINES = (".jsonl", ".ndjson")
PART_BYTES = 2**20
"""Of a text that are read at a time, and on to the end of the line."""

_MARK = b"\xef\xbb\xbf"
_ROLES = {"human": "user", "gpt": "assistant"}
"""As conversations call them that others collected."""


@dataclass(frozen=True, slots=True)
class Message:
    """What one side of a conversation said. role: "system", "user", "assistant", or as the file says."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text that is token ids already."""

    ids: tuple[int, ...]


Content = str | Chat | Tokens


@dataclass(frozen=True, slots=True)
class Document:
    """What stands at a line of a file. continues: it is the next part of the document before it."""

    line: int
    content: Content
    continues: bool = False


_EMPTY: tuple[Content, ...] = ("", Chat(()), Tokens(()))


def documents(file: Path) -> Iterator[Document]:
    """Yield what is in a file, in its order; empty texts and empty lines are left out.

    Raises InputError, one line, for a file or a line of it that is not as this module's text says.
    """
    if file.suffix.lower() == ".json":
        rule = "must be JSON lines, one document a line, in a file called .jsonl, or text"
        raise InputError(f"{file}: is called .json: {rule}")
    try:
        with file.open("rb") as stream:
            yield from _of_lines(file, stream) if file.suffix.lower() in JSON_LINES else _of_text(file, stream)
    except FileNotFoundError:
        raise InputError(f"{file}: there is no such file") from None
    except IsADirectoryError:
        raise InputError(f"{file}: is a directory: must be a file") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from None


def _of_text(file: Path, stream: BinaryIO) -> Iterator[Document]:
    line, has_begun = 1, False
    while lines := stream.readlines(PART_BYTES):
        text = _text(b"".join(lines), file, line)
        if text.strip() or has_begun:
            yield Document(line, text, has_begun)
            has_begun = True
        line += len(lines)


def _of_lines(file: Path, stream: BinaryIO) -> Iterator[Document]:
    for line, raw in enumerate(stream, start=1):
        if raw.strip():
            content = _content(_text(raw, file, line), f"{file}:{line}")
            if content not in _EMPTY:
                yield Document(line, content)


def _text(raw: bytes, file: Path, line: int) -> str:
    """The text of some lines, of which the first is number `line`."""
    if line == 1:
        raw = raw.removeprefix(_MARK)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file}:{line + raw.count(10, 0, error.start)}: is not text in UTF-8") from None


def _content(written: str, where: str) -> Content:
    data = parse_json(written, where)
    if not isinstance(data, dict):
        raise InputError(f'{where}: is {_kind(data)}: must be a mapping with "text" or "messages"')
    for key in ("messages", "conversations"):
        if key in data:
            return _messages(data[key], f"{where}: {key}")
    if "tokens" in data:
        return _tokens(data["tokens"], f"{where}: tokens")
    if "text" not in data:
        keys = ", ".join(map(str, data)) or "nothing"
        raise InputError(f'{where}: has {keys}: must have one of "text", "messages", "conversations", "tokens"')
    if not isinstance(data["text"], str):
        raise InputError(f"{where}: text is {_kind(data['text'])}: must be a string")
    return _whole(data["text"])


def _whole(text: str) -> str:
    """The text with U+FFFD for halves of characters, which JSON can spell and nothing can encode."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _messages(written: Any, where: str) -> Chat:
    if not isinstance(written, list):
        raise InputError(f"{where} is {_kind(written)}: must be a list of messages")
    return Chat(tuple(_message(each, f"{where}[{number}]") for number, each in enumerate(written)))


def _message(written: Any, where: str) -> Message:
    data = written if isinstance(written, Mapping) else {}
    role, content = data.get("role", data.get("from")), data.get("content", data.get("value"))
    if not isinstance(role, str) or not isinstance(content, str):
        raise InputError(f'{where}: must have "role" and "content", or "from" and "value", both strings')
    return Message(_ROLES.get(role, role), _whole(content))


def _tokens(written: Any, where: str) -> Tokens:
    if not isinstance(written, list) or not all(type(token) is int for token in written):
        raise InputError(f"{where}: must be a list of token ids, such as [1, 2, 3]")
    return Tokens(tuple(written))


def _kind(value: Any) -> str:
    """What JSON calls a value of this type."""
    match value:
        case None | bool():
            return json.dumps(value)
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "a mapping"
