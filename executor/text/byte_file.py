"""A tokenizer.json whose ids 0 to 255 are the bytes of UTF-8: the byte tokenizer for programs that read files."""

from pathlib import Path

from spdsim.errors import InputError

_PRINTED = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
"""Bytes that byte-level tokenizers write as the character of the same number; the others come after number 255."""


def write_byte_tokenizer(file: Path, end_token: int, begin_token: int) -> None:
    """Write a tokenizer.json of bytes and two special tokens, `<|end|>` and `<|begin|>` in a text.

    Raises InputError if the tokenizers library is missing.
    """
    try:
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    except ImportError:
        raise InputError(f"{file}: needs the tokenizers library: pip install 'spdsim[executor]'") from None
    vocabulary = {letter: byte for byte, letter in enumerate(_letters())}
    rules = Tokenizer(models.BPE(vocab={**vocabulary, "<|end|>": end_token, "<|begin|>": begin_token}, merges=[]))
    rules.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    rules.decoder = decoders.ByteLevel()
    rules.add_special_tokens([AddedToken("<|end|>", special=True), AddedToken("<|begin|>", special=True)])
    rules.save(str(file))


def _letters() -> list[str]:
    """The character that stands for each byte, by the convention of byte-level tokenizers."""
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in _PRINTED else chr(next(others)) for byte in range(0x100)]
