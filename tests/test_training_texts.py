"""From data files to windows: documents, tokens that count, what is held out, and the draft vocabulary."""

import json
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from executor.model.small import END_TOKEN
from executor.text.byte_file import write_byte_tokenizer
from executor.text.tokenizer import ByteTokenizer, load_tokenizer
from executor.training import texts
from executor.training.batches import Order, split_by_document, spread
from executor.training.chat import ChatTemplate
from executor.training.corpus import LEAST_TOKENS, Corpus, read_corpus
from executor.training.encoding import Encoder
from executor.training.material import count_tokens, coverage, most_frequent, read_material
from executor.training.steps import fill_of_step, fill_shares
from executor.training.texts import Chat, Document, Message, Tokens, documents
from spdsim.acceptance_fit.verdicts import fill_depths
from spdsim.errors import InputError
from tests.training_runs import random_texts, token_lines, training_plan

VOCAB = 258


class Opened(ByteTokenizer):
    """Bytes, with a token that begins every text."""

    opening = (257,)


def no_template() -> ChatTemplate:
    raise AssertionError("there is no conversation")


def encoder(tokenizer: Any = None) -> Encoder:
    return Encoder(tokenizer or ByteTokenizer(), no_template, VOCAB, "the model")


def corpus_of(found: list[Document], length: int = 32, tokenizer: Any = None) -> Corpus:
    return read_corpus(Path("data.jsonl"), found, encoder(tokenizer), length)


# Documents.


