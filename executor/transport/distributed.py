"""All channels of one worker whose fellows are other processes, here or on other hosts.

Hidden states, features and parts of a sharded LM head go by the plan's backend. What a host reads, verdicts and
drafts, lies in hosts' memory and always goes over sockets: a few bytes that everybody waits for, every cycle.
Knows nothing of schedules but their edges.
"""

import torch
from torch.distributed.distributed_c10d import Store

from executor.plan import Plan
from executor.transport.edges import HOST_PAYLOADS, edges_of
from executor.transport.gloo import Gloo
from executor.transport.meeting import Meeting, host_id
from executor.transport.message import Channel, Inbox, Outbox
from executor.transport.nccl import Nccl
from executor.transport.sockets import Sockets


class DistributedTransport:
    """The channels of one worker to and from other ranks."""

    def __init__(self, worker: int, plan: Plan, store: Store, master_host: str = "127.0.0.1") -> None:
        """Connect to the other ranks, which do so at the same time.

        store: of this run alone. master_host: a name of the host of worker 0. With NCCL the current CUDA device must
        be the worker's. Raises LaunchError if a rank does not come, or cannot be reached.
        """
        self._meeting = Meeting(store, plan.layout, worker, host_id(), master_host)
        self._timeout_s = plan.timeout_s
        self.hosts = self._meeting.gather("host", self._meeting.host)
        edges = edges_of(plan.layout)
        by_sockets = edges if plan.backend == "socket" else [edge for edge in edges if edge.payload in HOST_PAYLOADS]
        by_backend = [edge for edge in edges if edge not in by_sockets]
        self._sockets = Sockets(self._meeting, self.hosts, by_sockets)
        self._others: Gloo | Nccl | None = None
        if plan.backend == "nccl":
            self._others = Nccl(self._meeting, by_backend, torch.device("cuda", torch.cuda.current_device()))
        elif plan.backend == "gloo":
            self._others = Gloo(self._meeting, self.hosts, by_backend)

    def outbox(self, channel: Channel, num_slots: int) -> Outbox:
        """Return the sending end of a channel of this worker."""
        return self._way_of(channel).outbox(channel, num_slots)

    def inbox(self, channel: Channel, num_slots: int) -> Inbox:
        """Return the receiving end of a channel of this worker."""
        return self._way_of(channel).inbox(channel, num_slots)

    def gather(self, subject: str, word: str) -> tuple[str, ...]:
        """Return what every worker says on a subject, once all have: beside a run's messages, and slower than they.

        Raises LaunchError if one does not.
        """
        return self._meeting.gather(subject, word)

    def meet(self) -> None:
        """Wait until every rank has loaded and says so here; from then on no message may take longer than planned.

        Raises LaunchError if a rank does not come.
        """
        self._meeting.gather("ready", "")
        self._sockets.set_timeout(self._timeout_s)
        if isinstance(self._others, Gloo):
            self._others.set_timeout(self._timeout_s)

    def close(self) -> None:
        """Leave the other ranks, which do so too.

        Raises LostRankError if a receiver does not take its last message, or is gone.
        """
        self._sockets.close()
        if self._others is not None:
            self._others.close()

    def _way_of(self, channel: Channel) -> Sockets | Gloo | Nccl:
        return self._sockets if self._others is None or channel.is_host else self._others
