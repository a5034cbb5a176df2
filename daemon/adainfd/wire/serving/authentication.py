"""Authentication of CURVE clients: libzmq asks about each one by ZAP (RFC 27), and the allow-list decides."""

import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
from zmq.utils import z85

from adainf.base.errors import printable
from adainf.base.hindrances import Hindered, Watched
from adainfd.base.logs import Logger
from adainfd.wire import endpoint as endpoints
from adainfd.wire.keys import AllowList, KeyPair
from adainfd.wire.serving.connections import Connections

__all__ = ["CurveServer", "ZapAuthenticator", "bind"]

_ASKED_AT = "inproc://zeromq.zap.01"
_DOMAIN = b"adainf"
_QUESTION = 6
"""Frames of a ZAP request, without its credentials."""
_KEY_BYTES = 32
_LONGEST_ADDRESS = 100
_LOG_EVERY_SECONDS = 10.0
_LOOK_EVERY_SECONDS = 1.0
_JOIN_SECONDS = 2.0
_NOT_CURVE = "its handshake failed: it has no key, expects another key of this box, or does not speak ZeroMQ"


@dataclass(frozen=True, slots=True)
class CurveServer:
    """The server's side of CURVE: its keys, the allow-list of clients, and the log for refused ones."""

    keys: KeyPair
    clients: AllowList
    log: Logger

    @classmethod
    def read(cls, key: Path | None, clients: Path | None, log: Logger) -> "CurveServer | None":
        """Read the key and the clients; return None where either is not given, raise InvalidInputError on a bad one."""
        return None if key is None or clients is None else cls(KeyPair.read(key), AllowList(clients), log)


