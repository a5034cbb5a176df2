"""The publisher: topics, sequences without holes, and what was said last again for those who come late."""

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
    """Sends messages to whoever subscribes, and waits for nobody."""

    def __init__(
        self,
        bind: Sequence[Endpoint | str],
        observer: Observer = NOBODY,
        *,
        curve: CurveServer | None = None,
        log: Logger | None = None,
        most: int = MOST,
    ) -> None:
        """Bind every endpoint; raises InvalidInputError, with nothing bound, where one cannot be.

        bind: endpoints, which speak JSON unless they say otherwise. curve: who may come in at the ports; an ipc
        endpoint is guarded by its folder's mode. log: is told who was hung up on. most: readers at once.
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
        """Who lets clients in at the ports; None where everyone may come."""
        return self._readers.gate

    @property
    def connections(self) -> Hindered:
        """Who keeps connections within their bounds."""
        return self._readers.thread

    def revoke(self) -> list[str]:
        """Hang up on everyone if a client that was let in may not come any more; the names of those clients."""
        return [] if self.gate is None else self.gate.revoke()

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
        return self._readers.subscriptions

    @property
    def hung_up(self) -> int:
        """How many connections were hung up on."""
        return self._readers.hung_up

    @property
    def refused(self) -> int | None:
        """How many clients were not let in; None where everyone may come."""
        return None if self.gate is None else self.gate.refused

    @property
    def readable(self) -> tuple[int, ...]:
        """File descriptors of which one becomes readable when subscribers come; call `resend_last` then."""
        return tuple(outlet.descriptor for outlet in self._outlets.values())

    @property
    def resends_at(self) -> float | None:
        """Monotonic time at which `resend_last` has something to do without anybody coming; None if it has not."""
        return self._resend_from if any(outlet.asked for outlet in self._outlets.values()) else None

    def resend_last(self) -> None:
        """Send the last message of each topic again, marked, to those who have subscribed to it since.

        Everyone who has subscribed to it gets it again, so a crowd that comes and goes is answered together, not more
        than ten times a second.
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
        """Let the last messages go out, for a second at most, and close."""
        self._close(_LAST_WORDS_MS)

    def _close(self, linger: int) -> None:
        endpoints.unlink(self.endpoints)
        self._readers.close()
        self._context.destroy(linger)


class _Outlet:
    """The socket of one format, and the topics that were subscribed to since the last greeting."""

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
        """Whether it begins as one of those topics does; there may be many of them."""
        return any(topic[:length] in self.asked for length in range(len(topic) + 1))
