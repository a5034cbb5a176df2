"""Many streams at one address: a proxy between boxes and readers, with the same limits on readers as at a box."""

import math
import time
from collections.abc import Sequence

import zmq

from adainfd.base.logs import Logger
from adainfd.base.sighup import ReloadRequest
from adainfd.base.stopping import StopRequest
from adainfd.relaying.complaints import Complaints
from adainfd.relaying.names import Names
from adainfd.relaying.streams.sources import Sources
from adainfd.relaying.streams.upstream import Upstream
from adainfd.wire import endpoint as endpoints
from adainfd.wire.reading.link import Box
from adainfd.wire.serving import authentication as gates
from adainfd.wire.serving.authentication import CurveServer
from adainfd.wire.serving.bounds import MOST
from adainfd.wire.serving.readers import Readers, context

__all__ = ["Proxy"]

_LAST_WORDS_MS = 1000


class Proxy:
    """Forwards subscribed messages, each box's under its own host name alone, and subscriptions the other way."""

    def __init__(
        self,
        boxes: Sequence[Box],
        names: Names,
        bind: Sequence[str],
        curve: CurveServer | None,
        log: Logger,
        *,
        most: int = MOST,
    ) -> None:
        """Bind and connect; raise InvalidInputError, with nothing bound, where that is not possible.

        most: readers at once.
        """
        self._log = log
        self._complaints = Complaints(log)
        self._context = context()
        self._readers = Readers(self._context, curve, log, most=most)
        self._outlet = self._readers.watch(self._context.socket(zmq.XPUB))
        self.endpoints: tuple[str, ...] = ()
        try:
            for bound in gates.bind([(self._outlet, endpoint) for endpoint in bind], self._readers.gate):
                self.endpoints += (bound,)
            self._readers.open()
            self._sources = Sources(self._context, boxes, names, self._complaints)
            self._upstream = Upstream(self._sources.sockets)
        except BaseException:
            self.close()
            raise

    def run(self, stop: StopRequest, reload: ReloadRequest) -> None:
        """Forward until a stop is requested; a reload disconnects clients that are no longer allowed.

        Raises the error that ended a thread of ours: without it no client is admitted, or no limit holds.
        """
        poller = zmq.Poller()
        for readable in (self._outlet, stop.fileno()):
            poller.register(readable, zmq.POLLIN)
        while not stop.requested:
            self._sources.register(poller)
            due = min(self._sources.due, self._upstream.due or math.inf)
            timeout_ms = max(0, math.ceil(1000 * (due - time.monotonic())))
            ready = {readable for readable, _ in poller.poll(timeout_ms)}
            for message in self._sources.take(ready):
                self._outlet.send_multipart(message)
            if self._outlet in ready:
                asked = self._readers.hear(self._outlet)
                self._upstream.want(self._readers.wanted, asked)
            self._upstream.update()
            self._attend(reload)

    def _attend(self, reload: ReloadRequest) -> None:
        """Check that every thread runs, and reload where SIGHUP asked for it."""
        self._complaints.review(time.monotonic())
        for part in (self._readers.thread, self._readers.gate):
            if part is not None and part.defect is not None:
                self._log.error("broken", why=part.defect)
                part.check()
        if reload.take():
            if self._readers.gate is not None:
                self._readers.gate.revoke()
            self._log.info("reloaded")

    def close(self) -> None:
        """Send what is queued, for a second at most, and close."""
        endpoints.unlink(self.endpoints)
        self._readers.close()
        self._context.destroy(linger=_LAST_WORDS_MS)
