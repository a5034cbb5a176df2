"""Many streams at one address: libzmq's own proxy between the boxes and whoever reads them."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import zmq

from adainfd.logs import Logger
from adainfd.stopping import StopRequest
from adainfd.wire import endpoint as endpoints
from adainfd.wire import gate as gates
from adainfd.wire.gate import Curve, Gate
from adainfd.wire.link import AFTER_REFUSAL_SECONDS, Box, Link, Links, connecting
from adainfd.wire.publisher import publishing

__all__ = ["Proxy"]

_LAST_WORDS_MS = 1000


class Proxy:
    """Forwards what is subscribed to, and subscriptions the other way; what it passes on it does not look at."""

    def __init__(self, boxes: Sequence[Box], bind: Sequence[str], curve: Curve | None, log: Logger) -> None:
        """Bind and connect; raises InvalidInputError, with nothing bound, where that is not possible."""
        self._boxes = {box.endpoint: box for box in boxes}
        self._log = log
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._inlet = connecting(self._context.socket(zmq.XSUB))
        self._outlet = publishing(self._context.socket(zmq.XPUB))
        # Each subscription goes on to the boxes, which then say again what they said last; so does each end of one.
        self._outlet.setsockopt(zmq.XPUB_VERBOSER, 1)
        self._control, self._controlled = self._context.socket(zmq.PAIR), self._context.socket(zmq.PAIR)
        self._controlled.bind("inproc://control")
        self._control.connect("inproc://control")
        self._links = Links(self._inlet, keys=any(box.keys for box in boxes))
        self._gate = None if curve is None else Gate(self._context, curve)
        self._thread: threading.Thread | None = None
        self.endpoints: tuple[str, ...] = ()
        try:
            for bound in gates.bind([(self._outlet, endpoint) for endpoint in bind], self._gate):
                self.endpoints += (bound,)
            for box in boxes:
                box.connect(self._inlet)
        except BaseException:
            self.close()
            raise

    def run(self, stop: StopRequest) -> None:
        """Forward until a stop is requested."""
        poller = zmq.Poller()
        poller.register(self._links.monitor, zmq.POLLIN)
        poller.register(stop.fileno(), zmq.POLLIN)
        retries: dict[str, float] = {}
        self._forward()
        while not stop.requested:
            due = min(retries.values(), default=None)
            poller.poll(None if due is None else max(0, round(1000 * (due - time.monotonic()))))
            now = time.monotonic()
            for link in self._links.changes():
                self._tell(link)
                retries.pop(link.endpoint, None)
                if link.state == "refused":
                    retries[link.endpoint] = now + AFTER_REFUSAL_SECONDS
            again = [endpoint for endpoint, at in retries.items() if at <= now]
            if again:
                self._halt()
                for endpoint in again:
                    retries[endpoint] = now + AFTER_REFUSAL_SECONDS
                    self._boxes[endpoint].connect(self._inlet, anew=True)
                self._forward()

    def close(self) -> None:
        """Let the last messages go out, for a second at most, and close."""
        self._halt()
        endpoints.unlink(self.endpoints)
        if self._gate is not None:
            self._gate.close()
        self._context.destroy(linger=_LAST_WORDS_MS)

    def _forward(self) -> None:
        """Let libzmq forward, in a thread of ours; nobody else touches these sockets until `_halt`."""
        arguments: tuple[Any, ...] = (self._inlet, self._outlet, None, self._controlled)
        self._thread = threading.Thread(target=zmq.proxy_steerable, args=arguments, name="proxy")
        self._thread.start()

    def _halt(self) -> None:
        if self._thread is not None:
            self._control.send(b"TERMINATE")
            self._control.recv()
            self._thread.join()
            self._thread = None

    def _tell(self, link: Link) -> None:
        say = self._log.info if link.state == "connected" else self._log.warning
        say(f"box_{link.state}", endpoint=link.endpoint, **({"why": link.why} if link.why else {}))
