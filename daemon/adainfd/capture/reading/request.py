"""A single request to a camera: HTTP GET or RTSP DESCRIBE, authenticated if the camera asks for it.

OpenCV does not say why a stream does not open; the camera does.
"""

import contextlib
import http.client
import io
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from typing import Any, BinaryIO
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from adainfd.capture.leash import Leash
from adainfd.capture.reading.login import Login

__all__ = ["HttpAnswer", "HttpCamera", "LedElsewhereError", "RedirectError", "RtspCamera", "TooLargeError"]

_AGENT = "adainf"
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_LARGEST_BODY = 64 << 20
_LARGEST_DESCRIPTION = 1 << 20
_CHUNK = 1 << 16
_BEGINNING = 32
_SAFE = "%/:=&?~#+!$,;'@()*[]"


class RedirectError(ValueError):
    """A redirect to an invalid address or to another scheme."""


class LedElsewhereError(Exception):
    """A redirect to an address the leash does not allow; the message names the address."""


class TooLargeError(Exception):
    """A body larger than any picture."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The camera's answer to a request."""

    status: int
    headers: Message
    body: bytes

    @property
    def content_type(self) -> str:
        """The media type in lower case, such as image/jpeg; empty if absent."""
        return self.headers.get_content_type() if "Content-Type" in self.headers else ""


class HttpCamera:
    """A camera behind http or https. Certificates are not verified, as OpenCV does not verify them either."""

    def __init__(self, address: str, leash: Leash) -> None:
        """leash: limits redirects. Raises ValueError if the address is invalid."""
        self._url = _parsed(address)
        self._leash = leash
        self._login = Login(self._url)
        self._challenges: list[str] = []

    def get(self, until: float, headers: Mapping[str, str] | None = None, *, whole: bool = True) -> HttpAnswer:
        """Request the page by `until` (monotonic seconds) at the latest.

        whole: read the entire body, not just its first bytes.
        Raises OSError or HTTPException if there is no answer, RedirectError on a redirect to an address that is no web
        page, LedElsewhereError on a redirect the leash forbids, TooLargeError if the body exceeds 64 MiB.
        """
        url = self._url
        for _ in range(_MOST_REDIRECTS):
            answer = self._get(url, headers or {}, until, whole)
            if answer.status not in _REDIRECTS or not (location := answer.headers.get("Location")):
                break
            try:
                url = _parsed(urljoin(url.geturl(), location))
            except ValueError:
                raise RedirectError from None
            if url.scheme not in ("http", "https"):
                raise RedirectError
            self._check(url)
        return answer

    def _check(self, url: SplitResult) -> None:
        host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        downgraded = (self._url.scheme, url.scheme) == ("https", "http")
        if downgraded or not self._leash.allows(host, port):
            raise LedElsewhereError(self._leash.refusal(host, port, encrypted=not downgraded))

    def _get(self, url: SplitResult, headers: Mapping[str, str], until: float, whole: bool) -> HttpAnswer:
        elsewhere = url.hostname != self._url.hostname or (self._url.scheme, url.scheme) == ("https", "http")
        if elsewhere:  # the password is not meant for that host, or would be sent unencrypted
            return _http_answer(url, headers, None, until, whole)
        answer = _http_answer(url, headers, self._authorization(url), until, whole)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            # First request, or a stale challenge. Retry once only: cameras lock out users after repeated failures.
            self._challenges = answer.headers.get_all("WWW-Authenticate", [])
            if authorization := self._authorization(url):
                answer = _http_answer(url, headers, authorization, until, whole)
        return answer

    def _authorization(self, url: SplitResult) -> str | None:
        return self._login.answer(self._challenges, "GET", _target(url)) if self._challenges else None


def _http_answer(
    url: SplitResult, headers: Mapping[str, str], authorization: str | None, until: float, whole: bool
) -> HttpAnswer:
    connection = (
        http.client.HTTPSConnection(url.hostname or "", url.port, timeout=_left(until), context=_trusting())
        if url.scheme == "https"
        else http.client.HTTPConnection(url.hostname or "", url.port, timeout=_left(until))
    )
    sent_headers = {"User-Agent": _AGENT, "Connection": "close", **headers}
    if authorization is not None:
        sent_headers["Authorization"] = authorization
    with contextlib.closing(connection):
        connection.connect()
        connected, connection.sock = connection.sock, _Timed(connection.sock, until)
        with connected, contextlib.closing(_asked(connection, url, sent_headers)) as response:
            if response.status != HTTPStatus.OK:
                return HttpAnswer(response.status, response.headers, b"")
            chunks = _chunks(response)
            if whole:
                return HttpAnswer(response.status, response.headers, b"".join(chunks))
            body = b""
            with contextlib.suppress(OSError, http.client.HTTPException):  # status and headers are enough
                body = next(chunks, b"")[:_BEGINNING]
            return HttpAnswer(response.status, response.headers, body)


