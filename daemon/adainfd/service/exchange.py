"""One HTTP connection: a request, its answer, and the end, all within a time limit."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

from adainfd.service.answer import Answer
from adainfd.service.refusals import Refusals
from adainfd.service.request import LONGEST_HEAD, BadRequestError, Request, head_end

__all__ = ["Exchange"]

_HEAD_SECONDS = 5.0
_REQUEST_SECONDS = 10.0
# How long to read on after the answer: closing earlier could take the answer away from the client (RFC 9112, 9.6).
_LINGER_SECONDS = 1.0
# A client that sends byte by byte, or without end, wakes the thread no more often.
_BETWEEN_READS_SECONDS = 0.05
_PART = 65536


@dataclass(frozen=True, slots=True)
class Exchange:
    """A connection that has been accepted. client: its address. answer: makes the answer to a request."""

    loop: asyncio.AbstractEventLoop
    connection: socket.socket
    client: str
    answer: Callable[[Request], Awaitable[Answer]]

    async def run(self, refusals: Refusals) -> None:
        """Read and answer; a client that takes too long gets no more."""
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                await self._exchange(refusals)
        except TimeoutError:
            refusals.count("slow", self.client, f"the request took longer than {_REQUEST_SECONDS:.0f} s")
        except OSError:
            pass  # the client hung up

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
        has_body = request is None or request.method != "HEAD"
        await self.loop.sock_sendall(self.connection, answer.encoded(body=has_body))
        await self._linger()

    async def _head(self) -> bytes | None:
        """The request's head without the empty line at its end; None if the client sends nothing."""
        received = b""
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                while (end := head_end(received)) is None:
                    if len(received) > LONGEST_HEAD:
                        raise BadRequestError("the head is too long", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                    if received:
                        await asyncio.sleep(_BETWEEN_READS_SECONDS)
                    part = await self.loop.sock_recv(self.connection, _PART)
                    if not part:
                        break
                    received = (received + part).lstrip(b"\r\n")
        except TimeoutError:
            if received:
                why = f"the head took longer than {_HEAD_SECONDS:.0f} s"
                raise BadRequestError(why, HTTPStatus.REQUEST_TIMEOUT) from None
        if end is not None:
            return received[: end[0]]
        if received:
            raise BadRequestError("the head has no end")
        return None

    async def _linger(self) -> None:
        self.connection.shutdown(socket.SHUT_WR)
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while await self.loop.sock_recv(self.connection, _PART):
                    await asyncio.sleep(_BETWEEN_READS_SECONDS)
        except TimeoutError:
            pass
