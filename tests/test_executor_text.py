"""Text and token ids: streams of text are the text, and never half a character."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.text.byte_file import write_byte_tokenizer
from executor.text.printable import printable
from executor.text.tokenizer import TOKENIZER, ByteTokenizer, FileTokenizer, Tokenizer, load_tokenizer
from spdsim.errors import InputError

END, BEGIN = 256, 257
PIECES = ["▁once", "▁upon", "▁a", "▁pipe", "line", "é", "東", *(f"<0x{byte:02X}>" for byte in range(256))]
"""A vocabulary as sentencepiece models have it: words that carry their space, and bytes for what is no word."""


FEW = settings(max_examples=40, deadline=None)
# Without "|": `<|end|>` in a text is a special token.
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="|"), max_size=40)


def of_bytes(directory: Path) -> FileTokenizer:
    write_byte_tokenizer(directory / TOKENIZER, END, BEGIN)
    found = load_tokenizer(directory)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def file_of_bytes(tmp_path_factory: pytest.TempPathFactory) -> FileTokenizer:
    """The byte tokenizer, as a file."""
    return of_bytes(tmp_path_factory.mktemp("bytes"))


@pytest.fixture(scope="module")
def file_of_words(tmp_path_factory: pytest.TempPathFactory) -> FileTokenizer:
    """Words whose first space vanishes at the beginning of a text, and bytes that fall together to characters."""
    decoder = {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ],
    }
    vocabulary = {piece: number for number, piece in enumerate(PIECES)}
    model = {"type": "BPE", "vocab": vocabulary, "merges": [], "byte_fallback": True}
    directory = tmp_path_factory.mktemp("words")
    (directory / TOKENIZER).write_text(json.dumps({"version": "1.0", "model": model, "decoder": decoder}))
    found = load_tokenizer(directory)
    assert found is not None
    return found


def streamed(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[str]:
    """Return the pieces in which a text appears, the last one with its end."""
    stream = tokenizer.stream()
    return [*map(stream.put, tokens), stream.finish()]


@FEW
@given(tokens=st.lists(st.integers(0, BEGIN), max_size=40))
def test_the_pieces_of_a_stream_are_the_text(file_of_bytes: FileTokenizer, tokens: list[int]) -> None:
    """Whatever bytes there are, and special tokens between them: both byte tokenizers, and both alike."""
    for tokenizer in (ByteTokenizer(), file_of_bytes):
        assert "".join(streamed(tokenizer, tokens)) == tokenizer.decode(tuple(tokens))
    assert ByteTokenizer().decode(tuple(tokens)) == file_of_bytes.decode(tuple(tokens))


@FEW
@given(text=TEXTS)
def test_text_survives_its_tokens(file_of_bytes: FileTokenizer, text: str) -> None:
    """There and back, and the file says the same ids as the built-in tokenizer."""
    tokens = ByteTokenizer().encode(text)
    assert file_of_bytes.encode(text) == tokens
    assert ByteTokenizer().decode(tokens) == text == file_of_bytes.decode(tokens)


@FEW
@given(text=TEXTS)
def test_no_piece_holds_half_a_character(file_of_bytes: FileTokenizer, text: str) -> None:
    """Each piece is whole characters of the text: none of it is ever replaced."""
    expected = text.count("\N{REPLACEMENT CHARACTER}")
    for tokenizer in (ByteTokenizer(), file_of_bytes):
        pieces = streamed(tokenizer, tokenizer.encode(text))
        assert sum(piece.count("\N{REPLACEMENT CHARACTER}") for piece in pieces) == expected
        assert "".join(pieces) == text


@FEW
@given(words=st.lists(st.one_of(st.sampled_from(PIECES[:7]), st.sampled_from("😀ü")), max_size=20))
def test_words_and_bytes_appear_as_they_would_all_at_once(file_of_words: FileTokenizer, words: list[str]) -> None:
    """The first word loses its space, the others keep theirs; a character of several bytes appears with the last."""
    byte_0 = PIECES.index("<0x00>")
    tokens = [
        token
        for word in words
        for token in ([PIECES.index(word)] if word in PIECES else [byte_0 + byte for byte in word.encode()])
    ]
    pieces = streamed(file_of_words, tokens)
    assert "".join(pieces) == file_of_words.decode(tuple(tokens))
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


def test_a_character_appears_with_its_last_byte() -> None:
    """And what comes before it at once."""
    assert streamed(ByteTokenizer(), "a€b".encode()) == ["a", "", "", "€", "b", ""]


def test_a_stream_that_ends_within_a_character_says_so() -> None:
    """As decoding all at once would."""
    assert streamed(ByteTokenizer(), "€".encode()[:2]) == ["", "", "\N{REPLACEMENT CHARACTER}"]


def test_a_directory_without_a_tokenizer_has_none(tmp_path: Path) -> None:
    """Then tokens are numbers."""
    assert load_tokenizer(tmp_path) is None


def test_a_broken_tokenizer_is_one_line_with_its_file(tmp_path: Path) -> None:
    """Not the library's traceback."""
    (tmp_path / TOKENIZER).write_text("{}")
    with pytest.raises(InputError, match="cannot be read as a tokenizer") as error:
        load_tokenizer(tmp_path)
    assert str(error.value).startswith(str(tmp_path / TOKENIZER))
    assert "\n" not in str(error.value)


def test_nothing_that_is_printed_commands_the_terminal() -> None:
    """Line ends and tabs stay; escape and its like become pictures of themselves."""
    everything = "".join(map(chr, range(0x100)))
    shown = printable(everything)
    assert [letter for letter in shown if not (letter.isprintable() or letter in "\n\t \xa0\xad")] == []
    assert printable("a\x1b[31mb\n\tß€") == "a␛[31mb\n\tß€"
