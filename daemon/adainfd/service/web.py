"""Metrics, health and the status page over HTTP: a fixed table of paths, read only.

One thread serves all connections, whose number, time and share of a processor are bounded: no client keeps the daemon
from its frames, nor another client from its answer for long.
"""

import asyncio
import inspect
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from importlib.resources import files

from adainf.errors import InvalidInputError
from adainfd.service.answer import Answer
from adainfd.service.exchange import Exchange
from adainfd.service.guests import Guests, Refusal
from adainfd.service.pace import Pace
from adainfd.service.refusals import Refusals
from adainfd.service.request import Request
from adainfd.watched import Watched

__all__ = ["Routes", "WebServer", "page"]

_MOST_CONNECTIONS = 32
_MOST_PENDING = 64
_REQUEST_SECONDS = 10.0
# Without a bound, one client that asks without a pause took 0.6 of a processor from the daemon.
_SHARE, _AT_ONCE_SECONDS = 0.1, 0.05
_WITHOUT_DESCRIPTORS_SECONDS = 0.2
_CLOSE_SECONDS = 5.0
_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}

Routes = Mapping[str, Callable[[], Answer | Awaitable[Answer]]]


def page() -> Routes:
    """The files of the status page, by their paths; read once."""
    folder = files("adainfd.service") / "page"
    answers = {path: Answer((folder / name).read_bytes(), kind) for path, (name, kind) in _PAGE.items()}
    return {path: lambda answer=answer: answer for path, answer in answers.items()}  # type: ignore[misc]


class WebServer:
    """Serves `routes` from a thread of its own; `close` ends it."""

    def __init__(
        self,
        host: str,
        port: int,
        routes: Routes,
        guests: Guests | None = None,
        refusals: Refusals | None = None,
        seconds: float = _REQUEST_SECONDS,
    ) -> None:
        """guests: who may ask; by default those of `host`. refusals: counts who may not. seconds: for one request.

        Raises InvalidInputError where the address cannot be bound.
        """
        self._listener = _listener(host, port)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self.thread = Watched("web", self._run)
        self._routes = dict(routes)
        self._guests = guests or Guests(host)
        self._refusals = refusals or Refusals()
        self._seconds = seconds
        self._connections: dict[asyncio.Task[None], str] = {}  # clients' addresses, the oldest connection first
        self._loop = asyncio.new_event_loop()
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer."""
        self.thread.start()

    def close(self) -> None:
        """Stop answering; a request at hand is not waited for."""
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
        pace = Pace(_SHARE, _AT_ONCE_SECONDS)
        # An error that nobody expects ends the group, and with it the thread.
        async with asyncio.TaskGroup() as tasks:
            while True:
                await asyncio.sleep(pace.seconds_to_wait())  # 0 lets the connections at hand have their turn
                try:
                    connection, _ = await self._loop.sock_accept(self._listener)
                except ConnectionError:
                    continue
                except OSError:  # no descriptor is left, or no memory
                    self._end_one()
                    await asyncio.sleep(_WITHOUT_DESCRIPTORS_SECONDS)
                    continue
                if len(self._connections) >= _MOST_CONNECTIONS:
                    self._end_one()
                self._attend(connection, tasks)

    def _attend(self, connection: socket.socket, tasks: asyncio.TaskGroup) -> None:
        try:
            client, reached = connection.getpeername()[0], connection.getsockname()[0]
        except OSError:  # gone already
            connection.close()
            return

        def answer(request: Request) -> Awaitable[Answer]:
            return self._answer(request, client, reached)

        exchange = Exchange(self._loop, connection, client, answer, self._seconds)
        task = tasks.create_task(exchange.run(self._refusals))
        self._connections[task] = client
        task.add_done_callback(lambda task: self._end(task, connection))

    def _end(self, task: asyncio.Task[None], connection: socket.socket) -> None:
        self._connections.pop(task, None)
        connection.close()

    def _end_one(self) -> None:
        """End the oldest connection of the client that has the most: others have had time to be answered."""
        if not self._connections:
            return
        [(client, _)] = Counter(self._connections.values()).most_common(1)
        oldest = next(task for task, theirs in self._connections.items() if theirs == client)
        del self._connections[oldest]
        oldest.cancel()
        self._refusals.count("crowded", client, f"more than {_MOST_CONNECTIONS} connections at once")

    async def _answer(self, request: Request, client: str, reached: str) -> Answer:
        refusal = self._guests.refusal(request, reached) or _wrong_method(request)
        if refusal is not None:
            self._refusals.count(refusal.kind, client, refusal.why)
            more = {"Allow": "GET, HEAD"} if refusal.status is HTTPStatus.METHOD_NOT_ALLOWED else {}
            return Answer(f"{refusal.why}\n".encode(), status=refusal.status, headers=more)
        make = self._routes.get(request.path)
        if make is None:
            return Answer(b"no such page\n", status=HTTPStatus.NOT_FOUND)
        made = make()
        return await made if inspect.isawaitable(made) else made


def _wrong_method(request: Request) -> Refusal | None:
    if request.method in ("GET", "HEAD"):
        return None
    return Refusal("malformed", "only GET and HEAD are answered", HTTPStatus.METHOD_NOT_ALLOWED)


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Connections of the process before, which have just ended, keep nobody out.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_MOST_PENDING)
    except OSError as error:
        listener.close()
        raise InvalidInputError(f"web.bind {host}:{port}: cannot be bound ({error.strerror or error})") from None
    listener.setblocking(False)
    return listener
