"""What the daemon has learned and keeps for its next start; it goes on where that cannot be written."""

from pathlib import Path
from typing import Any

from adainf.base import files
from adainf.base.errors import InvalidInputError
from adainf.base.hindrances import Hindered
from adainf.profile import write_atomically
from adainfd.base.logs import Logger

__all__ = ["Keeper"]


class Keeper(Hindered):
    """Writes state files, and tries again at each heartbeat what could not be written."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._unkept: dict[Path, tuple[str, str]] = {}
        self._reasons: dict[str, str] = {}

    @property
    def hindrance(self) -> str | None:
        """What is not kept, and why."""
        return "; ".join(self._reasons.values()) or None

    def keep(self, what: str, path: Path, text: str, **about: Any) -> None:
        """Have `text` stand in a file. what: kind of content. about: more for the log, where it cannot be written."""
        try:
            _write(path, text)
        except InvalidInputError as error:
            self._log.warning(f"{what}_not_kept", reason=str(error), **about)
            self._unkept[path] = (what, text)
            why = getattr(error.__context__, "strerror", None) or error
            self._reasons[what] = f"{what} cannot be kept ({why})"

    def missing(self, what: str, why: str) -> None:
        """Something else cannot be kept until the next start."""
        self._reasons[what] = why

    def retry(self) -> None:
        """Write what could not be written."""
        for path, (what, text) in list(self._unkept.items()):
            try:
                _write(path, text)
            except InvalidInputError:
                continue
            self._log.info(f"{what}_kept", file=str(path))
            del self._unkept[path]
            if what not in {kind for kind, _ in self._unkept.values()}:
                self._reasons.pop(what, None)


def _write(path: Path, text: str) -> None:
    """Not where another user could have put it: nothing there would be believed at the next start."""
    if (why := files.stranger(path)) is not None:
        raise InvalidInputError(f"{path}: cannot be kept ({why})")
    write_atomically(path, text)
