"""The directory of a training run: what is there before it begins, what must not be lost, and the state in it.

The state is what it takes to go on exactly, and the settings that must not change: a `torch.save` of plain values and
tensors, written aside and renamed, read with `weights_only`. Loads torch where it is read or written.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from executor.draft.files import CONFIG
from spdsim.errors import InputError
from spdsim.files import atomic_path

STATE = "state.pt"
_FORMAT, _VERSION = "spdsim-training", 1

DIGESTS = ("--model", "--data", "--held-out")
"""Settings of which a digest is kept, which tells people nothing."""


def check_home(directory: Path, *, resume: bool, force: bool) -> None:
    """Raise InputError unless a run may begin in a directory, or go on there.

    resume: it shall go on. force: it may begin in place of another.
    """
    if resume and force:
        raise InputError("--resume is given beside --force: must be one of the two")
    if directory.exists() and not directory.is_dir():
        raise InputError(f"--out is {directory}: is a file: must be a directory, or a name for a new one")
    standing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not standing.is_dir() or not os.access(standing, os.W_OK):
        raise InputError(f"--out is {directory}: cannot be made: {standing} must be a directory that can be written")
    has_state, has_module = (directory / STATE).exists(), (directory / CONFIG).exists()
    if resume:
        if not has_state:
            what = "has a run that is finished" if has_module else f"has no {STATE}"
            raise InputError(f"--resume: {directory}: {what}: must have the state of a run that was stopped")
    elif not force and has_state:
        raise InputError(f"--out is {directory}: has a run that was stopped: add --resume, or --force to begin anew")
    elif not force and has_module:
        raise InputError(f"--out is {directory}: has a draft module: must be another directory, or use --force")


@contextmanager
def made_home(directory: Path, *, resume: bool) -> Iterator[None]:
    """Make the directory of a run, and let what another one left there go; an empty one is not left behind."""
    try:
        is_new = not directory.exists()
        directory.mkdir(parents=True, exist_ok=True)
        if not resume:
            for name in (CONFIG, STATE):
                (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"--out is {directory}: cannot be written: {error.strerror or error}") from None
    try:
        yield
    finally:
        if is_new:
            with suppress(OSError):
                directory.rmdir()


def write_state(directory: Path, settings: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write a state into a run's directory, over the one before. Raises InputError where it cannot be written."""
    import torch

    with atomic_path(directory / STATE) as file:
        torch.save({"format": _FORMAT, "version": _VERSION, "settings": dict(settings), **state}, file)


def read_state(directory: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state in a run's directory, on the CPU.

    settings: of the run that shall go on; raises InputError where they are not those of the state, or where there is
    none that can be read.
    """
    import torch

    file = directory / STATE
    if not file.is_file():
        raise InputError(f"--resume: {file}: there is no such file: must be what a run that was stopped left")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # what a damaged file makes the reader raise is no fixed set
        raise InputError(f"--resume: {file}: cannot be read: must be the state of a training run") from None
    if not isinstance(state, dict) or (state.get("format"), state.get("version")) != (_FORMAT, _VERSION):
        raise InputError(f"--resume: {file}: is of another format: must be the state of a training run")
    for name, value in settings.items():
        if (before := state["settings"].get(name)) != value:
            raise InputError(f"{_differs(name, value, before)}, as when the run in {directory} began")
    return dict(state)


def forget_state(directory: Path) -> None:
    """Remove the state of a run's directory, if there is one."""
    (directory / STATE).unlink(missing_ok=True)


def _differs(name: str, value: Any, before: Any) -> str:
    """What a setting is and what it must be, in words."""
    if name in DIGESTS:
        return f"{name} is another than before: must be the same"
    needed = "must be left out" if before is None else f"must be {_shown(before)}"
    return f"{name} is {'not given' if value is None else _shown(value)}: {needed}"


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
