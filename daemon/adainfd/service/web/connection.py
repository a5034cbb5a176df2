"""One HTTP connection, from accept to close: reads one request, sends one response, within a time limit."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from http import HTTPStatus

from adainfd.service.web.refusals import Refusals
from adainfd.service.web.request import LONGEST_HEAD, BadRequestError, HttpRequest, head_end
from adainfd.service.web.response import Response

__all__ = ["HttpConnection"]

# How long to read on after the response: closing earlier could reset the connection and lose it (RFC 9112, 9.6).
_LINGER_SECONDS = 1.0
# The pauses between reads grow, so that a client that sends byte by byte, or without end, rarely wakes the thread.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.001, 0.05
_READ_BYTES = 65536


@dataclass(frozen=True, slots=True)
class HttpConnection:
    """An accepted connection.

    client: its address. respond: makes the response to a request. seconds: limit for the request; half of it for the
    head. most_body: bytes that a POST may bring; 0: no body is ever read.
    """

    loop: asyncio.AbstractEventLoop
    socket: socket.socket
    client: str
    respond: Callable[[HttpRequest], Awaitable[Response]]
    seconds: float
    refusals: Refusals
    most_body: int = 0

    async def run(self) -> None:
        """Serve the request; disconnect a client that takes too long.

        A defect of ours is logged, and ends this connection alone.
        """
        try:
            async with asyncio.timeout(self.seconds):
                await self._serve()
        except TimeoutError:
            self.refusals.count("slow", self.client, f"the request took longer than {self.seconds:g} s")
        except OSError:
            pass  # the client hung up
        except Exception as error:
            self.refusals.failed(self.client, error)

    async def _serve(self) -> None:
        method = "GET"
        try:
            received = await self._head()
            if received is None:
                return
            head, rest = received
            request = HttpRequest.parse(head)
            method = request.method
            if self.most_body and method == "POST":
                request = replace(request, body=await self._body(rest, request.body_length(self.most_body)))
            response = await self.respond(request)
        except BadRequestError as error:
            kind = "slow" if error.status is HTTPStatus.REQUEST_TIMEOUT else "malformed"
            self.refusals.count(kind, self.client, str(error))
            response = Response(f"{error}\n".encode(), status=error.status)
        await self.loop.sock_sendall(self.socket, response.encoded(with_body=method != "HEAD"))
        await self._linger()

    async def _head(self) -> tuple[bytes, bytes] | None:
        """Read the request's head; return it without the empty line at its end, and what was read behind that line.

        None if the client sends nothing.
        """
        received, pause = b"", _FIRST_PAUSE_SECONDS
        try:
            async with asyncio.timeout(self.seconds / 2):
                while (end := head_end(received)) is None and len(received) <= LONGEST_HEAD:
                    if received:
                        await asyncio.sleep(pause)
                        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                    part = await self.loop.sock_recv(self.socket, _READ_BYTES)
                    if not part:
                        break
                    received = (received + part).lstrip(b"\r\n")
        except TimeoutError:
            if received:
                why = f"the head took longer than {self.seconds / 2:g} s"
                raise BadRequestError(why, HTTPStatus.REQUEST_TIMEOUT) from None
        if (len(received) if end is None else end[0]) > LONGEST_HEAD:
            raise BadRequestError("the head is too long", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if end is not None:
            return received[: end[0]], received[end[1] :]
        if received:
            raise BadRequestError("the head has no end")
        return None

    async def _body(self, received: bytes, length: int) -> bytes:
        """Read a body of `length` bytes, of which some have been received."""
        body = bytearray(received)
        while len(body) < length:
            part = await self.loop.sock_recv(self.socket, _READ_BYTES)
            if not part:
                raise BadRequestError("the body has no end")
            body += part
        if len(body) > length:
            raise BadRequestError("more than the body that was told")
        return bytes(body)

    async def _linger(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while await self.loop.sock_recv(self.socket, _READ_BYTES):
                    await asyncio.sleep(_LONGEST_PAUSE_SECONDS)
        except TimeoutError:
            pass
