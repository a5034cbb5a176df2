"""What stands for systemd where a service tells it something."""

import socket
import time
from pathlib import Path

from daemons import START_SECONDS

__all__ = ["Manager"]


class Manager:
    """Hears what is told to systemd."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.heard: list[dict[str, str]] = []

    def next(self, seconds: float = START_SECONDS) -> dict[str, str]:
        self._socket.settimeout(seconds)
        lines = self._socket.recv(4096).decode().splitlines()
        self.heard.append(dict(line.split("=", 1) for line in lines))
        return self.heard[-1]

    def until(self, key: str, value: str = "", seconds: float = START_SECONDS) -> dict[str, str]:
        """The next notification with `key`, its value beginning with `value`."""
        end = time.monotonic() + seconds
        while not (key in (said := self.next(seconds)) and said[key].startswith(value)):
            assert time.monotonic() < end, f"{key}={value}: not within {seconds} s"
        return said

    def close(self) -> None:
        self._socket.close()
