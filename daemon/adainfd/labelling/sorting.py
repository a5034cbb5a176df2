"""A folder of pictures to label: what lies in it unsorted, the classes beside it, and the moves from here to there."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adainf.base import files
from adainf.base.errors import InvalidInputError, one_line, printable
from adainf.classes.labels import UNKNOWN, UNSORTED
from adainf.classes.taught import check_label
from adainf.media.pictures import SUFFIXES
from adainfd.collecting.kept import KeptPicture

__all__ = ["Labels", "Unsorted"]

_MOST_BYTES = 64 << 20
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Unsorted:
    """A picture that waits for its label. reason, label, score: None of one that no daemon collected."""

    name: str
    reason: str | None = None
    label: str | None = None
    score: float | None = None
    doubt: float = 1.0


@dataclass(frozen=True, slots=True)
class Labels:
    """A folder with the pictures to label in `unsorted`, beside a folder for each class.

    Only plain files that its listing names are ever read, moved or removed, and nothing is overwritten.
    """

    folder: Path

    def check(self) -> None:
        """Raise InvalidInputError unless there is a folder of pictures to label."""
        if not files.is_folder(self.folder / UNSORTED, "folder"):
            raise InvalidInputError(f"folder {self.folder}: has no folder {UNSORTED!r} of pictures to label")
        if (self.folder / UNSORTED).is_symlink():
            raise InvalidInputError(f"folder {self.folder / UNSORTED}: is a link; must be a folder")

    def unsorted(self) -> list[Unsorted]:
        """Return the pictures that wait, the least certain first. Raises InvalidInputError if they cannot be listed."""
        found = []
        for name in _plain_files(self.folder / UNSORTED):
            told = KeptPicture.named(name)
            if told is None:
                found.append(Unsorted(name))
            else:
                found.append(Unsorted(name, told.reason, told.label, told.score, told.doubt))
        return sorted(found, key=lambda picture: (-picture.doubt, picture.name))

    def classes(self) -> dict[str, int]:
        """Return the number of pictures of each class."""
        return {name: len(_plain_files(self.folder / name)) for name in _folders(self.folder) if name != UNSORTED}

    def put(self, names: Sequence[str], label: str) -> int:
        """Move unsorted pictures into the folder of a class, which is made if it is new; return how many.

        Raises InvalidInputError, with nothing moved, if the label is none, or a name is not listed or taken there.
        """
        label_folder = self.folder / _checked(label)
        listed = self._listed(names)
        if label_folder.is_symlink():
            raise InvalidInputError(f"class {label!r}: its folder is a link; must be a folder")
        for name in listed:
            if os.path.lexists(label_folder / name):
                raise InvalidInputError(f"class {label!r}: already has a picture {printable(name, _LONGEST_NAME)}")
        try:
            label_folder.mkdir(exist_ok=True)
            for name in listed:
                _move(self.folder / UNSORTED / name, label_folder / name)
        except OSError as error:
            raise InvalidInputError(f"folder {label_folder}: cannot be written ({error.strerror})") from None
        return len(listed)

    def drop(self, names: Sequence[str]) -> int:
        """Remove unsorted pictures; return how many. Raises InvalidInputError, with nothing removed, as `put` does."""
        listed = self._listed(names)
        try:
            for name in listed:
                (self.folder / UNSORTED / name).unlink(missing_ok=True)  # the daemon may just have made room
        except OSError as error:
            raise InvalidInputError(f"folder {self.folder / UNSORTED}: cannot be written ({error.strerror})") from None
        return len(listed)

    def read(self, name: str) -> bytes:
        """Return the content of an unsorted picture; raises InvalidInputError if it is not listed."""
        (listed,) = self._listed([name])
        return files.read(self.folder / UNSORTED / listed, "picture", _MOST_BYTES)

    def name_of(self, path: str) -> str:
        """Return the name of a picture given by its name, or by its path."""
        given = Path(path)
        if given.name == path or given.parent.resolve() == (self.folder / UNSORTED).resolve():
            return given.name
        raise InvalidInputError(f"picture {printable(path, _LONGEST_NAME)}: does not lie in {self.folder / UNSORTED}")

    def _listed(self, names: Sequence[str]) -> list[str]:
        """Return the names, each once, as the listing has them."""
        there = {name: name for name in _plain_files(self.folder / UNSORTED)}
        for name in names:
            if name not in there:
                raise InvalidInputError(f"picture {one_line(repr(name), _LONGEST_NAME)}: is not among the unsorted")
        return [there[name] for name in dict.fromkeys(names)]


def _checked(label: str) -> str:
    """Return a label that can be a folder's name; `unknown` is for `adainf evaluate`."""
    if label != UNKNOWN:
        check_label(label)
    if label == UNSORTED or label.startswith(".") or "/" in label or len(label.encode()) > 255:
        raise InvalidInputError(f"class {label!r}: must be the name of a folder, other than {UNSORTED!r}")
    return label


def _move(source: Path, target: Path) -> None:
    """Move a file atomically without overwriting: unlike a rename, a link to a taken name fails."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without links, such as FAT
        source.rename(target)
        return
    source.unlink()


def _plain_files(folder: Path) -> list[str]:
    """Return the names of the pictures in a folder: plain files, not hidden, by name."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                visible = not entry.name.startswith(".") and files.is_utf8(entry.name)
                taken = Path(entry.name).suffix.lower() in SUFFIXES
                if visible and taken and stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                    found.append(entry.name)
    except OSError as error:
        raise InvalidInputError(f"folder {folder}: cannot be read ({error.strerror})") from None
    return sorted(found)


def _folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".") and files.is_utf8(entry.name)
            )
    except OSError as error:
        raise InvalidInputError(f"folder {folder}: cannot be read ({error.strerror})") from None
