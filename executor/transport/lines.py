"""Connections between ranks, one for each edge: Unix sockets within a host, else TCP. Who calls says what he brings.

Knows nothing of messages.
"""

import secrets
import socket
import struct
import sys
import threading
from collections.abc import Sequence
from ipaddress import ip_address

from executor.errors import LaunchError, LostRankError
from executor.transport.meeting import PATIENCE_S, Meeting, gone, late, one_line

Key = tuple[str, int, int]
"""What travels, its source, its receiver."""

_HELLO = struct.Struct("=32s16sii")
"""With which a connection opens: the run's token, then its key."""

_HELLO_TIMEOUT_S = 5.0
_BACKLOG = 4096
_ANY_PORT = 9
_TIMEVAL = struct.Struct("@ll")


class Line:
    """One connection, used in one direction by channels."""

    def __init__(self, connected: socket.socket, what: str, peer: str) -> None:
        """what, peer: how an error calls what travels, and the rank at the other end."""
        self.socket = connected
        self.rest: threading.Thread | None = None
        self._what, self._peer = what, peer
        self._timeout_s = 0.0
        self._fault: OSError | None = None

    def set_timeout(self, timeout_s: float) -> None:
        """Let no receipt wait longer than `timeout_s`, nor the sending of what the system's buffer does not hold."""
        self._timeout_s = timeout_s
        # Zero would mean for ever.
        micros = max(1, round(timeout_s * 1e6))
        timeval = _TIMEVAL.pack(micros // 1_000_000, micros % 1_000_000)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)

    def send_later(self, rest: memoryview) -> None:
        """Send the rest of a message that the system's buffer does not hold, while the caller goes on."""

        def send() -> None:
            try:
                self.socket.sendall(rest)
            except OSError as error:
                self._fault = error

        self.rest = threading.Thread(target=send, daemon=True)
        self.rest.start()

    def flush(self) -> None:
        """Wait until no message is half sent. Raises LostRankError if the receiver does not take it."""
        if self.rest is not None:
            self.rest.join()
            self.rest = None
        if self._fault is not None:
            raise self.lost(self._fault)

    def lost(self, error: OSError | None = None) -> LostRankError:
        """Return the error for a peer that does nothing, or has closed the connection."""
        is_late = isinstance(error, BlockingIOError)
        return late(self._what, self._peer, self._timeout_s) if is_late else gone(self._what, self._peer)


def connect(meeting: Meeting, hosts: Sequence[str], keys: Sequence[Key]) -> dict[Key, Line]:
    """Return a line for each of `keys`, which all have this worker at one end; all workers connect at once.

    Raises LaunchError if a worker does not come, or cannot be reached.
    """
    store, worker, name_of = meeting.store, meeting.worker, meeting.name_of
    lines: dict[Key, Line] = {}
    try:
        if worker == 0:
            store.set("token", secrets.token_hex(16))
        token = store.get("token")
        listener, address = _listen(meeting, hosts, token)
        with listener:
            listener.settimeout(PATIENCE_S)
            store.set(f"address/{worker}", address)
            for key in keys:
                if key[1] == worker:
                    line = _dial(store.get(f"address/{key[2]}").decode(), token, key)
                    lines[key] = Line(line, f"receipt of the {key[0]}", name_of(key[2]))
            while len(lines) < len(keys):
                caller, line = _greet(listener.accept()[0], token)
                if caller is not None:
                    lines[caller] = Line(line, caller[0], name_of(caller[1]))
    except (OSError, RuntimeError) as error:
        raise LaunchError(f"{name_of(worker)} cannot reach the other ranks: {one_line(error)}") from error
    return lines


def _listen(meeting: Meeting, hosts: Sequence[str], token: bytes) -> tuple[socket.socket, str]:
    """Return a socket that waits for callers, and the address at which the other workers reach it."""
    is_one_host = len(set(hosts)) == 1
    if is_one_host and sys.platform == "linux":
        # An abstract name: no file is left behind.
        address = f"\0spdsim-{token.decode()}-{meeting.worker}"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen(_BACKLOG)
        return listener, address
    family, host = _own_address(meeting.master_host)
    if not is_one_host and ip_address(host).is_loopback:
        # A host may know its own name as a loopback address; others know it by the name itself.
        host = meeting.master_host
    listener = socket.create_server((host if is_one_host else "", 0), family=family, backlog=_BACKLOG)
    return listener, f"{host} {listener.getsockname()[1]}"


def _own_address(master_host: str) -> tuple[int, str]:
    """Return the family and the address of the interface that leads to `master_host`."""
    family, kind, protocol, _, address = socket.getaddrinfo(master_host, _ANY_PORT, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        return family, probe.getsockname()[0]


def _dial(address: str, token: bytes, key: Key) -> socket.socket:
    if address.startswith("\0"):
        line = socket.socket(socket.AF_UNIX)
        line.connect(address)
    else:
        host, port = address.rsplit(" ", 1)
        line = socket.create_connection((host, int(port)))
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.sendall(_HELLO.pack(token, key[0].encode(), *key[1:]))
    return line


def _greet(line: socket.socket, token: bytes) -> tuple[Key | None, socket.socket]:
    """Return what a caller says it brings; None for a stranger, who is turned away."""
    try:
        line.settimeout(_HELLO_TIMEOUT_S)
        said, what, source, to = _HELLO.unpack(line.recv(_HELLO.size, socket.MSG_WAITALL))
    except (OSError, struct.error):
        said = b""
    if not secrets.compare_digest(said, token):
        line.close()
        return None, line
    line.settimeout(None)
    return (what.rstrip(b"\0").decode(), source, to), line
