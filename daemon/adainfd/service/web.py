"""Metrics, health and the status page over HTTP: a fixed table of paths, read only.

One thread serves all connections, whose number, time and share of a processor are bounded: no client keeps the daemon
from its frames, nor another client from an answer for long.
"""

import asyncio
import contextlib
import inspect
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from importlib.resources import files

from adainf.errors import InvalidInputError
from adainfd.service.guests import Guests, Refusal
from adainfd.service.refusals import Refusals
from adainfd.service.request import LONGEST_HEAD, BadRequestError, Request, head_end

__all__ = ["Answer", "Routes", "WebServer", "page"]

_MOST_CONNECTIONS = 32
_MOST_PENDING = 64
_HEAD_SECONDS = 5.0
_REQUEST_SECONDS = 10.0
# How long what a client still sends is read: to close before would take the answer away from it (RFC 9112, 9.6).
_LINGER_SECONDS = 1.0
# Between two reads of what comes in pieces: whoever sends byte by byte wakes this thread no oftener.
_BETWEEN_READS_SECONDS = 0.05
_WITHOUT_DESCRIPTORS_SECONDS = 0.2
# Of one processor, for all clients together: beyond it new connections wait. Seconds of it may be used at once.
_SHARE, _AT_ONCE_SECONDS = 0.1, 0.05
_PART = 65536
# Nothing from elsewhere, nothing inline; nobody may put the page into a frame, nor a picture into another page.
_HEADERS = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back. headers: beside the usual ones."""

    body: bytes
    kind: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


Routes = Mapping[str, Callable[[], Answer | Awaitable[Answer]]]


def page() -> Routes:
    """The files of the status page, by their paths; read once."""
    folder = files("adainfd.service") / "page"
    answers = {path: Answer((folder / name).read_bytes(), kind) for path, (name, kind) in _PAGE.items()}
    return {path: lambda answer=answer: answer for path, answer in answers.items()}  # type: ignore[misc]


class WebServer:
    """Serves `routes` from a thread of its own; `close` ends it."""

    def __init__(
        self, host: str, port: int, routes: Routes, guests: Guests | None = None, refusals: Refusals | None = None
    ) -> None:
        """guests: who may ask; by default those of `host`. refusals: counts who may not.

        Raises InvalidInputError where the address cannot be bound.
        """
        self._listener = _listener(host, port)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._routes = dict(routes)
        self._guests = guests or Guests(host)
        self._refusals = refusals or Refusals()
        self._connections: dict[asyncio.Task[None], str] = {}  # the oldest first
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering; a request at hand is not waited for."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._cancel)
            self._thread.join()
        self._loop.close()
        self._listener.close()

    def _run(self) -> None:
        self._task = self._loop.create_task(self._serve())
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _serve(self) -> None:
        pace = _Pace()
        # An error that nobody expects ends the group, and with it this thread.
        async with asyncio.TaskGroup() as tasks:
            while True:
                await asyncio.sleep(pace.seconds_to_wait())
                try:
                    connection, _ = await self._loop.sock_accept(self._listener)
                except ConnectionError:
                    continue
                except OSError:  # there is no descriptor for one more, or no memory
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
        exchange = _Exchange(self._loop, connection, client, lambda request: self._answer(request, client, reached))
        task = tasks.create_task(exchange.run(self._refusals))
        self._connections[task] = client
        task.add_done_callback(self._connections.pop)

    def _end_one(self) -> None:
        """End the oldest connection of the client that has the most: whoever asks at once has his answer by then."""
        if not self._connections:
            return
        counts = Counter(self._connections.values())
        client = max(counts, key=lambda client: counts[client])
        oldest = next(task for task, theirs in self._connections.items() if theirs == client)
        del self._connections[oldest]
        oldest.remove_done_callback(self._connections.pop)
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


class _Pace:
    """Keeps the thread that asks to a share of a processor."""

    def __init__(self) -> None:
        self._left = _AT_ONCE_SECONDS
        self._used, self._at = time.thread_time(), time.monotonic()

    def seconds_to_wait(self) -> float:
        """For how long to do nothing new."""
        used, now = time.thread_time(), time.monotonic()
        self._left += _SHARE * (now - self._at) - (used - self._used)
        self._left = min(self._left, _AT_ONCE_SECONDS)
        self._used, self._at = used, now
        return max(0.0, -self._left / _SHARE)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One connection: a request, its answer, and the end."""

    loop: asyncio.AbstractEventLoop
    connection: socket.socket
    client: str
    answer: Callable[[Request], Awaitable[Answer]]

    async def run(self, refusals: Refusals) -> None:
        """From the first byte to the last, within a time; whoever takes longer is hung up on."""
        with self.connection:
            try:
                async with asyncio.timeout(_REQUEST_SECONDS):
                    await self._exchange(refusals)
            except TimeoutError:
                refusals.count("slow", self.client, f"a request took longer than {_REQUEST_SECONDS:.0f} s")
            except OSError:
                pass  # a client that hangs up is no news

    async def _exchange(self, refusals: Refusals) -> None:
        request = None
        try:
            head = await self._head()
            if head is None:
                return
            request = Request.parse(head)
            answer = await self.answer(request)
        except BadRequestError as error:
            kind = "slow" if error.status is HTTPStatus.REQUEST_TIMEOUT else "malformed"
            refusals.count(kind, self.client, str(error))
            answer = Answer(f"{error}\n".encode(), status=error.status)
        sent = _sent(answer, body=request is None or request.method != "HEAD")
        await self.loop.sock_sendall(self.connection, sent)
        await self._linger()

    async def _head(self) -> bytes | None:
        """A request's head, without the line at its end; None where the client says nothing."""
        received = b""
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                while (end := head_end(received)) is None:
                    if len(received) > LONGEST_HEAD:
                        raise BadRequestError("a head that is too long", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                    if received:
                        await asyncio.sleep(_BETWEEN_READS_SECONDS)
                    part = await self.loop.sock_recv(self.connection, _PART)
                    if not part:
                        break
                    received = (received + part).lstrip(b"\r\n")
        except TimeoutError:
            if received:
                why = f"a head that took longer than {_HEAD_SECONDS:.0f} s"
                raise BadRequestError(why, HTTPStatus.REQUEST_TIMEOUT) from None
        if end is not None:
            return received[: end[0]]
        if received:
            raise BadRequestError("a head without an end")
        return None

    async def _linger(self) -> None:
        self.connection.shutdown(socket.SHUT_WR)
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while await self.loop.sock_recv(self.connection, _PART):
                    await asyncio.sleep(_BETWEEN_READS_SECONDS)
        except TimeoutError:
            pass


def _sent(answer: Answer, *, body: bool) -> bytes:
    """An answer's bytes, of HTTP/1.0: a connection a request."""
    fields = {
        "Server": "adainfd",
        "Date": formatdate(usegmt=True),
        "Content-Type": answer.kind,
        "Content-Length": str(len(answer.body)),
        **_HEADERS,
        **answer.headers,
    }
    lines = [f"HTTP/1.0 {answer.status.value} {answer.status.phrase}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (answer.body if body else b"")
