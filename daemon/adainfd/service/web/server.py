"""The HTTP server behind the status page, metrics, health checks and the page to label: a fixed table of paths.

It is our own because ready-made servers lack its guarantees: http.server has no time limit for a whole request and
needs a thread for each slow client, and the servers that solve both bring a framework. One thread serves all
connections. Their number, their time and their processor time are limited, so that no client keeps the daemon from its
frames, or another client from its response for long:

- a connection has ten seconds in all (connection.py);
- of more than 32 connections, the oldest of the client that has the most is closed;
- a connection carries one request, whose body is read only where POST is answered, up to a bound (request.py);
- the thread takes at most a tenth of a processor (throttle.py): half of that for responses that are costly to make,
  half for the rest, so that /live does not wait behind a hundred requests for /metrics.
"""

import asyncio
import functools
import inspect
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from adainf.base.errors import InvalidInputError
from adainf.base.hindrances import Watched
from adainfd.service.web.access import HEALTH, Access, Refusal
from adainfd.service.web.connection import HttpConnection
from adainfd.service.web.refusals import Refusals
from adainfd.service.web.request import HttpRequest
from adainfd.service.web.response import Posts, Response, Routes
from adainfd.service.web.throttle import Throttle

__all__ = ["WebServer"]

_MOST_CONNECTIONS = 32
_MOST_PENDING = 64
_REQUEST_SECONDS = 10.0
_SHARE, _BURST_SECONDS = 0.05, 0.05
_WITHOUT_DESCRIPTORS_SECONDS = 0.2
_CLOSE_SECONDS = 5.0


class WebServer:
    """Serves `routes` from a thread of its own; `close` ends it."""

    def __init__(
        self,
        host: str,
        port: int,
        routes: Routes,
        access: Access | None = None,
        refusals: Refusals | None = None,
        seconds: float = _REQUEST_SECONDS,
        share: float = _SHARE,
        posts: Posts | None = None,
        most_body: int = 0,
    ) -> None:
        """Bind the address; raise InvalidInputError where that is not possible.

        access: which requests are served; by default those addressed to `host`. refusals: counts the others. seconds:
        limit for one request. share: of a processor, for costly responses, and the same again for all the rest.
        posts: by default nothing is answered but GET and HEAD. most_body: bytes that a POST may bring.
        """
        self._listener = _listener(host, port)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self.thread = Watched("web", self._run)
        self._routes, self._posts = dict(routes), dict(posts or {})
        self._most_body = most_body
        self._access = access or Access(host)
        self._refusals = refusals or Refusals()
        self._seconds, self._share = seconds, share
        self._connections: dict[asyncio.Task[None], str] = {}  # clients' addresses, the oldest connection first
        self._loop = asyncio.new_event_loop()
        self._serving: asyncio.Task[None] | None = None
        self._making = asyncio.Lock()
        self._made_in = 0.0  # processor time of the responses made until now
        self._costly = Throttle(share, _BURST_SECONDS, lambda: self._made_in)

    def start(self) -> None:
        """Start to serve."""
        self.thread.start()

    def close(self) -> None:
        """Stop serving, without waiting for pending requests."""
        self.thread.leave()
        if self.thread.alive:
            self._loop.call_soon_threadsafe(self._stop)
        if self.thread.join(_CLOSE_SECONDS):
            self._loop.close()
        self._listener.close()

    def _stop(self) -> None:
        if self._serving is not None:
            self._serving.cancel()

    def _run(self) -> None:
        self._serving = self._loop.create_task(self._serve())
        try:
            self._loop.run_until_complete(self._serving)
        except asyncio.CancelledError:
            pass
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _serve(self) -> None:
        cheap = Throttle(self._share, _BURST_SECONDS, lambda: time.thread_time() - self._made_in)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await asyncio.sleep(cheap.seconds_to_wait())  # a sleep of 0 lets open connections have their turn
                try:
                    accepted, _ = await self._loop.sock_accept(self._listener)
                except ConnectionError:
                    continue
                except OSError:  # no descriptor or memory is left
                    self._end_one("no descriptor, or no memory, was left")
                    await asyncio.sleep(_WITHOUT_DESCRIPTORS_SECONDS)
                    continue
                if len(self._connections) >= _MOST_CONNECTIONS:
                    self._end_one(f"more than {_MOST_CONNECTIONS} connections at once")
                self._attend(accepted, tasks)

    def _attend(self, accepted: socket.socket, tasks: asyncio.TaskGroup) -> None:
        try:
            client, reached = accepted.getpeername()[0], accepted.getsockname()[0]
        except OSError:  # the client is gone already
            accepted.close()
            return

        def respond(request: HttpRequest) -> Awaitable[Response]:
            return self._respond(request, client, reached)

        connection = HttpConnection(
            self._loop, accepted, client, respond, self._seconds, self._refusals, self._most_body
        )
        task = tasks.create_task(connection.run())
        self._connections[task] = client
        task.add_done_callback(lambda task: self._end(task, accepted))

    def _end(self, task: asyncio.Task[None], accepted: socket.socket) -> None:
        self._connections.pop(task, None)
        accepted.close()

    def _end_one(self, why: str) -> None:
        """End the oldest connection of the client that has the most: it has had the most time to be served."""
        if not self._connections:
            return
        [(client, _)] = Counter(self._connections.values()).most_common(1)
        oldest = next(task for task, theirs in self._connections.items() if theirs == client)
        del self._connections[oldest]
        oldest.cancel()
        self._refusals.count("crowded", client, why)

    async def _respond(self, request: HttpRequest, client: str, reached: str) -> Response:
        post = self._posts.get(request.path) if request.method == "POST" else None
        refusal = self._access.refusal(request, reached) or (None if post else _wrong_method(request))
        if refusal is not None:
            self._refusals.count(refusal.kind, client, refusal.why)
            headers = {"Allow": "GET, HEAD"} if refusal.status is HTTPStatus.METHOD_NOT_ALLOWED else {}
            return Response(f"{refusal.why}\n".encode(), status=refusal.status, headers=headers)
        get = self._routes.get(request.path)
        make = get if post is None else functools.partial(post, request, client)
        if make is None:
            return Response(b"no such page\n", status=HTTPStatus.NOT_FOUND)
        try:
            return await self._made(make, at_once=request.path in HEALTH)
        except Exception as error:  # a defect of ours: the server goes on, and the log has the place
            self._refusals.failed(client, error)
            return Response(b"the daemon failed; its log says why\n", status=HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _made(self, make: Callable[[], Response | Awaitable[Response]], *, at_once: bool) -> Response:
        if at_once:
            response = make()
        else:
            async with self._making:  # one at a time, in the order of their requests
                await asyncio.sleep(self._costly.seconds_to_wait())
                started_at = time.thread_time()
                try:
                    response = make()
                finally:
                    self._made_in += time.thread_time() - started_at
        return await response if inspect.isawaitable(response) else response


def _wrong_method(request: HttpRequest) -> Refusal | None:
    if request.method in ("GET", "HEAD"):
        return None
    return Refusal("malformed", "only GET and HEAD are answered", HTTPStatus.METHOD_NOT_ALLOWED)


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # The previous process's connections, just ended, must not prevent the bind.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_MOST_PENDING)
    except OSError as error:
        listener.close()
        raise InvalidInputError(f"web.bind {host}:{port}: cannot be bound ({error.strerror or error})") from None
    listener.setblocking(False)
    return listener
