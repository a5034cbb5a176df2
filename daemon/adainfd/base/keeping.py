"""State files that the daemon keeps for its next start; it continues if they cannot be written."""

from pathlib import Path
from typing import Any

from adainf.base import files
from adainf.base.errors import InvalidInputError
from adainf.base.hindrances import Hindered
from adainf.profile import write_atomically
from adainfd.base.logs import Logger

__all__ = ["Keeper"]


class Keeper(Hindered):
    """A writer of state files that retries failed writes at each heartbeat."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._unkept: dict[Path, tuple[str, str]] = {}
        self._reasons: dict[str, str] = {}

    @property
    def hindrance(self) -> str | None:
        """The kinds of state that cannot be kept, with the reasons; None if there are none."""
        return "; ".join(self._reasons.values()) or None

    def keep(self, what: str, path: Path, text: str, **about: Any) -> None:
        """Write `text` to a file, or retry later. what: kind of content. about: further log fields on failure."""
        try:
            _write(path, text)
        except InvalidInputError as error:
            self._log.warning(f"{what}_not_kept", reason=str(error), **about)
            self._unkept[path] = (what, text)
            why = getattr(error.__context__, "strerror", None) or error
            self._reasons[what] = f"{what} cannot be kept ({why})"

    def missing(self, what: str, why: str) -> None:
        """Report that something kept elsewhere cannot be kept until the next start, and why."""
        self._reasons[what] = why

    def retry(self) -> None:
        """Retry all failed writes."""
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
    """Write the file, unless another user could have put it there: the next start would not trust its content."""
    if (why := files.stranger(path)) is not None:
        raise InvalidInputError(f"{path}: cannot be kept ({why})")
    write_atomically(path, text)
