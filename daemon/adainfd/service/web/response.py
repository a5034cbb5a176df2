"""HTTP responses, and the headers on each of them that keep browsers from exposing it to other sites."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus

from adainfd.service.web.request import HttpRequest

__all__ = ["Posts", "Response", "Routes"]

# No resources from other sites, none inline; no other site may frame the page or embed a picture.
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


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response; headers: in addition to those that every response has."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self, *, with_body: bool = True) -> bytes:
        """Return the bytes as HTTP/1.0, one request per connection; with_body: False for the response to HEAD."""
        fields = {
            "Server": "adainfd",
            "Date": formatdate(usegmt=True),
            "Content-Type": self.content_type,
            "Content-Length": str(len(self.body)),
            **_HEADERS,
            **self.headers,
        }
        lines = [f"HTTP/1.0 {self.status.value} {self.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + (self.body if with_body else b"")


Routes = Mapping[str, Callable[[], Response | Awaitable[Response]]]
"""Functions that make the response to a GET, by path. There are no patterns: a path that is not a key is not found."""

Posts = Mapping[str, Callable[[HttpRequest, str], Response | Awaitable[Response]]]
"""Functions that make the response to a POST from the request and the client's address, by path, without patterns."""
