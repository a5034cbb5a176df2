"""The publisher: topics, sequences without holes, and what was said last again for those who come late."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import zmq

from adainfd.observing import NOBODY, Observer
from adainfd.wire import endpoint as endpoints
from adainfd.wire import gate as gates
from adainfd.wire.endpoint import Endpoint, Format
from adainfd.wire.gate import Curve, Gate
from adainfd.wire.messages import Event, Message

__all__ = ["Publisher", "publishing"]

# A minute of results: then a subscriber that reads nothing loses messages, which its sequences show. What waits for
# many subscribers is kept once.
_MESSAGES_QUEUED_A_SUBSCRIBER = 1000
# Whoever connects and says nothing is hung up on.
_HANDSHAKE_WITHIN_MS = 10_000
# Subscribers send topics and handshakes, nothing long.
_LONGEST_REQUEST = 4096
_REQUESTS_A_GREETING = 1000
_GREET_EVERY_SECONDS = 0.1
_LAST_WORDS_MS = 1000
_SUBSCRIBES, _UNSUBSCRIBES = b"\x01", b"\x00"

_ENCODERS: dict[Format, Callable[[Message], bytes]] = {
    "json": msgspec.json.Encoder().encode,
    "msgpack": msgspec.msgpack.Encoder().encode,
}


def publishing(socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    """The socket (XPUB), with bounds on what a subscriber may cost; before it binds."""
    socket.setsockopt(zmq.SNDHWM, _MESSAGES_QUEUED_A_SUBSCRIBER)
    socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_WITHIN_MS)
    socket.setsockopt(zmq.MAXMSGSIZE, _LONGEST_REQUEST)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    return socket


class Publisher:
    """Sends messages to whoever subscribes, and waits for nobody."""

    def __init__(
        self, bind: Sequence[Endpoint | str], observer: Observer = NOBODY, *, curve: Curve | None = None
    ) -> None:
        """Bind every endpoint; raises InvalidInputError, with nothing bound, where one cannot be.

        bind: endpoints, which speak JSON unless they say otherwise. curve: who may come in at the ports; an ipc
        endpoint is guarded by its folder's mode.
        """
        self._observer = observer
        self._curve = curve
        self._started_at = time.time()
        self._sequences: Counter[str] = Counter()
        self._last: dict[tuple[str, str | None, str | None], Message] = {}
        self._greet_from = 0.0
        self._open([Endpoint(endpoint) if isinstance(endpoint, str) else endpoint for endpoint in bind])

    def _open(self, wanted: Sequence[Endpoint]) -> None:
        self.endpoints: tuple[str, ...] = ()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._outlets = {format_: _Outlet(self._context, format_) for format_ in sorted({e.format for e in wanted})}
        self._gate = None if self._curve is None else Gate(self._context, self._curve)
        try:
            for bound in gates.bind([(self._outlets[e.format].socket, e.address) for e in wanted], self._gate):
                self.endpoints += (bound,)
        except BaseException:
            self._close(0)
            raise

    @property
    def gate(self) -> Gate | None:
        """Who lets clients in at the ports; None where everyone may come."""
        return self._gate

    def revoke(self) -> list[str]:
        """Hang up on everyone if a client that was let in may not come any more; the names of those clients."""
        return [] if self._gate is None else self._gate.revoke()

    def check_clients(self) -> None:
        """Raise InvalidInputError where the clients cannot be read, or one of their files holds no key."""
        if self._curve is not None:
            self._curve.clients.check()

    def send(self, topic: str, make: Callable[[int], Message]) -> None:
        """Send `make(sequence)` under `topic`, where sequence counts the topic's messages."""
        self._sequences[topic] += 1
        message = msgspec.structs.replace(make(self._sequences[topic]), started_at=self._started_at)
        self._remember(topic, message)
        for outlet in self._outlets.values():
            outlet.send(topic, message)
        self._observer.published(message)

    def _remember(self, topic: str, message: Message) -> None:
        """What is said again to those who come late: each region's last, and of events each label's that is there."""
        region, label = getattr(message, "region", None), None
        if isinstance(message, Event):
            self._last.pop((topic, region, message.label), None)
            label = None if message.event == "gone" else message.label
        self._last.pop((topic, region, label), None)  # the newest stands last, as their sequences do
        self._last[topic, region, label] = message

    @property
    def subscriptions(self) -> int:
        """How many topics are subscribed to now, each client's counted; as of the last greeting."""
        return sum(outlet.subscriptions for outlet in self._outlets.values())

    @property
    def refused(self) -> int | None:
        """How many clients were not let in; None where everyone may come."""
        return None if self._gate is None else self._gate.refused

    @property
    def readable(self) -> tuple[int, ...]:
        """File descriptors of which one becomes readable when subscribers come; call `greet` then."""
        return tuple(outlet.descriptor for outlet in self._outlets.values())

    @property
    def greets_at(self) -> float | None:
        """Monotonic time at which `greet` has something to do without anybody coming; None if it has not."""
        return self._greet_from if any(outlet.asked for outlet in self._outlets.values()) else None

    def greet(self) -> None:
        """Send the last message of each topic again, marked, to those who have subscribed to it since.

        Everyone who has subscribed to it gets it again, so a crowd that comes and goes is answered together, not more
        than ten times a second.
        """
        for outlet in self._outlets.values():
            outlet.hear()
        now = time.monotonic()
        if self.greets_at is None or now < self._greet_from:
            return
        self._greet_from = now + _GREET_EVERY_SECONDS
        for outlet in self._outlets.values():
            for (topic, *_), message in self._last.items():
                if any(topic.encode().startswith(prefix) for prefix in outlet.asked):
                    outlet.send(topic, msgspec.structs.replace(message, repeated=True))
            outlet.asked.clear()

    def close(self) -> None:
        """Let the last messages go out, for a second at most, and close."""
        self._close(_LAST_WORDS_MS)

    def _close(self, linger: int) -> None:
        endpoints.unlink(self.endpoints)
        if self._gate is not None:
            self._gate.close()
        self._context.destroy(linger)


class _Outlet:
    """The socket of one format, and the topics that were subscribed to since the last greeting."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], format_: Format) -> None:
        self.asked: set[bytes] = set()
        self.subscriptions = 0
        self.socket = publishing(context.socket(zmq.XPUB))
        self.socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        self._encode = _ENCODERS[format_]

    @property
    def descriptor(self) -> int:
        descriptor = self.socket.getsockopt(zmq.FD)
        if not isinstance(descriptor, int):
            raise TypeError("zmq.FD is not a file descriptor")
        return descriptor

    def send(self, topic: str, message: Message) -> None:
        self.socket.send_multipart((topic.encode(), self._encode(message)))

    def hear(self) -> None:
        """Take note of new subscriptions; a flood of them is left for the next time."""
        for _ in range(_REQUESTS_A_GREETING):
            if not self.socket.poll(0, zmq.POLLIN):
                return
            request = self.socket.recv()
            if request.startswith(_SUBSCRIBES):
                self.subscriptions += 1
                self.asked.add(request[1:])
            elif request.startswith(_UNSUBSCRIBES):  # also of whom has hung up
                self.subscriptions -= 1
