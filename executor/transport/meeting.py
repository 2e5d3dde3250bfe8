"""How the ranks of a run find each other: a store that all can read and write, and what each says there.

Knows nothing of messages.
"""

import uuid
from dataclasses import dataclass
from pathlib import Path

from torch.distributed.distributed_c10d import Store

from executor.errors import LaunchError, LostRankError
from executor.progress import rank_name
from spdsim.schedules.spd import Layout

PATIENCE_S = 1800.0
"""How long ranks wait for each other to start and to load; a large model from a slow disk takes minutes."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where the ranks of a run find each other.

    store: of the run alone. host: this one, as `host_id` names it. master_host: a name of the host of worker 0.
    """

    store: Store
    layout: Layout
    worker: int
    host: str
    master_host: str = "127.0.0.1"

    def name_of(self, worker: int) -> str:
        """Return what an error calls a worker."""
        return rank_name(self.layout, worker)

    def gather(self, subject: str, word: str) -> tuple[str, ...]:
        """Return the word of every worker on a subject, once all have said theirs.

        Raises LaunchError if one does not within the store's timeout, or the store is gone.
        """
        said: list[str] = []
        try:
            self.store.set(f"{subject}/{self.worker}", word)
            for worker in range(self.layout.num_workers):
                said.append(self.store.get(f"{subject}/{worker}").decode())
        except RuntimeError as error:
            missing = self.name_of(len(said))
            raise LaunchError(f"{self.name_of(self.worker)} waited in vain for {missing}: {one_line(error)}") from error
        return tuple(said)


def host_id() -> str:
    """Return what tells this host, and the network that its processes see, from any other."""
    boot, network = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/net")
    if boot.exists() and network.exists():
        return f"{boot.read_text().strip()} {network.stat().st_ino}"
    return f"{uuid.getnode():x}"


def late(what: str, peer: str, timeout_s: float) -> LostRankError:
    """Return the error for a message that does not come, or is not taken."""
    why = "it has stalled, or waits for another rank itself"
    return LostRankError(f"waited {timeout_s:g} s for the {what} of {peer}: {why}")


def gone(what: str, peer: str) -> LostRankError:
    """Return the error for a peer that has closed its connection."""
    return LostRankError(f"{peer} is gone, and with it its {what}")


def one_line(error: BaseException) -> str:
    """Return the text of an error in one line."""
    return " ".join(str(error).split())
