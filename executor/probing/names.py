"""The names of the probes, in the order in which they run. Standard library and errors only: a slip is told at once."""

from collections.abc import Sequence

from spdsim.errors import InputError

NAMES = (
    "layer", "prefill", "draft", "verify", "verify_sampling", "launch", "message", "broadcast", "copy", "contention",
)  # fmt: skip


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the named probes in the order in which they run, all where none is named.

    Raises InputError, one line, for a name that no probe has.
    """
    for name in names:
        if name not in NAMES:
            raise InputError(f"--only is {name!a}: must be one of {', '.join(NAMES)}")
    return tuple(name for name in NAMES if not names or name in names)
