"""The token that opens the page to label: kept in a file of its owner's, and asked for with every request."""

import asyncio
import hmac
import secrets
import time
from http import HTTPStatus
from pathlib import Path

from adainf.base import files
from adainf.base.errors import InvalidInputError
from adainfd.base import secretfile
from adainfd.base.token_bucket import TokenBucket
from adainfd.service.web.refusals import KINDS, Refusals
from adainfd.service.web.request import HttpRequest
from adainfd.service.web.response import Response

__all__ = ["TOKEN_KINDS", "Doorkeeper", "token_of"]

TOKEN_KINDS = (*KINDS, "token")
"""What requests are refused for, a wrong token included."""

_BYTES = 24
_SHORTEST = 16
_WRONG_AT_ONCE, _WRONG_A_SECOND = 10, 0.1
_PAUSE_SECONDS = 1.0
_PREFIX = "Bearer "


def token_of(path: Path) -> str:
    """Return the token in a file, which is made, for its owner alone, if it is missing.

    Raises InvalidInputError if others may read or replace it, or it cannot be written.
    """
    if not files.is_file(path, "token"):
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.replace(path, f"{secrets.token_urlsafe(_BYTES)}\n".encode(), 0o600)
        except OSError as error:
            raise InvalidInputError(f"token {path}: cannot be written ({error.strerror})") from None
    secretfile.check(path, "token")
    token = files.read_text(path, "token").strip()
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable():
        raise InvalidInputError(f"token {path}: must be at least {_SHORTEST} letters; remove it, and it is made anew")
    return token


class Doorkeeper:
    """Refuses requests with a wrong token. After ten of them, each waits its turn: one a second."""

    def __init__(self, token: str, refusals: Refusals, pause_seconds: float = _PAUSE_SECONDS) -> None:
        """refusals: counts the wrong ones, and logs them. pause_seconds: of each wrong one after the first ten."""
        self._token = token.encode()
        self._refusals = refusals
        self._pause = pause_seconds
        self._wrong = TokenBucket(_WRONG_AT_ONCE, _WRONG_A_SECOND, time.monotonic())
        self._turn = asyncio.Lock()

    def knows(self, request: HttpRequest) -> bool:
        """Return whether the request brings the token."""
        told = request.fields.get("authorization", "")
        return told.startswith(_PREFIX) and hmac.compare_digest(told.removeprefix(_PREFIX).encode(), self._token)

    async def refuse(self, client: str) -> Response:
        """Return the response to a request with a wrong token. client: its address."""
        self._refusals.count("token", client, "the token is wrong")
        slowly = self._wrong.earn(time.monotonic()) < 1
        if slowly:
            async with self._turn:
                await asyncio.sleep(self._pause)
        else:
            self._wrong.spend()
        return Response(b"wrong token\n", status=HTTPStatus.FORBIDDEN)
