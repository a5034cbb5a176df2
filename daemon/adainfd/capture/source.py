"""Camera sources: video file, pictures, local device, named pipe or network stream."""

import os
import re
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from adainf.base import files
from adainf.base.credentials import redacted, without_credentials
from adainf.base.errors import InvalidInputError, printable
from adainfd.capture.fault import Fault

__all__ = ["Kind", "Source", "SourceError", "Transport"]

Transport = Literal["tcp", "udp"]

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_FILE_URL = re.compile(r"file:(?://(?:localhost)?(?=/))?", re.IGNORECASE)
_FILE_OF_ANOTHER_HOST = re.compile(r"file://(?!/|localhost/)", re.IGNORECASE)
_USER = re.compile(r"([a-z][a-z0-9+.-]*://[^:@/?#]+)@(?=[^@]*$)", re.IGNORECASE)
_DEVICE = re.compile(r"/dev/(?:video|v4l).*|/dev/[^/.]+")
_NUMBERED = re.compile(r"%0?\d*d")
# FFmpeg treats `%d` in a name with one of these suffixes as a number pattern, even if a file of that name exists.
_STILL_SUFFIXES = (".avif", ".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_OF_HOSTS = ("http", "https", "rtsp", "rtsps")
_DEVICES = 256  # V4L2's limit
_LONGEST_NAME = 255
_LONGEST_PATH = 4095
_LONGEST_SHOWN = 200


class SourceError(Exception):
    """A source that cannot be opened or yields no picture.

    The message names the source and the reason; `fault` is the machine-readable code.
    """

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(redacted(message))
        self.fault = fault


class Kind(StrEnum):
    """The kind of a source. Files and pictures wait for their reader; devices, pipes and streams do not."""

    FILE = "file"
    PICTURES = "pictures"
    DEVICE = "device"
    PIPE = "pipe"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Source:
    """The address of a camera.

    One of: a video file's path or `file:` URL; a picture, a folder of pictures, or picture names with `*` or `%04d`; a
    device's index or path; a named pipe; a stream's URL. An existing path is never read as a pattern or unescaped.
    """

    address: str

    @classmethod
    def parse(cls, text: str) -> "Source":
        """Return the source for an address typed by a user.

        Raises InvalidInputError if no source can have this address; its message does not repeat the address.
        """
        stripped = text.strip()
        if not stripped:
            raise InvalidInputError("must be a video file, a camera's index or a stream's address")
        if "\0" in text or not files.is_utf8(text):
            raise InvalidInputError("must be UTF-8 text without NUL bytes; rename the file")
        source = cls(text if _mode(text) is not None else _SCHEME.sub(_lower_case, stripped, count=1))
        if source.kind is Kind.STREAM:
            if source.scheme in _OF_HOSTS and not _names_a_host(source.address):
                raise InvalidInputError(f"is no valid address; allowed is {source.scheme}://HOST:PORT/PATH")
            return source
        if _FILE_OF_ANOTHER_HOST.match(source.address) and _mode(source.address) is None:
            raise InvalidInputError("names a file of another host; a local file is file:///PATH or just its path")
        path = os.fsencode(source.path)
        if len(path) > _LONGEST_PATH or max(map(len, path.split(b"/"))) > _LONGEST_NAME:
            raise InvalidInputError(f"must not be longer than {_LONGEST_PATH} bytes, each name {_LONGEST_NAME}")
        return source

    @property
    def scheme(self) -> str | None:
        """The scheme of a stream's URL, in lower case; None for local sources."""
        matched = _SCHEME.match(self.address)
        scheme = matched[1].lower() if matched else "file"
        return None if scheme == "file" else scheme

    @property
    def lacks_password(self) -> bool:
        """Whether this is a stream URL with a user but no password."""
        return self.scheme is not None and _USER.match(self.address) is not None

    def with_password(self, password: str) -> "Source":
        """Return the source with `password` added, or unchanged unless its URL has a user without a password."""
        if not self.lacks_password:
            return self
        return Source(_USER.sub(lambda user: f"{user[1]}:{quote(password, safe='')}@", self.address, count=1))

    @property
    def host_and_port(self) -> tuple[str, int | None]:
        """The host and port of a stream's URL, split as FFmpeg does: a password may contain @. The port may be None."""
        authority = re.split(r"[/?#]", self.address.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]
        found = re.fullmatch(r"(\[[^]]*\]|[^:]*)(?::(\d{1,5}))?", authority, re.ASCII)
        return (authority, None) if found is None else (found[1].strip("[]"), int(found[2] or 0) or None)

    @property
    def url(self) -> str:
        """The URL passed to FFmpeg; files get the `file:` prefix, or FFmpeg would read a:b.mp4 as protocol a."""
        return f"file:{self.path}" if self.scheme is None else _SCHEME.sub(_lower_case, self.address, count=1)

    @property
    def path(self) -> str:
        """The local path of the address, with the percent escapes of a `file:` URL decoded."""
        url = _FILE_URL.match(self.address)
        if url is None or _mode(self.address) is not None:
            return self.address
        escaped = self.address[url.end() :]
        return escaped if _mode(escaped) is not None else unquote(escaped)

    @property
    def kind(self) -> Kind:
        """The kind of source, judged by the address and by the file that exists there now."""
        if self.scheme is not None:
            return Kind.STREAM
        if self._index is not None:
            return Kind.DEVICE
        path = self.path
        mode = _mode(path)
        if mode is None:
            if _DEVICE.fullmatch(_real(path)) and not _real(path).startswith("/dev/shm"):  # noqa: S108
                return Kind.DEVICE
            name = Path(path).name
            return Kind.PICTURES if "*" in name or _NUMBERED.search(name) else Kind.FILE
        if stat.S_ISREG(mode):
            return Kind.PICTURES if path.lower().endswith(_STILL_SUFFIXES) else Kind.FILE
        return _KINDS.get(stat.S_IFMT(mode), Kind.FILE)

    @property
    def live(self) -> bool:
        """Whether the source keeps producing frames without a reader and has no end of its own."""
        return self.kind in (Kind.DEVICE, Kind.PIPE, Kind.STREAM)

    @property
    def _index(self) -> int | None:
        """The device number, if the address is a bare one; `./0` names a file."""
        if not (self.address.isascii() and self.address.isdecimal() and len(self.address) < len("1000000000")):
            return None
        return int(self.address) if int(self.address) < _DEVICES or _mode(self.address) is None else None

    @property
    def device(self) -> int | str:
        """The index of a V4L2 device if its name contains it, otherwise its path."""
        if self._index is not None:
            return self._index
        number = re.fullmatch(r"/dev/video(\d{1,9})", _real(self.path), re.ASCII)
        return int(number[1]) if number else self.path

    @property
    def stem(self) -> str:
        """The default camera name, used if the configuration gives none."""
        if self.kind is Kind.STREAM:
            return _as_name(without_credentials(self.address).partition("://")[2]).strip("-") or "camera"
        if self._index is not None:
            return f"camera{self.address}"
        path = Path(self.path if _mode(self.path) is not None else without_credentials(self.path))
        if self.kind is Kind.PICTURES and _mode(self.path) is None:
            path = path.parent
        return _as_name(path.stem) or "camera"

    def pictures(self) -> list[Path]:
        """Return the files of a picture source, ordered by the numbers in their names.

        Raises SourceError if their folder cannot be read.
        """
        path = Path(self.path)
        mode = _mode(self.path)
        if mode is not None and stat.S_ISREG(mode):
            return [path]
        try:
            if mode is not None:
                from adainf.media.images import SUFFIXES

                files = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES]
            else:
                wanted = _as_pattern(path.name)
                files = [file for file in path.parent.iterdir() if wanted.fullmatch(file.name)]
            return sorted((file for file in files if file.is_file()), key=_by_numbers)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unreadable(error) from None

    def check_file(self) -> None:
        """Raise SourceError unless the path is a regular file that this user may read."""
        try:
            mode = os.stat(self.path).st_mode  # noqa: PTH116
            if stat.S_ISREG(mode):
                os.close(os.open(self.path, os.O_RDONLY))
                return
        except (FileNotFoundError, ValueError):
            raise SourceError(Fault.NO_SUCH_FILE, f"source {self}: no such file") from None
        except OSError as error:
            raise self._unreadable(error) from None
        found = _OTHER_KINDS.get(stat.S_IFMT(mode), "no file")
        raise SourceError(Fault.CANNOT_OPEN, f"source {self}: is {found}, not a video")

    def _unreadable(self, error: OSError) -> SourceError:
        return SourceError(Fault.CANNOT_OPEN, f"source {self}: cannot be read ({error.strerror})")

    def __str__(self) -> str:
        there = self.kind is not Kind.STREAM and _mode(self.path) is not None
        return printable(self.address if there else without_credentials(self.address), _LONGEST_SHOWN)

    def __repr__(self) -> str:
        return f"Source({str(self)!r})"


