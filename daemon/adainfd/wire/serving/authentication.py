"""Authentication of CURVE clients: libzmq asks about each by ZAP (RFC 27), and the allow-list decides."""

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
"""Frames of a question, without its credentials."""
_KEY_BYTES = 32
_LONGEST_ADDRESS = 100
_LOG_EVERY_SECONDS = 10.0
_LOOK_EVERY_SECONDS = 1.0
_JOIN_SECONDS = 2.0
_NOT_CURVE = "its handshake failed: it has no key, expects another key of this box, or does not speak ZeroMQ"


@dataclass(frozen=True, slots=True)
class CurveServer:
    """What CURVE needs at the side that is bound: the own keys, who may come in, and where the others are told."""

    keys: KeyPair
    clients: AllowList
    log: Logger

    @classmethod
    def read(cls, key: Path | None, clients: Path | None, log: Logger) -> "CurveServer | None":
        """From the files that an owner names; None where they name none. Raises InvalidInputError on a bad one."""
        return None if key is None or clients is None else cls(KeyPair.read(key), AllowList(clients), log)


class ZapAuthenticator(Hindered):
    """Lets in whom the allow-list knows, on every socket that it guards; counts and logs whom it refused.

    It owns a thread: libzmq asks while the program is busy, and a handshake must not wait for that. The same thread
    looks at the allow-list every second and hangs up on clients that are not on it any more. Close the gate before the
    context is terminated.
    """

    def __init__(self, context: zmq.Context[Any], curve: CurveServer, connections: Connections) -> None:
        """connections: to the sockets that it guards; they tell it of handshakes that fail, and are hung up on."""
        self.refused = 0
        """Clients refused until now, each attempt counted."""
        self._curve = curve
        self._connections = connections
        self._let_in: dict[str, str] = {}
        self._missing: frozenset[str] = frozenset()
        # Of what both this thread and a caller of `revoke` use: who was let in, and who may be.
        self._lock = threading.Lock()
        self._log = curve.log
        self._logged_at, self._logged = -_LOG_EVERY_SECONDS, 0
        self._questions = context.socket(zmq.REP)
        self._questions.bind(_ASKED_AT)
        # One end for the thread, the other for `close`.
        self._ended, self._end = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        self._end.bind(f"inproc://gate-{id(self)}")
        self._ended.connect(f"inproc://gate-{id(self)}")
        # Of the count, which other threads raise too.
        self._counting = threading.Lock()
        self._thread = Watched("gate", self._run)
        connections.tell_failures(self._failed)

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Let only allowed clients in at what `socket` binds from now on; before `open`."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._curve.keys.secret.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self._curve.keys.public.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)

    def open(self) -> None:
        """From now on questions are answered."""
        self._thread.start()

    @property
    def hindrance(self) -> str | None:
        """Why nobody may come in: the thread has ended, or the clients cannot be read."""
        return self._thread.hindrance or self._curve.clients.hindrance

    @property
    def defect(self) -> str | None:
        """How the thread has ended by itself."""
        return self._thread.defect

    def check(self) -> None:
        """Raise what ended the thread, if it has ended by itself."""
        self._thread.check()

    def revoke(self) -> list[str]:
        """Hang up on everyone at the ports if a client that was let in may not come any more; those clients' names.

        Whoever still may come in does so by itself. Nothing else is needed for it, not even a descriptor: where the
        folder of clients cannot be read, nobody may come in.
        """
        with self._lock:
            return self._revoke(self._gone())

    def close(self) -> None:
        """End the thread; nobody comes in any more."""
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
        """Hang up on who is not among the clients for the second time: a file that is being replaced may be absent."""
        with self._lock:
            missing = frozenset(self._gone())
            self._revoke(missing & self._missing)
            self._missing = missing

    def _gone(self) -> Collection[str]:
        """The keys of those who were let in and may not come any more."""
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

    def _answer(self, question: Sequence[bytes]) -> tuple[bytes, ...]:
        """The answer to a question (RFC 27); no to what is malformed, which libzmq does not send."""
        version, request, _, address, _, mechanism, *credentials = [*question, *[b""] * (_QUESTION - len(question))]
        name = "" if mechanism == b"NULL" else None  # asked only of endpoints that are open on purpose
        if mechanism == b"CURVE" and len(credentials) == 1 and len(credentials[0]) == _KEY_BYTES:
            name = self._let_in_by(z85.encode(credentials[0]).decode(), address)
        code, text = (b"400", b"not among the clients") if name is None else (b"200", b"OK")
        return version, request, code, text, (name or "").encode(), b""

    def _let_in_by(self, key: str, address: bytes) -> str | None:
        """The name of a client that may come in."""
        with self._lock:
            name = self._curve.clients.now().get(key)
            if name is not None:
                self._let_in[key] = name
        if name is None:
            shown = printable(address.decode(errors="replace"), _LONGEST_ADDRESS)
            self._refuse("its key is not among the clients", address=shown, key=key)
        return name

    def _failed(self) -> None:
        """A handshake has failed before there was a question; called from any thread."""
        self._refuse(_NOT_CURVE)

    def _refuse(self, why: str, **who: str) -> None:
        with self._counting:
            self.refused += 1
            now = time.monotonic()
            if now - self._logged_at >= _LOG_EVERY_SECONDS:
                self._logged_at, self._logged = now, self.refused
                self._log.warning("client_refused", why=why, refused=self.refused, **who)


def bind(wanted: Sequence[tuple[zmq.Socket[bytes], str]], gate: ZapAuthenticator | None) -> Iterator[str]:
    """Bind sockets to addresses, ports behind the gate if there is one; yields what was bound, one by one."""
    guarded = [pair for pair in wanted if gate is not None and endpoints.is_tcp(pair[1])]
    # libzmq takes options over at each bind: what is bound before the gate stands is open.
    for socket, address in wanted:
        if (socket, address) not in guarded:
            yield endpoints.bind(socket, address)
    if gate is not None:
        for socket in {socket for socket, _ in guarded}:
            gate.guard(socket)
        gate.open()
    for socket, address in guarded:
        yield endpoints.bind(socket, address)
