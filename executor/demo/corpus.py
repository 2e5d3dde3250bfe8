"""Text that every machine has: the source of Python's standard library, and this project's own source and pages.

Gathered in one order and split by the names of the files, so that two runs on one machine read the same text, and no
file is trained on in one and held out in another. Standard library only; knows nothing of tokens.
"""

import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from spdsim.errors import InputError

LEAST_BYTES, MOST_BYTES = 200, 200_000
"""Of a file: a shorter one tells little, and a longer one is a table rather than text."""

MOST_CORPUS_BYTES = 32_000_000
"""More than any size of the demonstration can read."""

_HELD_OUT_SHARE = 0.05
_LEFT_OUT = frozenset(
    {
        "__pycache__", "dist-packages", "encodings", "ensurepip", "idle_test", "idlelib", "lib2to3", "pydoc_data",
        "site-packages", "test", "tests", "turtledemo",
    }
)  # fmt: skip
"""Directories of the standard library: what is installed beside it, tables, and tests that are larger than the rest."""


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file. name: where it came from and its path there, "python/json/decoder.py"."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class TextCorpus:
    """All that was found, in the order of names."""

    trained: tuple[TextFile, ...]
    held_out: tuple[TextFile, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of text to train on."""
        return sum(len(file.text.encode()) for file in self.trained)


def gather(roots: Iterable[tuple[str, Path, tuple[str, ...]]] | None = None) -> TextCorpus:
    """Return the text of this machine.

    roots: of each source its name, its directory and the endings of its files; None: the standard library, and this
    project where it is not installed but checked out.
    Raises InputError unless there is text to train on and text to hold out.
    """
    files: list[TextFile] = []
    num_bytes = 0
    for name, root, endings in _sources() if roots is None else roots:
        for file in _files(name, root, endings):
            num_bytes += len(file.text.encode())
            if num_bytes > MOST_CORPUS_BYTES:
                break
            files.append(file)
    marks = [is_held_out(file.name) for file in files]
    corpus = TextCorpus(
        tuple(file for file, mark in zip(files, marks, strict=True) if not mark),
        tuple(file for file, mark in zip(files, marks, strict=True) if mark),
    )
    if not (corpus.trained and corpus.held_out):
        where = sysconfig.get_paths()["stdlib"]
        raise InputError(f"{where}: has {len(files)} files of text: must have the source of Python's standard library")
    return corpus


def is_held_out(name: str) -> bool:
    """Whether the file of this name is held out, by a hash of it: one in twenty is."""
    drawn = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") / 2.0**64
    return drawn < _HELD_OUT_SHARE


def _sources() -> Iterator[tuple[str, Path, tuple[str, ...]]]:
    yield "python", Path(sysconfig.get_paths()["stdlib"]), (".py",)
    checkout = Path(__file__).parent.parent.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "spdsim").is_dir():
        # Its packages by name: beside them there may be anything.
        for part in ("spdsim", "executor", "tests", "tools", "benchmarks"):
            yield f"project/{part}", checkout / part, (".py",)
        yield "project/docs", checkout / "docs", (".md",)


def _files(name: str, root: Path, endings: tuple[str, ...]) -> Iterator[TextFile]:
    """Every file of text below a directory that is neither too short nor too long, in the order of its path."""
    found = (path for path in root.rglob("*") if path.suffix in endings and path.is_file())
    named = sorted((path.relative_to(root), path) for path in found)
    for inside, path in named:
        if name == "python" and _is_left_out(inside):
            continue
        text = _text(path)
        if text is not None:
            yield TextFile(f"{name}/{inside.as_posix()}", text)


def _is_left_out(inside: Path) -> bool:
    return any(part in _LEFT_OUT or part.startswith("config-") for part in inside.parts[:-1])


def _text(path: Path) -> str | None:
    """The text of a file; None if it is none, cannot be read or has the wrong size."""
    try:
        if not LEAST_BYTES <= path.stat().st_size <= MOST_BYTES:
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
