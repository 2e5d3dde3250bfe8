"""The files that a command writes: all of them, or none.

A path is checked and reserved before the work begins, so that a wrong one does not cost a long run.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from spdsim.errors import InputError


class Outputs:
    """Reserves output files; at the end of the block they appear together, after an error none does.

    inputs: files that the command reads and so must not write over.
    """

    def __init__(self, inputs: Iterable[Path] = ()) -> None:
        self._inputs = {path.resolve() for path in inputs}
        self._staged: dict[Path, Path] = {}

    def reserve(self, path: Path | None) -> Path | None:
        """Return where to write what shall appear at `path`; None for None.

        Raises InputError when `path` cannot be written, is reserved already or is an input.
        """
        if path is None:
            return None
        target = path.resolve()
        if target.is_dir():
            raise InputError(f"{path}: is a directory: must be a file to write")
        if not target.parent.is_dir():
            raise InputError(f"{path}: directory {target.parent} does not exist: must exist")
        if target in self._inputs:
            raise InputError(f"{path}: is what the command reads: must be another file")
        if target in self._staged:
            raise InputError(f"{path}: is named for two outputs: must be a file of its own")
        self._staged[target] = self._stage(path, target)
        return self._staged[target]

    def _stage(self, path: Path, target: Path) -> Path:
        if target.exists() and not target.is_file():
            # A pipe or /dev/null: nothing to put in its place.
            return target
        staged = target.with_name(f".{target.name}.{os.getpid()}.new")
        try:
            staged.touch(exist_ok=False)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
        return staged

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for target, staged in self._staged.items():
            if staged == target:
                continue
            if kind is None:
                staged.replace(target)
            else:
                with suppress(OSError):
                    staged.unlink()
