"""Reading text with one clear error, and writing files so that a reader sees the whole file or none of it.

Standard library only.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from spdsim.errors import InputError


def read_text(path: str | os.PathLike[str], error_type: type[InputError] = InputError) -> str:
    """Return the text of a file (UTF-8, with or without a mark).

    Raises `error_type`, one line: the file, and why it cannot be read.
    """
    name = os.fspath(path)
    try:
        raw = Path(name).read_bytes()
    except FileNotFoundError:
        raise error_type(f"{name}: there is no such file") from None
    except IsADirectoryError:
        raise error_type(f"{name}: is a directory: must be a file") from None
    except (OSError, ValueError) as error:
        raise error_type(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise error_type(f"{name}:{line}: is not text in UTF-8") from None


def parse_json(text: str, where: str | os.PathLike[str], error_type: type[InputError] = InputError) -> Any:
    """Return what a text in JSON holds. where: its file, or file and line.

    Raises `error_type`, one line, where it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise error_type(f"{os.fspath(where)}: is not JSON: {reason}") from None


@contextmanager
def atomic_writer(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Open `path` for writing text (UTF-8); the file appears, complete, when the block ends without an error.

    Until then the text goes to a temporary file in the same directory, which an error or Ctrl-C removes.
    What is not a regular file (a pipe, /dev/null) is written directly, since replacing it would destroy it.

    Raises InputError when the file cannot be written: no such directory, no permission, no space.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        yield file


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield where to write what shall be at `path`, as `atomic_writer` does, for whoever opens files by name."""
    target = Path(path)
    with _as_input_error(target):
        target = target.resolve()
        _refuse(target, path)
        if target.exists() and not target.is_file():
            yield target
            return
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            temporary.touch(exist_ok=False)
            yield temporary
            os.replace(temporary, target)
        except BaseException:
            # Ctrl-C included: a half-written file is worse than none.
            with suppress(OSError):
                temporary.unlink()
            raise


def _refuse(target: Path, path: str | os.PathLike[str]) -> None:
    """Raise InputError for what the operating system would report less clearly."""
    if target.is_dir():
        raise InputError(f"{os.fspath(path)}: is a directory: must be a file to write")
    if not target.parent.is_dir():
        raise InputError(f"{os.fspath(path)}: directory {Path(path).parent} does not exist: must exist")


@contextmanager
def _as_input_error(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into one line that names the file."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