_KINDS = {stat.S_IFDIR: Kind.PICTURES, stat.S_IFCHR: Kind.DEVICE, stat.S_IFIFO: Kind.PIPE}
_OTHER_KINDS = {stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a block device", stat.S_IFDIR: "a folder"}


def _mode(path: str) -> int | None:
    """Return the mode of the file at `path`, following links; None if there is none or this user may not look."""
    try:
        return os.stat(path).st_mode  # noqa: PTH116
    except (OSError, ValueError):
        return None


def _real(path: str) -> str:
    """Return the path with all links resolved, even those to an unplugged device."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return path


def _names_a_host(url: str) -> bool:
    """Return whether the URL has a host, and a valid port if any; like FFmpeg, allow any character in the password."""
    scheme, _, rest = url.partition("://")
    return any(_has_host(f"{scheme}://{candidate}") for candidate in (rest, rest.rpartition("@")[2]))


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _lower_case(scheme: re.Match[str]) -> str:
    return scheme[0].lower()


def _as_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)


def _as_pattern(name: str) -> re.Pattern[str]:
    """Compile a picture name to a pattern in which only `*` and `%04d` are special."""
    parts = re.split(rf"(\*|{_NUMBERED.pattern})", name)
    return re.compile(
        "".join(".*" if part == "*" else r"[0-9]+" if i % 2 else re.escape(part) for i, part in enumerate(parts)),
        re.DOTALL,
    )


def _by_numbers(file: Path) -> list[tuple[int, str]]:
    """Return a sort key that orders 2.jpg before 10.jpg."""
    parts = re.findall(r"\d+|\D+", file.name)
    return [(int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in parts]
