"""What a calibration has measured so far: the executor's files in a directory, each with the arguments that made it.

So a calibration that was cut short can go on, with other options too: what was made with the same arguments serves.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from spdsim.errors import InputError
from spdsim.files import atomic_writer, parse_json, read_text

LIST = "made-with.json"
"""The file that says with which arguments the others were made."""


class Kept:
    """The files of a directory, which is made if it is not there."""

    def __init__(self, directory: Path, *, resume: bool) -> None:
        """resume: what is there serves; else it is removed once there is something new in its place.

        Raises InputError if the directory cannot be made, or its list says nothing of the kind.
        """
        self.directory = directory
        self._list = directory / LIST
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{directory}: cannot be made: {error.strerror or error}") from None
        found = self._read() if self._list.exists() else {}
        self._before, self._made_with = ({}, found) if resume else (found, {})

    def __len__(self) -> int:
        return sum(bool(arguments) for arguments in self._made_with.values())

    def path(self, name: str) -> Path:
        """Return where a file is, or is to be."""
        return self.directory / name

    def has(self, name: str, arguments: Sequence[str]) -> bool:
        """Whether a file is there that was made with these arguments."""
        return bool(arguments) and self._made_with.get(name) == list(arguments) and self.path(name).exists()

    def begin(self, name: str) -> Path:
        """Note that a file may appear, though whoever makes it may be stopped; return where it is to be."""
        self._made_with[name] = []
        self._write()
        return self.path(name)

    def keep(self, name: str, arguments: Sequence[str]) -> None:
        """Note that a file is there. Raises InputError when the list cannot be written."""
        self._made_with[name] = list(arguments)
        self._remove(self._before.keys() - self._made_with.keys())
        self._before = {}
        self._write()

    def forget(self) -> None:
        """Remove the files that were made, but not those of before in whose place there is nothing new."""
        self._remove(self._made_with.keys() - self._before.keys())
        self._made_with = {}
        self._write()

    def leave(self) -> None:
        """Remove the directory if nothing is in it."""
        with suppress(OSError):
            self.directory.rmdir()

    def _write(self) -> None:
        listed = self._made_with | self._before
        if not listed:
            self._remove([LIST])
            return
        with atomic_writer(self._list) as file:
            json.dump(listed, file, indent=1)

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress(OSError):
                self.path(name).unlink()

    def _read(self) -> dict[str, list[str]]:
        found = parse_json(read_text(self._list), self._list)
        is_list = isinstance(found, dict) and all(isinstance(words, list) for words in found.values())
        # A name that leads elsewhere would be removed there.
        if not is_list or any(Path(name).name != name for name in found):
            raise InputError(f"{self._list}: is no list of a calibration's files: remove it, or name another directory")
        return {name: [str(word) for word in words] for name, words in found.items()}
