"""Many streams at one address: forwarded between the boxes and whoever reads them, who cost no more than at a box."""

import math
import time
from collections.abc import Sequence

import zmq

from adainfd.logs import Logger
from adainfd.relaying.upstream import Upstream
from adainfd.sighup import ReloadRequest
from adainfd.stopping import StopRequest
from adainfd.wire import endpoint as endpoints
from adainfd.wire import gate as gates
from adainfd.wire.bounds import MOST
from adainfd.wire.gate import Curve
from adainfd.wire.link import AFTER_REFUSAL_SECONDS, Box, Link, Links, connecting
from adainfd.wire.readers import Readers, context

__all__ = ["Proxy"]

_LAST_WORDS_MS = 1000
_MESSAGES_A_TURN = 1000
_LOOK_EVERY_SECONDS = 0.5


class Proxy:
    """Forwards what is subscribed to, and subscriptions the other way; what it passes on it does not look at."""

    def __init__(
        self, boxes: Sequence[Box], bind: Sequence[str], curve: Curve | None, log: Logger, *, most: int = MOST
    ) -> None:
        """Bind and connect; raises InvalidInputError, with nothing bound, where that is not possible.

        most: readers at once.
        """
        self._boxes = {box.endpoint: box for box in boxes}
        self._log = log
        self._context = context()
        self._inlet = connecting(self._context.socket(zmq.XSUB))
        self._upstream = Upstream(self._inlet)
        self._links = Links(self._inlet, keys=any(box.keys for box in boxes))
        self._retries: dict[str, float] = {}
        self._readers = Readers(self._context, curve, log, most=most)
        self._outlet = self._readers.watch(self._context.socket(zmq.XPUB))
        self.endpoints: tuple[str, ...] = ()
        try:
            for bound in gates.bind([(self._outlet, endpoint) for endpoint in bind], self._readers.gate):
                self.endpoints += (bound,)
            self._readers.open()
            for box in boxes:
                box.connect(self._inlet)
        except BaseException:
            self.close()
            raise

    def run(self, stop: StopRequest, reload: ReloadRequest) -> None:
        """Forward until a stop is requested; a reload hangs up on clients that may not come any more.

        Raises what ended a thread of ours: without it nobody comes in, or no bound holds.
        """
        poller = zmq.Poller()
        for readable in (self._inlet, self._outlet, self._links.monitor, stop.fileno()):
            poller.register(readable, zmq.POLLIN)
        while not stop.requested:
            dues = [due for due in (*self._retries.values(), self._upstream.due) if due is not None]
            due = min([time.monotonic() + _LOOK_EVERY_SECONDS, *dues])
            patience = max(0, math.ceil(1000 * (due - time.monotonic())))
            ready = {readable for readable, _ in poller.poll(patience)}
            if self._inlet in ready:
                self._forward()
            if self._outlet in ready:
                asked = self._readers.hear(self._outlet)
                self._upstream.want(self._readers.wanted, asked)
            self._upstream.update()
            self._hear_boxes()
            self._attend(reload)

    def _attend(self, reload: ReloadRequest) -> None:
        """See that every thread works, and do what SIGHUP asks for."""
        for part in (self._readers.thread, self._readers.gate):
            if part is not None and part.defect is not None:
                self._log.error("broken", why=part.defect)
                part.check()
        if reload.take():
            if self._readers.gate is not None:
                self._readers.gate.revoke()
            self._log.info("reloaded")

    def close(self) -> None:
        """Let the last messages go out, for a second at most, and close."""
        endpoints.unlink(self.endpoints)
        self._readers.close()
        self._context.destroy(linger=_LAST_WORDS_MS)

    def _forward(self) -> None:
        """Pass on what waits; some of it where boxes bring it faster than it goes out."""
        for _ in range(_MESSAGES_A_TURN):
            try:
                self._outlet.send_multipart(self._inlet.recv_multipart(zmq.DONTWAIT))
            except zmq.Again:
                return

    def _hear_boxes(self) -> None:
        """Hear how the boxes are, and try again where one has refused us."""
        now = time.monotonic()
        for link in self._links.changes():
            self._tell(link)
            self._retries.pop(link.endpoint, None)
            if link.state == "refused":
                self._retries[link.endpoint] = now + AFTER_REFUSAL_SECONDS
        for endpoint in [endpoint for endpoint, at in self._retries.items() if at <= now]:
            self._retries[endpoint] = now + AFTER_REFUSAL_SECONDS
            self._boxes[endpoint].connect(self._inlet, anew=True)

    def _tell(self, link: Link) -> None:
        say = self._log.info if link.state == "connected" else self._log.warning
        say(f"box_{link.state}", endpoint=link.endpoint, **({"why": link.why} if link.why else {}))
