"""The files that a command writes: all of them, or none.

A path is checked and reserved before the work begins, so that a wrong one does not cost a long run.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfileobj
from tempfile import gettempdir
from types import TracebackType

from spdsim.errors import InputError


class Outputs:
    """Reserves output files; at the end of the block they appear together, after an error none does.

    inputs: files that the command reads and so must not write over.
    """

    def __init__(self, inputs: Iterable[Path] = ()) -> None:
        self._inputs = {path.resolve() for path in inputs}
        self._staged: dict[Path, _Staged] = {}

    def reserve(self, path: Path | None) -> Path | None:
        """Return where to write what shall appear at `path`; None for None.

        Raises InputError when `path` cannot be written, is reserved already, is an input or is `-`.
        """
        if path is None:
            return None
        if str(path) == "-":
            raise InputError("-: stands for standard output, which only --json can have: must be a file to write")
        target = path.resolve()
        if path.is_dir():
            raise InputError(f"{path}: is a directory: must be a file to write")
        if target in self._inputs:
            raise InputError(f"{path}: is what the command reads: must be another file")
        if target in self._staged:
            raise InputError(f"{path}: is named for two outputs: must be a file of its own")
        # A pipe or /dev/null cannot be replaced: what is staged elsewhere is copied into it at the end.
        is_replaced = path.is_file() or not path.exists()
        staged = _Staged(path, target if is_replaced else None)
        reserved = staged.reserve()
        self._staged[target] = staged
        return reserved

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for staged in self._staged.values():
            if kind is None:
                staged.commit()
            staged.discard()


@dataclass(slots=True)
class _Staged:
    """One output: the path that was asked for, the file to put in place there if it can be, and the file until then."""

    path: Path
    target: Path | None
    file: Path | None = None

    def reserve(self) -> Path:
        """Create the file in which the output waits, and return its path."""
        directory = self.target.parent if self.target else Path(gettempdir())
        if not directory.is_dir():
            raise InputError(f"{self.path}: directory {directory} does not exist: must exist")
        file = directory / f".{self.path.name}.{os.getpid()}.new"
        try:
            file.touch(exist_ok=False)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        self.file = file
        return file

    def commit(self) -> None:
        """Put the output where it was asked for."""
        assert self.file is not None
        try:
            if self.target:
                self.file.replace(self.target)
                self.file = None
            else:
                # A reader that has gone is no error.
                with suppress(BrokenPipeError), self.file.open("rb") as source, self.path.open("wb") as sink:
                    copyfileobj(source, sink)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def discard(self) -> None:
        """Remove what still waits."""
        if self.file:
            with suppress(OSError):
                self.file.unlink()
