"""The user and password of an address as an answer to HTTP or RTSP authentication (Basic, Digest)."""

import base64
import hashlib
import secrets
from collections.abc import Iterable
from urllib.parse import SplitResult, unquote_to_bytes
from urllib.request import parse_http_list, parse_keqv_list

__all__ = ["Login"]

# MD5 is what cameras request and what FFmpeg answers with.
_ALGORITHMS = ("MD5", "MD5-SESS")


class Login:
    """The credentials of one address. Keep it as long as the camera: it counts the uses of a Digest nonce.

    Not urllib's handlers: they lack RTSP, fail on non-ASCII passwords and try a wrong password five times, which makes
    many cameras lock the user out.
    """

    def __init__(self, address: SplitResult) -> None:
        self._given = address.username is not None
        self._user, self._password = unquote_to_bytes(address.username or ""), unquote_to_bytes(address.password or "")
        self._nonce = ""
        self._times_used = 0

    def answer(self, challenges: Iterable[str], method: str, target: str) -> str | None:
        """Return the value of `Authorization`; None without a user or for unsupported schemes.

        challenges: the values of `WWW-Authenticate`. target: the request target.
        """
        if not self._given:
            return None
        by_basic = None
        for challenge in challenges:
            scheme, _, parameters = challenge.strip().partition(" ")
            match scheme.lower():
                case "digest":
                    if by_digest := self._by_digest(parameters, method, target):
                        return by_digest
                case "basic":
                    by_basic = f"Basic {base64.b64encode(self._user + b':' + self._password).decode()}"
        return by_basic

    def _by_digest(self, parameters: str, method: str, target: str) -> str | None:
        """Return the Digest answer as of RFC 2617, section 3.2.2; None if the challenge is unsupported."""
        fields = parse_keqv_list([pair for pair in parse_http_list(parameters) if pair.partition("=")[2]])
        fields = {name.lower(): value for name, value in fields.items()}
        realm, nonce, algorithm = fields.get("realm", ""), fields.get("nonce"), fields.get("algorithm", "MD5")
        offered = [quality.strip().lower() for quality in fields.get("qop", "").split(",") if quality.strip()]
        if nonce is None or algorithm.upper() not in _ALGORITHMS or (offered and "auth" not in offered):
            return None
        self._times_used = self._times_used + 1 if nonce == self._nonce else 1
        self._nonce = nonce
        count, own_nonce = f"{self._times_used:08x}", secrets.token_hex(8)
        secret = _digest(self._user, realm.encode(), self._password)
        if algorithm.upper() == "MD5-SESS":
            secret = _digest(secret, nonce.encode(), own_nonce.encode())
        asked = _digest(method.encode(), target.encode())
        more = [count.encode(), own_nonce.encode(), b"auth"] if offered else []
        answer = {
            "username": self._user.decode("utf-8", "replace"),
            "realm": realm,
            "nonce": nonce,
            "uri": target,
            "response": _digest(secret, nonce.encode(), *more, asked).decode(),
            **({"opaque": fields["opaque"]} if "opaque" in fields else {}),
        }
        text = ", ".join(f'{name}="{_escaped(value)}"' for name, value in answer.items())
        text += f', algorithm={algorithm}, cnonce="{own_nonce}"'
        return f"Digest {text}" + (f", qop=auth, nc={count}" if offered else "")


def _digest(*parts: bytes) -> bytes:
    return hashlib.md5(b":".join(parts), usedforsecurity=False).hexdigest().encode()


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "")
