"""The user and password in an address, and how they answer a server that asks for them (Basic, Digest)."""

import base64
from collections.abc import Iterable
from urllib.error import URLError
from urllib.parse import SplitResult, unquote
from urllib.request import HTTPDigestAuthHandler, HTTPPasswordMgr, Request, parse_http_list, parse_keqv_list

__all__ = ["Login"]


class _OneUser(HTTPPasswordMgr):
    def __init__(self, user: str, password: str) -> None:
        super().__init__()
        self._user, self._password = user, password

    def find_user_password(self, realm: str, authuri: str | Iterable[str]) -> tuple[str, str]:
        del realm, authuri
        return self._user, self._password


class Login:
    """Of one address; it counts how often a Digest's nonce was used, so keep it as long as the camera."""

    def __init__(self, address: SplitResult) -> None:
        self.given = address.username is not None
        self._user, self._password = unquote(address.username or ""), unquote(address.password or "")
        self._digest = HTTPDigestAuthHandler(_OneUser(self._user, self._password))

    def answer(self, challenges: Iterable[str], method: str, target: str) -> str | None:
        """What to send as `Authorization`; None where no user is given, or no way that is asked for is known.

        target: what the request line names.
        """
        if not self.given:
            return None
        answers: dict[str, str | None] = {}
        for challenge in challenges:
            scheme, _, parameters = challenge.strip().partition(" ")
            match scheme.lower():
                case "digest":
                    answers["digest"] = answers.get("digest") or self._by_digest(parameters, method, target)
                case "basic":
                    token = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
                    answers["basic"] = f"Basic {token}"
        return answers.get("digest") or answers.get("basic")

    def _by_digest(self, parameters: str, method: str, target: str) -> str | None:
        request = Request(f"http://camera/{target}", method=method)
        request.selector = target
        try:
            answer = self._digest.get_authorization(request, parse_keqv_list(parse_http_list(parameters)))
        except (ValueError, URLError):  # an algorithm that it does not know, or no challenge at all
            return None
        return None if answer is None else f"Digest {answer}"
