"""The collected pictures of a view: their names, and a folder that is bounded in number and bytes."""

import errno
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from adainf.base import files
from adainf.classes.labels import UNKNOWN
from adainfd.base import state

__all__ = ["KeptPicture", "Reason", "Shelf", "folder_of"]

Reason = Literal["change", "unknown", "unsure", "sample"]
"""Why a picture is kept: the state changes, it looks like no class, two classes are near, or by chance."""

_NAME = re.compile(rf"(\d{{8}}T\d{{6}}\.\d{{3}}Z)_({'|'.join(get_args(Reason))})_(.+)_([01]\.\d\d)\.jpg")
_LONGEST_LABEL_BYTES = 180
_TEMPORARY = ".new"


@dataclass(frozen=True, slots=True)
class KeptPicture:
    """A collected picture, as its file's name tells it.

    time: when it was captured, in UTC. label: the likeliest, cut where it is long. score: its probability.
    """

    time: str
    reason: Reason
    label: str
    score: float

    @classmethod
    def at(cls, wall: float, reason: Reason, label: str, score: float) -> "KeptPicture":
        """Return the picture that was captured at `wall`, in Unix seconds."""
        time = datetime.fromtimestamp(wall, UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"
        return cls(time, reason, label, round(score, 2))

    @classmethod
    def named(cls, name: str) -> "KeptPicture | None":
        """Return the picture that a file's name tells; None of a file that was not collected."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        time, reason, label, score = match.groups()
        told: Reason = reason  # type: ignore[assignment]  # the pattern allows no other
        return cls(time, told, label.replace("%2F", "/").replace("%25", "%"), float(score))

    @property
    def name(self) -> str:
        """The name of its file, which sorts by time."""
        label = self.label.replace("%", "%25").replace("/", "%2F").encode()[:_LONGEST_LABEL_BYTES]
        return f"{self.time}_{self.reason}_{label.decode(errors='ignore')}_{self.score:.2f}.jpg"

    @property
    def doubt(self) -> float:
        """How little is known of it, from 0 to 1: what looks like no class is the least known."""
        return 1.0 if self.label == UNKNOWN else 1.0 - self.score


@dataclass(frozen=True, slots=True)
class Shelf:
    """A folder of pictures, of which the oldest of the most frequent reason make room for new ones.

    most, most_bytes: its bounds.
    """

    folder: Path
    most: int
    most_bytes: int

    def put(self, picture: KeptPicture, jpeg: bytes) -> bool:
        """Keep a picture; return False if it is larger than the whole folder may be.

        Raises OSError if it cannot be written, or another user controls the folder. A reader never sees half of it. It
        is not forced onto the disk: recognition would wait for that.
        """
        if len(jpeg) > self.most_bytes:
            return False
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (why := files.stranger(self.folder)) is not None:
            raise PermissionError(errno.EACCES, why)
        self._make_room(len(jpeg))
        temporary = self.folder / _TEMPORARY
        try:
            with open(temporary, "wb", opener=_private) as file:
                file.write(jpeg)
            temporary.replace(self.folder / picture.name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return True

    def _make_room(self, coming: int) -> None:
        kept: list[tuple[str, Reason, int]] = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                picture, found = KeptPicture.named(entry.name), entry.stat(follow_symlinks=False)
                if picture is not None and stat.S_ISREG(found.st_mode):
                    kept.append((entry.name, picture.reason, found.st_size))
        kept.sort()
        left = sum(size for _, _, size in kept)
        while kept and (len(kept) >= self.most or left + coming > self.most_bytes):
            [(frequent, _)] = Counter(reason for _, reason, _ in kept).most_common(1)
            oldest = next(row for row in kept if row[1] == frequent)
            (self.folder / oldest[0]).unlink(missing_ok=True)  # its owner may just have sorted it
            kept.remove(oldest)
            left -= oldest[2]


def folder_of(camera: str, region: str | None) -> Path:
    """Return the folder of a view's pictures, sorted and unsorted, below the daemon's state."""
    parts = [part for part in (camera, region) if part is not None]
    # Names of dots alone would lead out of the folder.
    return state.folder().joinpath("collect", *(re.sub(r"^\.+$", lambda dots: "%2E" * len(dots[0]), p) for p in parts))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
