"""A way to decode on a scenario's devices, ready to be run; or why it cannot be had there."""

from dataclasses import dataclass

from spdsim.acceptance import Acceptance
from spdsim.machine import Machine, Origin


@dataclass(frozen=True, slots=True)
class Method:
    """A method on a scenario's devices.

    key: its name in commands. title: what it is, with what was chosen for it. machine: with its schedule.
    acceptance: of its drafts, in the form that its schedule's judge asks for. num_devices: how many it uses.
    device_bytes: what the fullest of them holds. law_s: seconds per token by its closed form; None if it has none.
    is_plain: it drafts nothing. origins: where the figures come from that only this method rests on.
    warnings: what its numbers do not show.
    """

    key: str
    title: str
    machine: Machine
    acceptance: Acceptance
    num_devices: int
    device_bytes: int
    law_s: float | None = None
    is_plain: bool = False
    origins: tuple[Origin, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """A method that cannot be had: its key, its title, and why, with what would mend it."""

    key: str
    title: str
    reason: str


class CannotBeHadError(Exception):
    """Raised while a method is put together: its text is the reason."""
