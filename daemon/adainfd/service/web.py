"""Metrics, health and the status page over HTTP: a fixed table of paths, read only."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from socket import AF_INET, AF_INET6, SO_REUSEADDR, SOL_SOCKET, socket
from typing import Any
from urllib.parse import urlsplit

from adainf.errors import InvalidInputError
from adainfd.watched import Watched

__all__ = ["Answer", "Routes", "WebServer", "page"]

_CONNECTIONS_AT_ONCE = 32
_PATIENCE_SECONDS = 5.0
# Nothing from elsewhere, nothing inline; nobody may put the page into a frame.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
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


Routes = Mapping[str, Callable[[], Answer]]


def page() -> Routes:
    """The files of the status page, by their paths; read once."""
    folder = files("adainfd.service") / "page"
    answers = {path: Answer((folder / name).read_bytes(), kind) for path, (name, kind) in _PAGE.items()}
    return {path: lambda answer=answer: answer for path, answer in answers.items()}  # type: ignore[misc]


class WebServer:
    """Serves `routes` from a thread of its own, each request from another; `close` ends all of them."""

    def __init__(self, host: str, port: int, routes: Routes) -> None:
        """Raises InvalidInputError where the address cannot be bound."""
        handler = type("Handler", (_Handler,), {"routes": dict(routes)})
        try:
            self._server = _Server((host, port), handler)
        except OSError as error:
            raise InvalidInputError(f"web.bind {host}:{port}: cannot be bound ({error.strerror or error})") from None
        self.address: tuple[str, int] = self._server.server_address[:2]  # type: ignore[assignment]
        self.thread = Watched("web", lambda: self._server.serve_forever(0.2))

    def start(self) -> None:
        """Begin to answer."""
        self.thread.start()

    def close(self) -> None:
        """Stop answering; a request at hand is not waited for."""
        self.thread.leave()
        if self.thread.alive:
            self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        self._places = threading.BoundedSemaphore(_CONNECTIONS_AT_ONCE)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer's looks up the host's name, which may take seconds.
        # Connections of the process before, which have just ended, keep nobody out.
        self.socket.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """A client that hangs up or speaks something else is no news."""


class _Handler(BaseHTTPRequestHandler):
    routes: dict[str, Callable[[], Answer]]
    timeout = _PATIENCE_SECONDS
    server_version = "adainfd"
    sys_version = ""
    protocol_version = "HTTP/1.0"  # a connection a request: nobody holds a place

    def do_GET(self) -> None:
        make = self.routes.get(urlsplit(self.path).path) if self.path.startswith("/") else None
        answer = make() if make is not None else Answer(b"no such page\n", status=HTTPStatus.NOT_FOUND)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in {**_HEADERS, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What cannot be understood is the client's mistake."""
        mistake = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus.BAD_REQUEST
        super().send_error(code if code < HTTPStatus.INTERNAL_SERVER_ERROR else mistake, message, explain)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """No line a request in the log."""
