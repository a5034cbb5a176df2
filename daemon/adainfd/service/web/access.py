"""Access control for HTTP: only requests addressed to this box, and not made by another site's page, are served.

To a browser, a site whose name resolves to this box (DNS rebinding) has the same origin as this box, so the host that
a request names must be one of ours. Requests by another site's page are recognised by the origin that browsers send.
"""

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address

from adainf.base.errors import printable
from adainfd.service.web.request import HttpRequest

__all__ = ["HEALTH", "Access", "Refusal", "is_host"]

HEALTH = ("/live", "/ready")
"""Served to every client: the response is only yes or no, and a health check need not know the daemon's name."""

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::\d{0,5})?")
_LONGEST_SHOWN = 80
# Scrapers that speak HTTP/1.0 may leave out the host; a browser never does.
_WITHOUT_HOST = ("/metrics",)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused request; kind: one of refusals.KINDS; why: the reason in words."""

    kind: str
    why: str
    status: HTTPStatus


def is_host(text: str) -> bool:
    """Return whether `text` is a host name or an address, without a port."""
    return "[" not in text and _host_of(_bracketed(text)) is not None


class Access:
    """Decides by the host that a request names, and by the site that its browser reports."""

    def __init__(self, bound: str, hosts: Iterable[str] = ()) -> None:
        """bound: the address to which the server is bound. hosts: further names, such as a reverse proxy's."""
        self._names = {name for host in (bound, *hosts) if (name := _host_of(_bracketed(host))) is not None}
        if ip_address(bound).is_unspecified:  # browsers take 0.0.0.0 for the box they run on
            self._names.discard(_host_of(_bracketed(bound)))
        if not ip_address(bound).is_loopback:
            own = _host_of(socket.gethostname())
            self._names |= {own, f"{own}.local"} if own is not None else set()

    def refusal(self, request: HttpRequest, reached: str) -> Refusal | None:
        """Return why the request is refused, or None; reached: the connection's local address."""
        if request.path in HEALTH:
            return None
        return self._wrong_host(request, reached) or self._wrong_site(request)

    def _wrong_host(self, request: HttpRequest, reached: str) -> Refusal | None:
        if not request.hosts and request.path not in _WITHOUT_HOST:
            return Refusal("host", "the request names no host", HTTPStatus.BAD_REQUEST)
        for authority in request.hosts:
            host = _host_of(authority)
            if host is None or not self._is_ours(host, reached):
                return _misdirected(f"host {printable(authority, _LONGEST_SHOWN)!r} is not one of this daemon's")
        return None

    def _is_ours(self, host: str, reached: str) -> bool:
        own = _host_of(_bracketed(reached))
        if host == own or host in self._names:
            return True
        return _is_loopback(own) and (host == "localhost" or _is_loopback(host))

    def _wrong_site(self, request: HttpRequest) -> Refusal | None:
        site = request.fields.get("sec-fetch-site")
        if site is None:
            return self._wrong_origin(request)
        if site in ("same-origin", "none"):
            return None
        followed = request.fields.get("sec-fetch-mode") == "navigate"
        if request.path == "/" and followed and request.fields.get("sec-fetch-dest") == "document":
            return None  # the user followed a link to the page
        return _foreign("a page of another site asks")

    def _wrong_origin(self, request: HttpRequest) -> Refusal | None:
        origin = request.fields.get("origin")
        if origin is None:
            return None
        _, separator, authority = origin.partition("://")
        if separator and authority.lower() in map(str.lower, request.hosts):
            return None
        return _foreign(f"a page of {printable(origin, _LONGEST_SHOWN)!r} asks")


def _host_of(authority: str) -> str | None:
    """Return the host in HOST or HOST:PORT, normalised: names in lower case, addresses in their shortest form.

    None where it is neither a name nor an address, such as one with a user's name or a zone.
    """
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return None
    host = match[1].lower().removesuffix(".")
    try:
        if host.startswith("["):
            address = IPv6Address(host[1:-1])
            return str(address.ipv4_mapped or address)
        return str(IPv4Address(host))
    except ValueError:
        return None if host.startswith("[") else host


def _bracketed(host: str) -> str:
    """Return a host as in a URL: IPv6 in brackets, and without its zone, which is local to this box."""
    return f"[{host.partition('%')[0]}]" if ":" in host else host


def _is_loopback(host: str | None) -> bool:
    try:
        return host is not None and ip_address(host).is_loopback
    except ValueError:
        return False


def _misdirected(why: str) -> Refusal:
    return Refusal("host", f"{why}; name it in web.hosts", HTTPStatus.MISDIRECTED_REQUEST)


def _foreign(why: str) -> Refusal:
    return Refusal("site", why, HTTPStatus.FORBIDDEN)
