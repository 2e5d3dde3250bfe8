"""Where the checkpoint of a draft module is: a v11 file, or a directory (or its weights) of the project's own format.

Needs no torch.
"""

from pathlib import Path

CONFIG, WEIGHTS = "draft.json", "draft.safetensors"
SUFFIXES = (".pt", ".safetensors")
"""By which a name is known to mean a checkpoint."""


def own_files(path: Path) -> tuple[Path, Path] | None:
    """Return the config and the weights of a checkpoint in the project's own format; None: it is another file."""
    if path.suffix == ".safetensors" and not path.is_dir():
        return path.with_suffix(".json"), path
    return (path / CONFIG, path / WEIGHTS) if path.is_dir() else None


def broken_file_rule(path: Path) -> str | None:
    """Return why no checkpoint can be read from a path, as far as names tell, or None."""
    try:
        if not path.exists():
            return "there is no such file: must be a checkpoint of a draft module"
        own = own_files(path)
        if path.is_dir():
            missing = [file.name for file in own or () if not file.is_file()]
            rule = f"must be a draft module's directory, with {CONFIG} and {WEIGHTS}, or a v11 file"
            return f"has no {missing[0]}: {rule}" if missing else None
        if own is not None and not own[0].is_file():
            return f"has no {own[0].name} beside it: must be the weights of a draft module with its config"
        return None if path.is_file() else "is no file: must be a checkpoint of a draft module"
    except OSError as error:
        # A name longer than any file has.
        return f"{(error.strerror or str(error)).lower()}: must be a checkpoint of a draft module"