def _asked(
    connection: http.client.HTTPConnection, url: SplitResult, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    connection.request("GET", _target(url), headers=dict(headers))
    return connection.getresponse()


class _Timed:
    """A socket for http.client with a deadline for the whole answer."""

    def __init__(self, connected: socket.socket, until: float) -> None:
        self._connected = connected
        self._until = until

    def sendall(self, sent: Any) -> None:
        self._connected.settimeout(_left(self._until))
        self._connected.sendall(sent)

    def makefile(self, mode: str) -> io.BufferedReader:
        del mode
        return io.BufferedReader(_Answers(self._connected, self._until), _CHUNK)

    def close(self) -> None:
        """Do nothing: http.client calls this during the answer, but the opener closes the socket."""


class _Answers(io.RawIOBase):
    """The camera's answer as a raw stream with an overall deadline.

    A socket's own timeout restarts with each read, so a server that trickles single bytes would never exceed it.
    """

    def __init__(self, connected: socket.socket, until: float) -> None:
        self._connected = connected
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connected.settimeout(_left(self._until))
        return self._connected.recv_into(buffer)


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    size = 0
    while True:
        chunk = response.read1(_CHUNK)
        if not chunk:
            break
        size += len(chunk)
        if size > _LARGEST_BODY:
            raise TooLargeError
        yield chunk
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)


class RtspCamera:
    """A camera behind rtsp or rtsps."""

    def __init__(self, address: str) -> None:
        """Raise ValueError if the address is invalid."""
        self._url = _parsed(address)
        self._port = self._url.port or (322 if self._url.scheme == "rtsps" else 554)
        self._login = Login(self._url)
        host = f"[{self._url.hostname}]" if ":" in (self._url.hostname or "") else self._url.hostname
        port = "" if self._url.port is None else f":{self._url.port}"
        self._target = quote(self._url._replace(netloc=f"{host}{port}").geturl(), safe=_SAFE)

    def describe(self, until: float) -> HttpAnswer:
        """Request the stream's description by `until` (monotonic seconds).

        Raises OSError or HTTPException if there is no answer.
        """
        with socket.create_connection((self._url.hostname or "", self._port), _left(until)) as plain:
            connected = plain
            if self._url.scheme == "rtsps":
                connected = _trusting().wrap_socket(plain, server_hostname=self._url.hostname)
            with connected, _Timed(connected, until).makefile("rb") as answers:
                answer = self._ask(connected, answers, until, None)
                if answer.status == HTTPStatus.UNAUTHORIZED:
                    challenges = answer.headers.get_all("WWW-Authenticate", [])
                    authorization = self._login.answer(challenges, "DESCRIBE", self._target)
                    if authorization:
                        answer = self._ask(connected, answers, until, authorization)
                return answer

    def _ask(self, connected: socket.socket, answers: BinaryIO, until: float, authorization: str | None) -> HttpAnswer:
        lines = [f"DESCRIBE {self._target} RTSP/1.0", f"CSeq: {2 if authorization else 1}", f"User-Agent: {_AGENT}"]
        lines += ["Accept: application/sdp", *([f"Authorization: {authorization}"] if authorization else [])]
        connected.settimeout(_left(until))
        connected.sendall("\r\n".join([*lines, "", ""]).encode())
        line = answers.readline(_CHUNK).split(None, 2)
        if len(line) < 2 or not line[0].startswith(b"RTSP/") or not re.fullmatch(rb"\d{3}", line[1]):
            raise http.client.BadStatusLine("")
        headers = http.client.parse_headers(answers)
        length = headers.get("Content-Length", "0")
        size = int(length) if re.fullmatch(r"\d{1,9}", length, re.ASCII) else 0
        return HttpAnswer(int(line[1]), headers, answers.read(min(size, _LARGEST_DESCRIPTION)))


def _parsed(address: str) -> SplitResult:
    url = urlsplit(address)
    if not url.hostname or url.port == 0:  # `port` itself raises ValueError if it is not a number
        raise ValueError
    return url


def _target(url: SplitResult) -> str:
    return quote((url.path or "/") + (f"?{url.query}" if url.query else ""), safe=_SAFE)


def _left(until: float) -> float:
    if (left := until - time.monotonic()) <= 0:
        raise TimeoutError
    return left


def _trusting() -> ssl.SSLContext:
    """Return a lenient TLS context: cameras sign their own certificates, and many support only old ciphers."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    return context
