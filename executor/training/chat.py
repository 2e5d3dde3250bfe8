"""Conversations as the target reads them: by the chat template of its directory, and which tokens are an answer.

The only user of transformers, which reads files of that directory alone and runs no code of theirs but the template,
in its sandbox.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from executor.training.texts import Message
from spdsim.errors import InputError

_MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")
"""How a template says itself where answers begin."""

Marked = tuple[tuple[int, ...], tuple[bool, ...] | None]
"""Token ids, and which of them are an assistant's; None: nobody can tell."""


class ChatTemplate:
    """The chat template of a model's directory. Raises InputError where it has none, or none that can be read."""

    def __init__(self, directory: Path) -> None:
        try:
            from transformers import AutoTokenizer
        except ImportError:
            raise InputError(
                f"{directory}: chats need the transformers library: pip install 'spdsim[executor]'"
            ) from None
        try:
            self._rules: Any = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # what a strange file makes the library raise is no fixed set
            raise InputError(f"{directory}: has no tokenizer that can be read: {_one_line(error)}") from None
        if not self._rules.chat_template:
            rule = 'conversations need one: write each as {"text": …}, or add a chat_template.jinja'
            raise InputError(f"{directory}: has no chat template: {rule}")
        self._is_marked = bool(_MARKED.search(str(self._rules.chat_template)))

    def encode(self, messages: Sequence[Message], where: str) -> Marked:
        """Return the tokens of a conversation. where: names it in an error.

        Answers are known where the template marks them (`{% generation %}`), or where what it writes before an answer
        and after it begins what it writes of the whole. Raises InputError if the template refuses the conversation.
        """
        said = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return self._by_marks(said) if self._is_marked else self._by_beginnings(said)
        except Exception as error:  # a template may raise anything
            raise InputError(f"{where}: the model's chat template refuses it: {_one_line(error)}") from None

    def _by_marks(self, said: list[dict[str, str]]) -> Marked:
        found = self._rules.apply_chat_template(said, return_dict=True, return_assistant_tokens_mask=True)
        return tuple(found["input_ids"]), tuple(map(bool, found["assistant_masks"]))

    def _by_beginnings(self, said: list[dict[str, str]]) -> Marked:
        whole = self._written(said)
        found = self._rules(whole, add_special_tokens=False, return_offsets_mapping=True)
        answers = self._answers(said, whole)
        if answers is None:
            return tuple(found["input_ids"]), None
        # A token is an answer's if it ends within it: one that began before would not have been written by it alone.
        marks = (any(start < end <= stop for start, stop in answers) for _, end in found["offset_mapping"])
        return tuple(found["input_ids"]), tuple(marks)

    def _answers(self, said: list[dict[str, str]], whole: str) -> list[tuple[int, int]] | None:
        """Where answers begin and end in what the template writes; None where that cannot be told."""
        answers = []
        for number, message in enumerate(said):
            if message["role"] == "assistant":
                before = self._written(said[:number], add_generation_prompt=True) if number else ""
                after = self._written(said[: number + 1])
                if not (whole.startswith(before) and whole.startswith(after)) or len(before) >= len(after):
                    return None
                answers.append((len(before), len(after)))
        return answers

    def _written(self, said: list[dict[str, str]], **options: bool) -> str:
        return str(self._rules.apply_chat_template(said, tokenize=False, **options))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
