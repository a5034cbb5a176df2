"""The host names under which each box may publish. Pure."""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from adainfd.wire.messages import LONGEST_NAME

__all__ = ["ANY", "MOST_HOSTS", "Names"]

ANY = "*"
"""As the host of a box that is itself a relay: any name that no other box has."""
MOST_HOSTS = 64
"""Host names of one box that is itself a relay."""


class Names:
    """Binds names to boxes: by configuration, and otherwise to the first box that publishes under a name.

    A box without configured names keeps the first name that it uses for as long as the relay runs. A name that another
    box has is refused, except to boxes on the same machine, whose daemons share its name.
    """

    def __init__(self, configured: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        """configured: each box's endpoint and its configured hosts, which may be (ANY,) or empty."""
        self._configured: dict[str, set[str]] = {}
        for endpoint, hosts in configured:
            self._configured.setdefault(endpoint, set()).update(hosts)
        self._reserved = {host for hosts in self._configured.values() for host in hosts}
        self._heard: dict[str, set[str]] = {endpoint: set() for endpoint in self._configured}
        self._machines: dict[str, str] = {}

    def allows(self, endpoint: str, topic: str) -> bool:
        """Return whether the box may publish under a topic, KIND/HOST or KIND/HOST/…; binds a new name to the box."""
        return self.refusal(endpoint, topic.split("/", 2)[1] if "/" in topic else "") is None

    def refusal(self, endpoint: str, host: str) -> str | None:
        """Return why the box may not publish as this host, or None; binds a new name to the box."""
        configured, heard = self._configured[endpoint], self._heard[endpoint]
        if host in heard or host in configured - {ANY}:
            return None
        if not 0 < len(host) <= LONGEST_NAME:
            return f"a host's name has 1 to {LONGEST_NAME} characters"
        if configured and ANY not in configured:
            return f"speaks as {host!r}, and its host is {' or '.join(sorted(configured))}"
        if host in self._reserved:
            return f"speaks as {host!r}, which is the configured host of another box"
        if heard and not configured:
            return f"speaks as {host!r}, and has been {next(iter(heard))} until now; give it host if it may"
        if len(heard) >= MOST_HOSTS:
            return f"speaks as {host!r}, and has {MOST_HOSTS} other names already"
        if self._machines.setdefault(host, _machine(endpoint)) != _machine(endpoint):
            return f"speaks as {host!r}, which another box was first to say; give both host if they may"
        heard.add(host)
        return None


def _machine(endpoint: str) -> str:
    """Return the machine that an endpoint is on: an address, or the empty string for this box."""
    address = urlsplit(endpoint).hostname or "" if endpoint.startswith("tcp://") else ""
    try:
        return "" if ipaddress.ip_address(address).is_loopback else address
    except ValueError:
        return "" if address == "localhost" else address
