"""The directory of a demonstration: what is in it, and which parts of it are finished.

Needs no torch.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executor.demo.corpus import TextCorpus, TextFile
from spdsim.errors import InputError
from spdsim.files import atomic_writer, read_text

_SETTINGS = "demo.json"


@dataclass(frozen=True, slots=True)
class Home:
    """Where everything is."""

    directory: Path

    @property
    def model(self) -> Path:
        """The language model, as `--model` takes it."""
        return self.directory / "model"

    @property
    def facts(self) -> Path:
        """What is known of the language model."""
        return self.directory / "model-facts.json"

    @property
    def text(self) -> Path:
        """What is trained on, as `train-draft --data` takes it."""
        return self.directory / "train.jsonl"

    @property
    def held_out(self) -> Path:
        """Some of what is held out, as `train-draft --held-out` takes it."""
        return self.directory / "held-out.jsonl"

    @property
    def prompts(self) -> Path:
        """What is decoded and measured, as `acceptance --prompts` takes it."""
        return self.directory / "prompts.jsonl"

    def draft(self, num_stages: int) -> Path:
        """The draft module for so many stages, as `--draft` takes it."""
        return self.directory / f"draft-{num_stages}"

    def prepare(self, settings: dict[str, Any], *, force: bool) -> None:
        """Make the directory, or take up what a run with the same settings left there. force: begin anew.

        Raises InputError where it cannot be made, or has something else in it.
        """
        directory, file = self.directory, self.directory / _SETTINGS
        if directory.exists() and not directory.is_dir():
            raise InputError(f"--out is {directory}: is a file: must be a directory, or a name for a new one")
        try:
            if directory.exists() and any(directory.iterdir()):
                self._check(file, settings, force=force)
                if force:
                    shutil.rmtree(directory)
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out is {directory}: cannot be made: {error.strerror or error}") from None
        write_document(file, settings)

    def _check(self, file: Path, settings: dict[str, Any], *, force: bool) -> None:
        found = read_document(file) if file.is_file() else None
        if found is None:
            rule = "must be a directory of this command, an empty one, or a name for a new one"
            raise InputError(f"--out is {self.directory}: has other files: {rule}")
        different = [key for key in settings if found.get(key) != settings[key]]
        if different and not force:
            key = different[0]
            was, rule = found.get(key), "must be another directory, or use --force"
            raise InputError(f"--out is {self.directory}: was made with {key} {was}, not {settings[key]}: {rule}")


def write_text(home: Home, corpus: TextCorpus, held_out: Iterable[TextFile]) -> None:
    """Write the files that draft modules are trained on, and measured on, unless they are there."""
    for path, files in ((home.text, corpus.trained), (home.held_out, held_out)):
        if not path.exists():
            with atomic_writer(path) as stream:
                stream.writelines(json.dumps({"text": file.text}) + "\n" for file in files)


def write_prompts(home: Home, prompts: Iterable[tuple[int, ...]]) -> None:
    """Write prompts as token ids, one a line: they may begin amid a character."""
    with atomic_writer(home.prompts) as stream:
        stream.writelines(json.dumps({"prompt_ids": prompt}) + "\n" for prompt in prompts)


def write_document(file: Path, document: dict[str, Any]) -> None:
    """Write plain data as JSON. Raises InputError if it cannot be written."""
    with atomic_writer(file) as stream:
        stream.write(json.dumps(document, indent=2) + "\n")


def read_document(file: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file. Raises InputError if it is none."""
    try:
        found = json.loads(read_text(file))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{file}: must be a mapping in JSON, as this command writes it")
    return found
