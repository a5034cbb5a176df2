"""Who may come in: libzmq asks about each CURVE client by its own protocol (ZAP, RFC 27); the allow-list answers."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
from zmq.utils import z85

from adainfd.logs import Logger
from adainfd.wire import endpoint as endpoints
from adainfd.wire.keys import AllowList, KeyPair

__all__ = ["Curve", "Gate", "bind"]

_ASKED_AT = "inproc://zeromq.zap.01"
_DOMAIN = b"adainf"
_LOG_EVERY_SECONDS = 10.0
_NOT_CURVE = "its handshake failed: it has no key, takes this box for another, or is no ZeroMQ program"


@dataclass(frozen=True, slots=True)
class Curve:
    """What CURVE needs at the side that is bound: the own keys, who may come in, and where the others are told."""

    keys: KeyPair
    clients: AllowList
    log: Logger

    @classmethod
    def read(cls, key: Path | None, clients: Path | None, log: Logger) -> "Curve | None":
        """From the files that an owner names; None where they name none. Raises InvalidInputError on a bad one."""
        return None if key is None or clients is None else cls(KeyPair.read(key), AllowList(clients), log)


class Gate:
    """Lets in whom the allow-list knows, on every socket that it guards; counts and logs whom it refused.

    It owns a thread: libzmq asks while the program is busy, and a handshake must not wait for that. Close it before
    the context is terminated.
    """

    def __init__(self, context: zmq.Context[Any], curve: Curve) -> None:
        self.refused = 0
        """Clients refused until now, each attempt counted."""
        self._curve = curve
        self._let_in: dict[str, str] = {}
        self._log = curve.log
        self._logged_at, self._logged = -_LOG_EVERY_SECONDS, 0
        self._questions = context.socket(zmq.REP)
        self._questions.bind(_ASKED_AT)
        # One end for the thread, the other for `close`.
        self._ended, self._end = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        self._end.bind(f"inproc://gate-{id(self)}")
        self._ended.connect(f"inproc://gate-{id(self)}")
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="gate")

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Let only allowed clients in at what `socket` binds from now on; before `open`."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._curve.keys.secret.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self._curve.keys.public.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)

    def open(self) -> None:
        """From now on questions are answered."""
        self._thread.start()

    def removed(self) -> list[str]:
        """Who was let in and is not among the clients any more; raises InvalidInputError on a bad file among theirs."""
        allowed = {key for _, key in self._curve.clients.again()}
        return sorted(name for key, name in self._let_in.copy().items() if key not in allowed)

    def failed(self) -> None:
        """Somebody's handshake has failed before there was a question; from any thread."""
        self._refuse(_NOT_CURVE)

    def close(self) -> None:
        """End the thread; nobody comes in any more."""
        if self._thread.is_alive():
            self._end.send(b"")
            self._thread.join()
        for socket in (self._questions, self._ended, self._end):
            socket.close(linger=0)
        if self.refused > self._logged:
            self._logged = self.refused
            self._log.warning("clients_refused", refused=self.refused)

    def _run(self) -> None:
        poller = zmq.Poller()
        for socket in (self._ended, self._questions):
            poller.register(socket, zmq.POLLIN)
        while True:
            ready = {socket for socket, _ in poller.poll()}
            if self._ended in ready:
                return
            if self._questions in ready:
                self._answer(self._questions.recv_multipart())

    def _answer(self, question: list[bytes]) -> None:
        version, request, _, address, _, mechanism, *credentials = question
        name = "" if mechanism == b"NULL" else None  # asked only of endpoints that are open on purpose
        if mechanism == b"CURVE" and credentials:
            key = z85.encode(credentials[0]).decode()
            name = self._curve.clients.name_of(key)
            if name is None:
                self._refuse("its key is not among the clients", address=address.decode(), key=key)
            else:
                self._let_in[key] = name
        code, text = (b"400", b"not among the clients") if name is None else (b"200", b"OK")
        self._questions.send_multipart((version, request, code, text, (name or "").encode(), b""))

    def _refuse(self, why: str, **who: str) -> None:
        with self._lock:
            self.refused += 1
            now = time.monotonic()
            if now - self._logged_at >= _LOG_EVERY_SECONDS:
                self._logged_at, self._logged = now, self.refused
                self._log.warning("client_refused", why=why, refused=self.refused, **who)


def bind(wanted: Sequence[tuple[zmq.Socket[bytes], str]], gate: Gate | None) -> Iterator[str]:
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