def test_a_text_file_is_one_document_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts end with a line; their lines are counted, and together they are the file, without a mark."""
    monkeypatch.setattr(texts, "PART_BYTES", 10)
    file = tmp_path / "a.txt"
    file.write_text("\ufeffünfzehn\nzwei\ndrei und\n\nmehr", encoding="utf-8")
    found = list(documents(file))
    assert len(found) > 1 and [document.continues for document in found] == [False] + [True] * (len(found) - 1)
    parts = [document.content for document in found if isinstance(document.content, str)]
    assert "".join(parts) == "ünfzehn\nzwei\ndrei und\n\nmehr"
    assert [document.line for document in found] == [1 + "".join(parts[:n]).count("\n") for n in range(len(parts))]


def test_each_line_of_json_is_a_document(tmp_path: Path) -> None:
    """Text, both kinds of conversations, and tokens; with line numbers, whatever lines are empty."""
    lines = [
        '\ufeff{"text": "half \\ud800 a character", "id": 3}', "", '{"text": ""}',
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
        '{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}', '{"tokens": [1, 2]}',
    ]  # fmt: skip
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    chat = Chat((Message("user", "a"), Message("assistant", "b")))
    text = "half \N{REPLACEMENT CHARACTER} a character"
    assert list(documents(file)) == [
        Document(1, text),
        Document(4, chat),
        Document(5, chat),
        Document(6, Tokens((1, 2))),
    ]


BAD_LINES = {
    "no json": ('{"text"', r"is not JSON: Expecting ':' delimiter"),
    "a list": ('["text"]', 'is a list: must be a mapping with "text" or "messages"'),
    "neither": ('{"content": 1}', 'has content: must have one of "text", "messages"'),
    "nothing": ("{}", "has nothing: must have one of"),
    "no string": ('{"text": 5}', "text is a number: must be a string"),
    "no messages": ('{"messages": {}}', "messages is a mapping: must be a list of messages"),
    "no content": ('{"messages": [{"role": "user"}]}', r'messages[0]: must have "role" and "content"'),
    "no tokens": ('{"tokens": [1, true]}', "tokens: must be a list of token ids, such as [1, 2, 3]"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_line_that_is_no_document_is_refused_with_its_number(name: str, tmp_path: Path) -> None:
    written, rule = BAD_LINES[name]
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "good"}\n\n' + written + "\n")
    with pytest.raises(InputError, match=re.escape(f"{file}:3: ") + ".*" + re.escape(rule)) as refusal:
        list(documents(file))
    assert "\n" not in str(refusal.value)


def _bytes(file: Path) -> Path:
    file.write_bytes(b"one\ntwo\n\xff\n")
    return file


BAD_FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "not there": (lambda directory: directory / "a.txt", "a.txt: there is no such file"),
    "a directory": (lambda directory: directory, "is a directory: must be a file"),
    "no UTF-8": (lambda directory: _bytes(directory / "a.txt"), "a.txt:3: is not text in UTF-8"),
    "no UTF-8 in JSON": (lambda directory: _bytes(directory / "a.jsonl"), "a.jsonl:1: is not JSON"),
    "one JSON": (lambda directory: directory / "a.json", "a.json: is called .json: must be JSON lines"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_no_text_is_refused(name: str, tmp_path: Path) -> None:
    make, rule = BAD_FILES[name]
    with pytest.raises(InputError, match=re.escape(rule)):
        list(documents(make(tmp_path)))


# Windows.


@given(st.lists(st.integers(0, 150), min_size=1, max_size=8), st.integers(16, 40), st.booleans())
def test_windows_hold_every_token_once_and_no_two_documents(sizes: list[int], length: int, is_opened: bool) -> None:
    """But for rests that are too short; each begins with the opening, and none is longer than asked."""
    found = [Document(n + 1, chr(97 + n) * size) for n, size in enumerate(sizes)]
    opening = (257,) if is_opened else ()
    tokenizer = Opened() if is_opened else None
    if max(sizes) + len(opening) < LEAST_TOKENS:
        with pytest.raises(InputError, match=r"^data\.jsonl: has no text of 16 tokens: the longest has "):
            corpus_of(found, length, tokenizer)
        return
    corpus = corpus_of(found, length, tokenizer)
    seen = Counter[int]()
    for number, span in enumerate(corpus.spans):
        tokens = corpus.window(number).tokens_S.tolist()
        assert LEAST_TOKENS <= len(tokens) <= length and tuple(tokens[: len(opening)]) == opening
        assert set(tokens[len(opening) :]) == {96 + span.line}
        seen.update(tokens[len(opening) :])
    for n, size in enumerate(sizes):
        assert seen[97 + n] <= size and size - seen[97 + n] < LEAST_TOKENS
    left_out = sum(sizes) + len(opening) * len(sizes) - sum(span.num_tokens for span in corpus.spans)
    assert corpus.num_left_out == left_out


def test_a_row_counts_if_the_token_after_it_does() -> None:
    """Across the end of a window; windows in which nothing counts are left out."""

    class Marked(Encoder):
        def encode(self, document: Document, where: str) -> Any:
            return tuple(range(64)), tuple(40 <= token < 50 or token == 63 for token in range(64))

    made = Marked(ByteTokenizer(), no_template, VOCAB, "the model")
    corpus = read_corpus(Path("a"), [Document(1, Chat(()))], made, 20)
    assert [(span.start, span.stop) for span in corpus.spans] == [(20, 40), (40, 60)]
    first, second = corpus.window(0), corpus.window(1)
    assert first.weights_S is not None and second.weights_S is not None
    assert first.weights_S.tolist() == [0.0] * 19 + [1.0]
    assert second.weights_S.tolist() == [1.0] * 9 + [0.0] * 11
    assert [span.num_counted for span in corpus.spans] == [1, 9]
    assert torch.cat(list(corpus.counted_tokens([0, 1]))).tolist() == list(range(40, 50))
    assert corpus.where(1) == "a:1, tokens 40 to 59 of its document"


@pytest.mark.parametrize(
    ("found", "rule"),
    [
        ([], "data.jsonl: is empty: must have text"),
        ([Document(1, "short"), Document(2, "shorter")], "has no text of 16 tokens: the longest has 7: must have"),
        ([Document(7, Tokens((1, 300, 2)))], "data.jsonl:7: token id 300: must be 0 to 257, in the vocabulary of"),
        ([Document(7, Tokens((1, -3, 2)))], "data.jsonl:7: token id -3: must be 0 to 257"),
    ],
)
def test_data_that_gives_no_window_is_refused(found: list[Document], rule: str) -> None:
    with pytest.raises(InputError, match=re.escape(rule)):
        corpus_of(found)


def test_text_needs_a_tokenizer_and_tokens_do_not() -> None:
    bare = Encoder(None, no_template, VOCAB, "the model")
    assert bare.encode(Document(1, Tokens((5, 6))), "a:1") == ((5, 6), None)
    with pytest.raises(InputError, match=r"^a:1: the model has no tokenizer\.json: write token ids instead of text"):
        bare.encode(Document(1, "text"), "a:1")


# What is held out.


def test_documents_are_held_out_whole_and_of_one_document_the_end() -> None:
    many = corpus_of([Document(n + 1, "x" * (20 + 7 * n)) for n in range(20)])
    split = split_by_document(many, 0.2, seed=3)
    owners = [{many.spans[number].document for number in numbers} for numbers in (split.trained, split.held_out)]
    assert len(owners[1]) == 4 and not owners[0] & owners[1]
    assert sorted(split.trained + split.held_out) == list(range(len(many.spans)))
    assert split_by_document(many, 0.2, seed=3) == split != split_by_document(many, 0.2, seed=4)
    one = corpus_of([Document(1, "x" * 320)])
    assert split_by_document(one, 0.2, seed=3).held_out == (8, 9)
    assert split_by_document(one, 0.99, seed=3).trained == (0,)
    with pytest.raises(InputError, match="is one sequence of --sequence-length tokens at most: must be two"):
        split_by_document(corpus_of([Document(1, "x" * 30)]), 0.2, seed=3)


@given(st.integers(1, 20), st.integers(1, 5), st.integers(0, 3))
def test_every_window_comes_once_an_epoch(count: int, per_step: int, seed: int) -> None:
    """In another order each time; whoever asks for a step gets the same windows, whatever was asked before."""
    order, other = (Order(range(100, 100 + count), per_step, seed) for _ in range(2))
    steps = order.steps_of(3)
    drawn = [window for step in range(steps) for window in order.of_step(step)]
    for epoch in range(3):
        assert sorted(drawn[epoch * count : (epoch + 1) * count]) == list(range(100, 100 + count))
    assert other.of_step(steps - 1) == drawn[(steps - 1) * per_step : steps * per_step]
    assert 0 <= len(drawn) - 3 * count < per_step


def test_fills_as_published_are_full_half_of_the_time_and_else_alike() -> None:
    shares = fill_shares(4, None)
    fills = Counter(fill_of_step(5, step, shares) for step in range(4000))
    assert sorted(fills) == [1, 2, 3, 4] and abs(fills[4] - 2000) < 150
    assert all(abs(fills[fill] - 2000 / 3) < 100 for fill in (1, 2, 3))
    assert [fill_of_step(5, step, shares) for step in range(40)] != [
        fill_of_step(6, step, shares) for step in range(40)
    ]


@pytest.mark.parametrize("p", [0.0, 0.6, 0.9])
@pytest.mark.parametrize("stages", [2, 5])
def test_fills_are_drawn_as_often_as_their_drafts_are_verified(p: float, stages: int) -> None:
    """Against the schedule itself, with coins of that acceptance."""
    coins = Random(1)
    accepted = [coins.random() < p for _ in range(20_000)]
    counts = Counter(fill_depths(accepted, stages))
    for fill, share in enumerate(fill_shares(stages, p), 1):
        assert counts[fill] / len(accepted) == pytest.approx(share, abs=0.015)


def test_a_few_are_spread_over_all() -> None:
    assert spread(range(5), 9) == (0, 1, 2, 3, 4)
    few = spread(range(100), 7)
    assert len(few) == 7 and all(13 <= right - left <= 16 for left, right in pairwise(few))


# The draft vocabulary.


@given(st.lists(st.lists(st.integers(0, 19), min_size=1), min_size=1), st.integers(1, 20))
def test_the_draft_vocabulary_covers_as_much_as_any_of_its_size(tokens: list[list[int]], size: int) -> None:
    counts = count_tokens(map(torch.tensor, tokens), 20)
    told = Counter(token for text in tokens for token in text)
    assert counts.tolist() == [told[token] for token in range(20)]
    ids = most_frequent(counts, size)
    assert len(ids) == size and all(left < right for left, right in pairwise(ids))
    best = sum(count for _, count in told.most_common(size))
    assert coverage(counts, ids) == pytest.approx(best / sum(told.values())) and coverage(counts, None) == 1.0


def test_coverage_is_told_of_what_is_trained_and_of_what_is_held_out(tmp_path: Path) -> None:
    """The vocabulary is that of the training text alone."""
    data = token_lines(tmp_path / "data.jsonl", [[1, 2] * 16, [1, 3] * 16, [1, 2] * 16])
    other = token_lines(tmp_path / "other.jsonl", [[1, 3, 5, 7] * 8])
    material = read_material(training_plan(tmp_path, data, held_out=other, draft_vocab=2), 64)
    assert material.draft_token_ids == (1, 2)
    assert (material.coverage, material.held_out_coverage) == (80 / 96, 0.25)
    assert (material.trained, material.held) == ((0, 1, 2), (0,))
    split = read_material(training_plan(tmp_path, token_lines(data, random_texts()), held_out=0.2), 64)
    assert split.coverage == 1.0 and split.draft_token_ids is None and split.held_out is split.corpus


# Conversations.

SAID = Chat((Message("user", "ab"), Message("assistant", "cde"), Message("user", "f"), Message("assistant", "g")))
ENDS, SHORT = "<|begin|>{{ m.role[0] }}", "{{ m.content }}<|end|>"
TEMPLATES = {
    "marks": f"{{% for m in messages %}}{ENDS}{{% if m.role == 'assistant' %}}{{% generation %}}{SHORT}"
    f"{{% endgeneration %}}{{% else %}}{SHORT}{{% endif %}}{{% endfor %}}",
    "beginnings": f"{{% for m in messages %}}{ENDS}{SHORT}{{% endfor %}}"
    "{% if add_generation_prompt %}<|begin|>a{% endif %}",
    "nobody": f"{{{{ messages | length }}}}{{% for m in messages %}}{ENDS}{SHORT}{{% endfor %}}",
    "refuses": "{{ raise_exception('a conversation\nmust be polite') }}",
}


def chat_model(directory: Path, template: str | None) -> Path:
    """Write the files of a model that has a chat template, but for the model."""
    directory.mkdir(exist_ok=True)
    write_byte_tokenizer(directory / "tokenizer.json", END_TOKEN, END_TOKEN + 1)
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    if template is not None:
        (directory / "chat_template.jinja").write_text(template)
    return directory


@pytest.mark.parametrize("kind", ["marks", "beginnings", "nobody"])
def test_answers_alone_count_where_the_template_tells_them(kind: str, tmp_path: Path) -> None:
    """With their end, which is theirs to say; else all of a conversation counts, and that is told."""
    home = chat_model(tmp_path / "model", TEMPLATES[kind])
    made = Encoder(load_tokenizer(home), lambda: ChatTemplate(home), VOCAB, "the model")
    tokens, marks = made.encode(Document(1, SAID), "a:1")
    whole = [257, *b"uab", 256, 257, *b"acde", 256, 257, *b"uf", 256, 257, *b"ag", 256]
    if kind == "nobody":
        assert list(tokens) == [*b"4", *whole] and marks is None
        longer = Chat((Message("user", "a"), Message("assistant", "b" * 20)))
        corpus = read_corpus(Path("a"), [Document(1, longer)], made, 64)
        assert corpus.num_unmarked == 1 and corpus.window(0).weights_S is None
        return
    assert list(tokens) == whole and marks is not None
    counted = [token for token, mark in zip(tokens, marks, strict=True) if mark]
    assert counted == [*b"cde", 256, *b"g", 256]


def test_what_a_template_refuses_is_one_line(tmp_path: Path) -> None:
    home = chat_model(tmp_path / "model", TEMPLATES["refuses"])
    with pytest.raises(InputError, match=r"^a:4: the model's chat template refuses it: a conversation must be polite$"):
        ChatTemplate(home).encode(SAID.messages, "a:4")
    bare = chat_model(tmp_path / "bare", None)
    with pytest.raises(InputError, match="has no chat template: conversations need one: write each as"):
        ChatTemplate(bare)
    (bare / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="has no tokenizer that can be read: ") as refusal:
        ChatTemplate(bare)
    assert "\n" not in str(refusal.value)
