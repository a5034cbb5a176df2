"""Many streams at one address: libzmq's own proxy between the boxes and whoever reads them."""

import time
from collections.abc import Sequence
from typing import Any

import zmq

from adainfd.logs import Logger
from adainfd.sighup import ReloadRequest
from adainfd.stopping import StopRequest
from adainfd.watched import Watched
from adainfd.wire import endpoint as endpoints
from adainfd.wire import gate as gates
from adainfd.wire.gate import Curve, Gate
from adainfd.wire.link import AFTER_REFUSAL_SECONDS, Box, Link, Links, connecting
from adainfd.wire.publisher import publishing

__all__ = ["Proxy"]

_LAST_WORDS_MS = 1000
_HALT_WITHIN_MS = 2000
_LOOK_EVERY_SECONDS = 0.5


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
        self._thread: Watched | None = None
        self.endpoints: tuple[str, ...] = ()
        try:
            for bound in gates.bind([(self._outlet, endpoint) for endpoint in bind], self._gate):
                self.endpoints += (bound,)
            for box in boxes:
                box.connect(self._inlet)
        except BaseException:
            self.close()
            raise

    def run(self, stop: StopRequest, reload: ReloadRequest) -> None:
        """Forward until a stop is requested; a reload hangs up on clients that may not come any more.

        Raises what ended a thread of ours: without it nothing is forwarded, or nobody comes in.
        """
        poller = zmq.Poller()
        poller.register(self._links.monitor, zmq.POLLIN)
        poller.register(stop.fileno(), zmq.POLLIN)
        retries: dict[str, float] = {}
        self._forward()
        while not stop.requested:
            due = min([time.monotonic() + _LOOK_EVERY_SECONDS, *retries.values()])
            poller.poll(max(0, round(1000 * (due - time.monotonic()))))
            self._attend(reload)
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

    def _attend(self, reload: ReloadRequest) -> None:
        """See that every thread works, and do what SIGHUP asks for."""
        for part in (self._thread, self._gate):
            if part is not None and part.defect is not None:
                self._log.error("broken", why=part.defect)
                part.check()
        if reload.take():
            if self._gate is not None:
                self._gate.revoke()
            self._log.info("reloaded")

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
        self._thread = Watched("proxy", lambda: zmq.proxy_steerable(*arguments))
        self._thread.start()

    def _halt(self) -> None:
        if self._thread is None:
            return
        self._thread.leave()
        if self._thread.alive:
            self._control.send(b"TERMINATE")
            if self._control.poll(_HALT_WITHIN_MS):
                self._control.recv()
            self._thread.join(_HALT_WITHIN_MS / 1000)
        self._thread = None

    def _tell(self, link: Link) -> None:
        say = self._log.info if link.state == "connected" else self._log.warning
        say(f"box_{link.state}", endpoint=link.endpoint, **({"why": link.why} if link.why else {}))
