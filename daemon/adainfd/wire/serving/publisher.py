"""The publisher: topics, sequences without gaps, and a last-value cache for late subscribers."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import structlog
import zmq

from adainf.base.hindrances import Hindered
from adainfd.base.logs import Logger
from adainfd.wire import endpoint as endpoints
from adainfd.wire.endpoint import Endpoint, Format
from adainfd.wire.messages import Event, Message
from adainfd.wire.observing import NOBODY, Observer
from adainfd.wire.serving import authentication as gates
from adainfd.wire.serving.authentication import CurveServer, ZapAuthenticator
from adainfd.wire.serving.bounds import MOST
from adainfd.wire.serving.readers import Readers, context

__all__ = ["Publisher"]

_GREET_EVERY_SECONDS = 0.1
_LAST_WORDS_MS = 1000

_ENCODERS: dict[Format, Callable[[Message], bytes]] = {
    "json": msgspec.json.Encoder().encode,
    "msgpack": msgspec.msgpack.Encoder().encode,
}


class Publisher:
    """Sends messages to all subscribers and waits for none of them."""

    def __init__(
        self,
        bind: Sequence[Endpoint | str],
        observer: Observer = NOBODY,
        *,
        curve: CurveServer | None = None,
        log: Logger | None = None,
        most: int = MOST,
    ) -> None:
        """Bind every endpoint; raise InvalidInputError, with nothing bound, where one cannot be bound.

        bind: endpoints, in JSON unless they name a format. curve: keys and allow-list of the ports; an ipc endpoint is
        guarded by its folder's mode. log: receives refused and disconnected readers. most: readers at once.
        """
        self._observer = observer
        self._curve = curve
        self._log = structlog.ReturnLogger() if log is None else log
        self._most = most
        self._started_at = time.time()
        self._sequences: Counter[str] = Counter()
        self._last: dict[tuple[str, str | None, str | None], Message] = {}
        self._resend_from = 0.0
        self._open([Endpoint(endpoint) if isinstance(endpoint, str) else endpoint for endpoint in bind])

    def _open(self, wanted: Sequence[Endpoint]) -> None:
        self.endpoints: tuple[str, ...] = ()
        self._context = context()
        self._readers = Readers(self._context, self._curve, self._log, most=self._most)
        self._outlets = {
            format_: _Outlet(self._readers.watch(self._context.socket(zmq.XPUB)), format_)
            for format_ in sorted({e.format for e in wanted})
        }
        try:
            for bound in gates.bind([(self._outlets[e.format].socket, e.address) for e in wanted], self.gate):
                self.endpoints += (bound,)
            self._readers.open()
        except BaseException:
            self._close(0)
            raise

    @property
    def gate(self) -> ZapAuthenticator | None:
        """The authenticator of clients at the ports; None where no keys are required."""
        return self._readers.gate

    @property
    def connections(self) -> Hindered:
        """The thread that enforces the limits on connections."""
        return self._readers.thread

    def revoke(self) -> list[str]:
        """Disconnect all clients if an admitted one is no longer allowed; return the names of those removed."""
        return [] if self.gate is None else self.gate.revoke()

    def check_clients(self) -> None:
        """Raise InvalidInputError where the allow-list cannot be read, or one of its files holds no key."""
        if self._curve is not None:
            self._curve.clients.check()

    def send(self, topic: str, make: Callable[[int], Message]) -> None:
        """Publish `make(sequence)` under `topic`; sequence counts the topic's messages from 1."""
        self._sequences[topic] += 1
        message = msgspec.structs.replace(make(self._sequences[topic]), started_at=self._started_at)
        self._remember(topic, message)
        for outlet in self._outlets.values():
            outlet.send(topic, message)
        self._observer.published(message)

    def _remember(self, topic: str, message: Message) -> None:
        """Keep the last message of each region, and the last event of each present label, for late subscribers."""
        region, label = getattr(message, "region", None), None
        if isinstance(message, Event):
            self._last.pop((topic, region, message.label), None)
            label = None if message.event == "gone" else message.label
        self._last.pop((topic, region, label), None)  # the newest goes last, to resend in order of sequence
        self._last[topic, region, label] = message

    @property
    def subscriptions(self) -> int:
        """Topics subscribed to, summed over all clients, as of the last `resend_last`."""
        return self._readers.subscriptions

    @property
    def hung_up(self) -> int:
        """Connections closed so far by the limits on readers."""
        return self._readers.hung_up

    @property
    def refused(self) -> int | None:
        """Clients refused so far, each attempt counted; None where no keys are required."""
        return None if self.gate is None else self.gate.refused

    @property
    def readable(self) -> tuple[int, ...]:
        """File descriptors, one of which becomes readable when subscribers arrive; call `resend_last` then."""
        return tuple(outlet.descriptor for outlet in self._outlets.values())

    @property
    def resends_at(self) -> float | None:
        """Monotonic time at which `resend_last` has work even if no subscriber arrives; None if it has none."""
        return self._resend_from if any(outlet.asked for outlet in self._outlets.values()) else None

    def resend_last(self) -> None:
        """Resend the last messages, marked as repeated, of each topic that was subscribed to since the last call.

        Every subscriber of the topic gets them again, so subscribers that arrive in a crowd are served together, at
        most ten times a second.
        """
        for outlet in self._outlets.values():
            outlet.asked |= self._readers.hear(outlet.socket)
        now = time.monotonic()
        if self.resends_at is None or now < self._resend_from:
            return
        self._resend_from = now + _GREET_EVERY_SECONDS
        for outlet in self._outlets.values():
            for (topic, *_), message in self._last.items():
                if outlet.is_asked_for(topic.encode()):
                    outlet.send(topic, msgspec.structs.replace(message, repeated=True))
            outlet.asked.clear()

    def close(self) -> None:
        """Send what is queued, for a second at most, and close."""
        self._close(_LAST_WORDS_MS)

    def _close(self, linger: int) -> None:
        endpoints.unlink(self.endpoints)
        self._readers.close()
        self._context.destroy(linger)


class _Outlet:
    """The socket of one format, and the topics subscribed to since the last messages were resent."""

    def __init__(self, socket: "zmq.Socket[bytes]", format_: Format) -> None:
        self.asked: set[bytes] = set()
        self.socket = socket
        self._encode = _ENCODERS[format_]

    @property
    def descriptor(self) -> int:
        descriptor = self.socket.getsockopt(zmq.FD)
        if not isinstance(descriptor, int):
            raise TypeError("zmq.FD is not a file descriptor")
        return descriptor

    def send(self, topic: str, message: Message) -> None:
        self.socket.send_multipart((topic.encode(), self._encode(message)))

    def is_asked_for(self, topic: bytes) -> bool:
        """Return whether a newly subscribed topic is a prefix of `topic`; looks up prefixes, as there may be many."""
        return any(topic[:length] in self.asked for length in range(len(topic) + 1))
