"""Hosts a camera may redirect to: its own and those its owner allows."""

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from adainf.base.errors import InvalidInputError, printable
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Kind, Source

__all__ = ["Leash", "follow_of", "followed_ports", "leash_of"]

# Default ports of the schemes that use a single port for all connections.
_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
_LEADS_TO_443 = 80
"""Many cameras redirect from their HTTP page to HTTPS."""
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[^\s\[\]:/?#@%,;|\"'\\]+)(?::(\d{1,5}))?", re.ASCII)
_LONGEST_HOST = 253
_LONGEST_SHOWN = 100
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Leash:
    """The hosts and ports a camera may lead to.

    host: the source's own, as FFmpeg parses it. its: TCP ports allowed on that host, None for all. others: further
    allowed (host, port) pairs.
    """

    host: str
    its: frozenset[int] | None
    others: frozenset[tuple[str, int]] = frozenset()

    def allows(self, host: str, port: int | None) -> bool:
        """Return whether a connection is allowed.

        port: the TCP port; None for a datagram, which may go to any port of the allowed hosts.
        """
        host = _plain(host)
        if (port is None or self.its is None or port in self.its) and self._is_own(host):
            return True
        return any(host == other and port in (None, other_port) for other, other_port in self.others)

    def _is_own(self, host: str) -> bool:
        # A camera configured by name may redirect to its IP address, but not vice versa: a name can be re-pointed.
        own = _plain(self.host)
        return host == own or (bool(host) and _is_address(host) and not _is_address(own) and host in _resolved(own))

    def refusal(self, host: str, port: int, *, encrypted: bool = True) -> str:
        """Return a one-line message about a refused address, without the source."""
        plain = printable(_plain(host), _LONGEST_SHOWN)
        shown = f"[{plain}]:{port}" if ":" in plain else f"{plain}:{port}"
        if not encrypted:
            return f"leads from https to http ({shown}), which is never followed"
        if not plain:
            return "leads to an address without a host"
        return f'leads to {shown}, which is not its own address; to allow it, set follow = ["{shown}"]'


def leash_of(settings: CameraSettings) -> Leash:
    """Return the leash of a camera; for a local source it allows nothing."""
    source = settings.source
    if source.kind is not Kind.STREAM:
        return Leash("", frozenset())
    standard = (
        (443,) if source.scheme in ("https",) else (554, 322) if (source.scheme or "").startswith("rtsp") else (80, 443)
    )
    others = {
        (host, port)
        for host, given in map(follow_of, settings.follow)
        for port in ([given] if given is not None else standard)
    }
    return Leash(source.host_and_port[0], _own_ports(source), frozenset(others))


def followed_ports(settings: CameraSettings) -> frozenset[int]:
    """Return the TCP ports of the hosts that the owner allows besides the camera's own."""
    return frozenset(port for _, port in leash_of(settings).others)


def follow_of(text: str) -> tuple[str, int | None]:
    """Parse a `follow` entry into host and port; raise InvalidInputError if it is neither HOST nor HOST:PORT."""
    matched = _HOST.fullmatch(text)
    if matched is None or len(matched[1]) > _LONGEST_HOST or not 0 < int(matched[2] or 1) <= _HIGHEST_PORT:
        raise InvalidInputError(f"{text!r} is no host; allowed is HOST or HOST:PORT")
    return _plain(matched[1]), int(matched[2]) if matched[2] else None


def _own_ports(source: Source) -> frozenset[int] | None:
    if source.scheme not in _PORTS:
        return None
    port = source.host_and_port[1] or _PORTS[source.scheme]
    leads = {443} if (source.scheme, port) == ("http", _LEADS_TO_443) else set[int]()
    return frozenset({port} | leads)


def _plain(host: str) -> str:
    """Normalise a host for comparison, ignoring case, brackets, a trailing dot and the spelling of an IP address."""
    plain = host.lower().strip("[]").removesuffix(".")
    try:
        return str(ipaddress.ip_address(plain))
    except ValueError:
        return plain


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _resolved(host: str) -> Iterable[str]:
    try:
        return {_plain(str(found[4][0])) for found in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return ()
