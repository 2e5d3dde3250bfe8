"""The state of a training run in a file: what it takes to go on exactly, and the settings that must not change.

A `torch.save` of plain values and tensors, written aside and renamed, read with `weights_only`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from executor.training.home import STATE
from spdsim.errors import InputError
from spdsim.files import atomic_path

_FORMAT, _VERSION = "spdsim-training", 1


def write_state(directory: Path, settings: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write a state into a run's directory, over the one before. Raises InputError where it cannot be written."""
    with atomic_path(directory / STATE) as file:
        torch.save({"format": _FORMAT, "version": _VERSION, "settings": dict(settings), **state}, file)


def read_state(directory: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state in a run's directory, on the CPU.

    settings: of the run that shall go on; raises InputError where they are not those of the state, or where there is
    none that can be read.
    """
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
            rule = f"must be {before}, as when the run in {directory} began, so that it goes on exactly"
            raise InputError(f"{name} is {value}: {rule}")
    return state


def forget_state(directory: Path) -> None:
    """Remove the state of a run's directory, if there is one."""
    (directory / STATE).unlink(missing_ok=True)
