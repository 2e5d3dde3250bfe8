"""Text that is safe to print: a model may write anything, a terminal obeys some of it."""

_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"}
_TABLE = {**_PICTURES, 0x7F: 0x2421, **dict.fromkeys(range(0x80, 0xA0), 0xFFFD)}
"""Control characters become their pictures, those beyond ASCII U+FFFD."""


def printable(text: str) -> str:
    """Return `text` with a picture in place of every control character but line ends and tabs."""
    return text.translate(_TABLE)
