"""The prompts of a file: plain text, one a line, or JSON lines. Knows nothing of models."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executor.planning.prompts import check_tokens
from executor.text.tokenizer import Tokenizer
from spdsim.errors import InputError
from spdsim.files import parse_json, read_text
from spdsim.scenario.source import show

_SUFFIXES = (".jsonl", ".json")
_FORMS = '"prompt", "turns", "messages", "text" or "prompt_ids"'


@dataclass(frozen=True, slots=True)
class Written:
    """A prompt as it is written. where: file and line. text: what is to be continued. whole: all of the text.

    ids: token ids in place of a text.
    """

    where: str
    text: str
    whole: str
    ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as token ids. where: file and line."""

    where: str
    tokens: tuple[int, ...]


def read_prompts(path: Path, most: int | None = None) -> tuple[Written, ...]:
    """Return the prompts in a file, the first `most` of them.

    JSON lines where the file's name ends in .jsonl or .json or its first line begins with a brace: a mapping with
    "prompt" or "text", "turns" (a list, whose first is continued), "messages" (of which the first user's is) or
    "prompt_ids". Else text, a prompt a line; empty lines are none.
    Raises InputError, one line with the file and the number of the line.
    """
    lines = [(number, line) for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
    if not lines:
        raise InputError(f"{path}: is empty: must have a prompt a line")
    is_json = path.suffix.lower() in _SUFFIXES or lines[0][1].lstrip().startswith("{")
    read = _of_json if is_json else _of_text
    return tuple(read(line, f"{path}:{number}") for number, line in lines[:most])


def encoded(
    prompts: tuple[Written, ...], tokenizer: Tokenizer | None, home: str, vocab_size: int, *, is_whole: bool
) -> Iterator[Prompt]:
    """Yield the prompts as token ids. is_whole: all of each text. home: what the model is called, for errors.

    Raises InputError for a text without a tokenizer, a prompt without a token, or ids beyond the vocabulary.
    """
    for prompt in prompts:
        tokens = prompt.ids
        if tokens is None:
            if tokenizer is None:
                raise InputError(f'{prompt.where}: {home} has no tokenizer.json: must be JSON lines with "prompt_ids"')
            tokens = tokenizer.encode(prompt.whole if is_whole else prompt.text)
        if not tokens:
            raise InputError(f"{prompt.where}: is empty: must have at least one token")
        check_tokens(f"{prompt.where}: prompt", tokens, vocab_size)
        yield Prompt(prompt.where, tokens)


def _of_text(line: str, where: str) -> Written:
    text = line.rstrip("\r")
    return Written(where, text, text)


def _of_json(line: str, where: str) -> Written:
    entry = parse_json(line, where)
    if not isinstance(entry, dict):
        raise InputError(f"{where}: is {show(entry)}: must be a mapping with {_FORMS}")
    for key in ("prompt", "text"):
        if key in entry:
            text = _text(entry[key], key, where)
            return Written(where, text, text)
    if "turns" in entry:
        turns = [_text(turn, "turns", where) for turn in _list(entry["turns"], "turns", where)]
        return Written(where, turns[0], "\n".join(turns))
    if "messages" in entry:
        return _of_messages(_list(entry["messages"], "messages", where), where)
    if "prompt_ids" in entry:
        ids = _list(entry["prompt_ids"], "prompt_ids", where)
        if not all(type(token) is int for token in ids):
            raise InputError(f"{where}: prompt_ids is {show(ids)}: must be a list of token ids")
        return Written(where, "", "", tuple(ids))
    raise InputError(f"{where}: is {show(entry)}: must have {_FORMS}")


def _of_messages(messages: list[Any], where: str) -> Written:
    """The first that a user says is continued; without one the first."""
    contents = []
    for message in messages:
        if not isinstance(message, dict) or "content" not in message:
            raise InputError(f'{where}: messages has {show(message)}: must be mappings with "role" and "content"')
        contents.append((message.get("role"), _text(message["content"], "content", where)))
    asked = next((text for role, text in contents if role == "user"), contents[0][1])
    return Written(where, asked, "\n".join(text for _, text in contents))


def _list(value: Any, key: str, where: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise InputError(f"{where}: {key} is {show(value)}: must be a list with at least one entry")
    return value


def _text(value: Any, key: str, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: {key} is {show(value)}: must be text")
    return value