class ZapAuthenticator(Hindered):
    """Admits the clients on the allow-list to every socket that it guards; counts and logs those it refuses.

    It owns a thread: libzmq asks while the program is busy, and a handshake must not wait for that. The same thread
    reads the allow-list every second and disconnects clients that are no longer on it. Close the authenticator before
    the context is terminated.
    """

    def __init__(self, context: zmq.Context[Any], curve: CurveServer, connections: Connections) -> None:
        """connections: those to the guarded sockets; they report failed handshakes, and are closed on revocation."""
        self.refused = 0
        """Clients refused so far, each attempt counted."""
        self._curve = curve
        self._connections = connections
        self._let_in: dict[str, str] = {}
        self._missing: frozenset[str] = frozenset()
        # Guards what this thread and a caller of `revoke` share: the admitted clients and the allow-list.
        self._lock = threading.Lock()
        self._log = curve.log
        self._logged_at, self._logged = -_LOG_EVERY_SECONDS, 0
        self._questions = context.socket(zmq.REP)
        self._questions.bind(_ASKED_AT)
        # One end for the thread, the other for `close`.
        self._ended, self._end = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        self._end.bind(f"inproc://gate-{id(self)}")
        self._ended.connect(f"inproc://gate-{id(self)}")
        # Guards the count of refusals, which other threads raise too.
        self._counting = threading.Lock()
        self._thread = Watched("gate", self._run)
        connections.tell_failures(self._failed)

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Admit only allowed clients at every endpoint that `socket` binds from now on; call before `open`."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._curve.keys.secret.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self._curve.keys.public.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)

    def open(self) -> None:
        """Start to answer libzmq's requests."""
        self._thread.start()

    @property
    def hindrance(self) -> str | None:
        """Why no client is admitted: the thread has ended, or the allow-list cannot be read."""
        return self._thread.hindrance or self._curve.clients.hindrance

    @property
    def defect(self) -> str | None:
        """How the thread has ended by itself; None where it has not."""
        return self._thread.defect

    def check(self) -> None:
        """Raise the error that ended the thread, if it has ended by itself."""
        self._thread.check()

    def revoke(self) -> list[str]:
        """Disconnect all clients at the ports if an admitted one is no longer allowed; return the removed names.

        Clients that are still allowed reconnect by themselves. This needs no resource, not even a descriptor: where
        the folder of clients cannot be read, no client is allowed.
        """
        with self._lock:
            return self._revoke(self._gone())

    def close(self) -> None:
        """End the thread; no client is admitted any more."""
        self._thread.leave()
        if self._thread.alive:
            self._end.send(b"")
        self._thread.join(_JOIN_SECONDS)
        for socket in (self._questions, self._ended, self._end):
            socket.close(linger=0)
        if self.refused > self._logged:
            self._logged = self.refused
            self._log.warning("clients_refused", refused=self.refused)

    def _run(self) -> None:
        poller = zmq.Poller()
        for socket in (self._ended, self._questions):
            poller.register(socket, zmq.POLLIN)
        look_at = time.monotonic() + _LOOK_EVERY_SECONDS
        while True:
            ready = {socket for socket, _ in poller.poll(max(0, round(1000 * (look_at - time.monotonic()))))}
            if self._ended in ready:
                return
            if self._questions in ready:
                self._questions.send_multipart(self._answer(self._questions.recv_multipart()))
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + _LOOK_EVERY_SECONDS
                self._look()

    def _look(self) -> None:
        """Disconnect clients that two reads in a row have missed: a file that is being replaced may be absent once."""
        with self._lock:
            missing = frozenset(self._gone())
            self._revoke(missing & self._missing)
            self._missing = missing

    def _gone(self) -> Collection[str]:
        """Return the keys of admitted clients that are no longer allowed."""
        return self._let_in.keys() - self._curve.clients.now().keys()

    def _revoke(self, keys: Collection[str]) -> list[str]:
        names = sorted(self._let_in[key] for key in keys)
        if names:
            self._connections.hang_up_at_ports()
            for key in keys:
                del self._let_in[key]
            why = self._curve.clients.hindrance
            self._log.warning("clients_removed", clients=names, **({} if why is None else {"why": why}))
        return names

    def _answer(self, frames: Sequence[bytes]) -> tuple[bytes, ...]:
        """Return the reply to a ZAP request (RFC 27); refuses a malformed one, which libzmq does not send."""
        version, request_id, _, address, _, mechanism, *credentials = [*frames, *[b""] * (_QUESTION - len(frames))]
        name = "" if mechanism == b"NULL" else None  # sent only for endpoints that are open on purpose
        if mechanism == b"CURVE" and len(credentials) == 1 and len(credentials[0]) == _KEY_BYTES:
            name = self._let_in_by(z85.encode(credentials[0]).decode(), address)
        code, text = (b"400", b"not among the clients") if name is None else (b"200", b"OK")
        return version, request_id, code, text, (name or "").encode(), b""

    def _let_in_by(self, key: str, address: bytes) -> str | None:
        """Admit an allowed client and return its name; refuse any other and return None."""
        with self._lock:
            name = self._curve.clients.now().get(key)
            if name is not None:
                self._let_in[key] = name
        if name is None:
            shown = printable(address.decode(errors="replace"), _LONGEST_ADDRESS)
            self._refuse("its key is not among the clients", address=shown, key=key)
        return name

    def _failed(self) -> None:
        """Count a handshake that failed before libzmq sent a request; called from any thread."""
        self._refuse(_NOT_CURVE)

    def _refuse(self, why: str, **client: str) -> None:
        with self._counting:
            self.refused += 1
            now = time.monotonic()
            if now - self._logged_at >= _LOG_EVERY_SECONDS:
                self._logged_at, self._logged = now, self.refused
                self._log.warning("client_refused", why=why, refused=self.refused, **client)


def bind(wanted: Sequence[tuple[zmq.Socket[bytes], str]], gate: ZapAuthenticator | None) -> Iterator[str]:
    """Bind sockets to addresses, ports behind the authenticator if there is one; yield each endpoint as it is bound."""
    guarded = [pair for pair in wanted if gate is not None and endpoints.is_tcp(pair[1])]
    # libzmq reads a socket's options at each bind: what is bound before `guard` is open.
    for socket, address in wanted:
        if (socket, address) not in guarded:
            yield endpoints.bind(socket, address)
    if gate is not None:
        for socket in {socket for socket, _ in guarded}:
            gate.guard(socket)
        gate.open()
    for socket, address in guarded:
        yield endpoints.bind(socket, address)
