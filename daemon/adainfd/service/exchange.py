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

# How long to read on after the answer: closing earlier could take the answer away from the client (RFC 9112, 9.6).
_LINGER_SECONDS = 1.0
# Between reads the thread sleeps, at first shortly: a client that sends byte by byte, or without end, wakes it rarely.
_FIRST_PAUSE_SECONDS, _PAUSE_SECONDS = 0.001, 0.05
_PART = 65536


@dataclass(frozen=True, slots=True)
class Exchange:
    """A connection that has been accepted.

    client: its address. answer: makes the answer to a request. seconds: for the whole exchange; half of them for the
    request's head.
    """

    loop: asyncio.AbstractEventLoop
    connection: socket.socket
    client: str
    answer: Callable[[Request], Awaitable[Answer]]
    seconds: float

    async def run(self, refusals: Refusals) -> None:
        """Read and answer; a client that takes too long gets no more."""
        try:
            async with asyncio.timeout(self.seconds):
                await self._exchange(refusals)
        except TimeoutError:
            refusals.count("slow", self.client, f"the request took longer than {self.seconds:g} s")
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
        received, pause = b"", _FIRST_PAUSE_SECONDS
        try:
            async with asyncio.timeout(self.seconds / 2):
                while (end := head_end(received)) is None:
                    if len(received) > LONGEST_HEAD:
                        raise BadRequestError("the head is too long", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                    if received:
                        await asyncio.sleep(pause)
                        pause = min(2 * pause, _PAUSE_SECONDS)
                    part = await self.loop.sock_recv(self.connection, _PART)
                    if not part:
                        break
                    received = (received + part).lstrip(b"\r\n")
        except TimeoutError:
            if received:
                why = f"the head took longer than {self.seconds / 2:g} s"
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
                    await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError:
            pass
