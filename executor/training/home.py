"""The directory of a training run: what is there before it begins, and what must not be lost.

Needs no torch.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spdsim.errors import InputError

CONFIG, STATE = "draft.json", "state.pt"


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
