"""The address of an MQTT broker."""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from adainf.base.credentials import without_credentials
from adainf.base.errors import InvalidInputError

__all__ = ["BrokerAddress"]

_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker's address, which may include a user and a password; encrypted: by TLS."""

    host: str
    port: int
    encrypted: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> "BrokerAddress":
        """Parse mqtt://[USER[:PASSWORD]@]HOST[:PORT] or mqtts://…; raise InvalidInputError on anything else."""
        shown = without_credentials(url)
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise InvalidInputError(f"broker {shown!r}: the port must be from 1 to 65535") from None
        well_formed = parts.scheme in _PORTS and re.fullmatch(r"[A-Za-z0-9_.:%-]+", parts.hostname or "")
        if not well_formed or port == 0 or parts.path.strip("/") or parts.query or parts.fragment:
            raise InvalidInputError(f"broker {shown!r}: must be mqtt://HOST[:PORT] or mqtts://HOST[:PORT]")
        return cls(
            host=str(parts.hostname),
            port=port or _PORTS[parts.scheme],
            encrypted=parts.scheme == "mqtts",
            user=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )

    def __str__(self) -> str:
        return f"mqtt{'s' if self.encrypted else ''}://{self.host}:{self.port}"
