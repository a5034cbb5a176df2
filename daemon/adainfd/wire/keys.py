"""CURVE keys in files: key pairs in the format of ZeroMQ's own tools, and the folder of allowed clients."""

import contextlib
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import zmq
from zmq.utils import z85

from adainf.base import files
from adainf.base.errors import InvalidInputError, printable
from adainfd.base.secretfile import at_hand, check

__all__ = ["AllowList", "KeyPair", "public_key"]

_PUBLIC_SUFFIX, _SECRET_SUFFIX = ".key", ".key_secret"
_KEY = re.compile(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")  # 32 bytes in Z85

_MOST_BYTES = 1 << 16
_LONGEST_NAME = 200

_KEYS_FOLDER = Path("/etc/adainf/keys")

_HEAD_TO_KEEP = """\
# ZeroMQ CURVE secret certificate, made by `adainfd keys` on {day}.
# Whoever reads this file can pass for its owner: give it to nobody.
"""
_HEAD_TO_GIVE = """\
# ZeroMQ CURVE public certificate, made by `adainfd keys` on {day}.
"""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A public key and its secret key, in Z85."""

    public: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls, stem: Path) -> "KeyPair":
        """Generate a pair and write it to `stem`.key (for everyone) and `stem`.key_secret (for its owner alone).

        Raises InvalidInputError where either file exists or cannot be written; nothing is overwritten.
        """
        if stem.name in ("", ".."):
            raise InvalidInputError(f"keys {str(stem)!r}: must be the path of a file to make, without its ending")
        public, secret = (key.decode() for key in zmq.curve_keypair())
        day = datetime.now(UTC).date().isoformat()
        body = f'metadata\ncurve\n    public-key = "{public}"\n'
        files = (
            (
                _named(stem, _SECRET_SUFFIX),
                0o600,
                f'{_HEAD_TO_KEEP.format(day=day)}{body}    secret-key = "{secret}"\n',
            ),
            (_named(stem, _PUBLIC_SUFFIX), 0o644, _HEAD_TO_GIVE.format(day=day) + body),
        )
        written: list[Path] = []
        try:
            for path, mode, text in files:
                _write(path, mode, text)
                written.append(path)
        except OSError as error:
            for path in written:
                path.unlink()
            raise InvalidInputError(f"keys {stem}: {path} cannot be written ({error.strerror})") from None
        return cls(public, secret)

    @classmethod
    def read(cls, path: Path) -> "KeyPair":
        """Read the pair in the file `path`; within a service, in the credential that systemd made of that file.

        A credential's path (`/run/credentials/UNIT/keys_NAME`) also works outside the service: it then stands for its
        source, the key in `/etc/adainf/keys`. Raises InvalidInputError where the file holds no pair or everyone may
        read it.
        """
        path = at_hand(path)
        public, secret = _certificate(path)
        if secret is None:
            raise InvalidInputError(f"key {path}: holds no secret key; name the file that ends in {_SECRET_SUFFIX}")
        check(path, "key")
        try:
            fits = zmq.curve_public(secret.encode()).decode() == public
        except (zmq.ZMQError, ValueError):
            fits = False
        if not fits:
            raise InvalidInputError(f"key {path}: its secret key does not belong to its public key")
        return cls(public, secret)


def public_key(told: str) -> str:
    """Return the public key that `told` gives: 40 characters of Z85, or the path of a file that holds one."""
    if _is_key(told) and not files.is_there(Path(told)):
        return told
    return _certificate(at_hand(Path(told)))[0]


class AllowList:
    """The allowed clients: the public keys (NAME.key) that a folder holds at this moment.

    Nothing is cached between two reads, so it does not matter how a file or the folder was replaced.
    """

    def __init__(self, folder: Path) -> None:
        """Check the folder; raise InvalidInputError where it cannot be read or a file in it holds no key."""
        self._folder = folder
        self.hindrance: str | None = None
        """Why the last read of the folder failed; None where it succeeded."""
        self.check()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield each client's name and public key, sorted by name."""
        return iter(sorted((name, key) for key, name in self.now().items()))

    def check(self) -> None:
        """Raise InvalidInputError where the folder cannot be read or a file in it holds no key."""
        try:
            for file in self._files():
                _certificate(file)
        except OSError as error:
            raise InvalidInputError(f"clients {self._folder}: cannot be read ({error.strerror})") from None

    def now(self) -> dict[str, str]:
        """Return the clients' names by public key; no client is allowed while the folder cannot be read."""
        try:
            key_files = self._files()
        except OSError as error:
            self.hindrance = f"clients {self._folder}: cannot be read ({error.strerror}); nobody may come in"
            return {}
        self.hindrance = None
        names: dict[str, str] = {}
        for file in key_files:
            # The file may be half copied: skip it, and keep the other clients.
            with contextlib.suppress(InvalidInputError):
                names[_certificate(file)[0]] = printable(file.stem, _LONGEST_NAME)
        return names

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.iterdir() if path.suffix == _PUBLIC_SUFFIX)


def _named(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _write(path: Path, mode: int, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)  # regardless of the umask
        file.write(text)


def _certificate(path: Path) -> tuple[str, str | None]:
    """Return a file's public key and its secret key, if it has one; errors never quote the file's content."""
    try:
        files.check_file(path, "key")  # reading a device may never end
        content = files.read(path, "key", _MOST_BYTES)
    except InvalidInputError as error:
        raise InvalidInputError(f"{error}{_remedy(path)}") from None
    public, secret = (_entry(content, name) for name in (b"public-key", b"secret-key"))
    if public is None:
        raise InvalidInputError(f"key {path}: holds no public key; make one with: adainfd keys new")
    if not all(key is None or _is_key(key) for key in (public, secret)):
        raise InvalidInputError(f"key {path}: a key must have 40 characters of Z85")
    return public, secret


def _entry(content: bytes, name: bytes) -> str | None:
    """Return the last value assigned to `name`, in the format of ZeroMQ's own tools; None where there is none."""
    values: list[bytes] = re.findall(rb"^[ \t]*" + name + rb"[ \t]*=(.*)$", content, re.MULTILINE)
    return values[-1].strip(b" \t\r'\"").decode("ascii", "replace") if values else None


def _is_key(text: str) -> bool:
    """Return whether libzmq accepts the key: five characters of Z85 can encode more than four bytes hold."""
    if _KEY.fullmatch(text) is None:
        return False
    try:
        z85.decode(text)
    except (struct.error, ValueError):
        return False
    return True


def _remedy(path: Path) -> str:
    """Return a hint about a key in /etc/adainf/keys that cannot be read; empty where the cause is plain."""
    if path.parent != _KEYS_FOLDER:
        return ""
    if "CREDENTIALS_DIRECTORY" in os.environ:
        return "; systemd hands a service the keys that lie there when it starts: see that it does, then restart it"
    return "" if os.geteuid() == 0 else "; it is for root alone: run this as root"
