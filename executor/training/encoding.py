"""From documents to the token ids of a target: text by its tokenizer, conversations by its chat template.

A target without a tokenizer.json takes token ids, {"tokens": [1, 2, 3]}; so does every other. The small built-in one
has no files, and its tokens are bytes.
"""

from collections.abc import Callable

from executor.text.tokenizer import Tokenizer
from executor.training.chat import ChatTemplate, Marked
from executor.training.texts import Chat, Document, Tokens
from spdsim.errors import InputError


class Encoder:
    """Encodes documents for a target.

    tokenizer: None: it has none. template: makes its chat template, once there is a conversation. vocab_size: the
    target's. home: what it is called, for errors.
    """

    def __init__(
        self, tokenizer: Tokenizer | None, template: Callable[[], ChatTemplate], vocab_size: int, home: str
    ) -> None:
        self._tokenizer, self._make_template, self._vocab_size, self._home = tokenizer, template, vocab_size, home
        self._template: ChatTemplate | None = None
        self.opening = () if tokenizer is None else tokenizer.opening

    def encode(self, document: Document, where: str) -> Marked:
        """Return the tokens of a document, and which of them count; None: all. where: names it in an error.

        Raises InputError, one line, for a document that this target cannot read.
        """
        match document.content:
            case str(text):
                tokens, marks = self._of_text(text, document.continues, where), None
            case Tokens(ids):
                tokens, marks = ids, None
            case Chat(messages):
                if self._template is None:
                    self._template = self._make_template()
                tokens, marks = self._template.encode(messages, where)
        for token in (min(tokens, default=0), max(tokens, default=0)):
            if not 0 <= token < self._vocab_size:
                rule = f"must be 0 to {self._vocab_size - 1}, in the vocabulary of {self._home}"
                raise InputError(f"{where}: token id {token}: {rule}")
        return tokens, marks

    def _of_text(self, text: str, continues: bool, where: str) -> tuple[int, ...]:
        if self._tokenizer is None:
            rule = 'write token ids instead of text, {"tokens": [1, 2, 3]} on each line of a .jsonl file'
            raise InputError(f"{where}: {self._home} has no tokenizer.json: {rule}")
        tokens = self._tokenizer.encode_inside(text)
        return tokens if continues else self.opening + tokens
