"""A guard on FFmpeg's name lookups: each must pass the camera's leash before FFmpeg can connect.

No FFmpeg option restricts the hosts that an HTTP or RTSP redirect, a playlist or a session description leads to. But
libavformat calls `getaddrinfo` before each connection and datagram, with host and port as text, even for numeric
addresses. The guard replaces the pointer to that function in the library's global offset table.
"""

import contextlib
import ctypes
import functools
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from adainfd.capture.leash import Leash

__all__ = ["UnguardedError", "hold", "install", "refused"]

_GUARDED = "libavformat"
_SYMBOL = b"getaddrinfo"
_PT_DYNAMIC = 2
_DT_PLTRELSZ, _DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_REL, _DT_RELSZ, _DT_PLTREL, _DT_JMPREL = (
    *(2, 5, 6, 7, 8, 17, 18, 20, 23),
)
_PROT_READ, _PROT_WRITE = 1, 2
_WORD = ctypes.sizeof(ctypes.c_void_p)
_WIDE = _WORD == 8


class UnguardedError(Exception):
    """FFmpeg's lookups cannot be guarded in this process; the message gives the reason."""


class _Header(ctypes.Structure):  # Elf32_Phdr and Elf64_Phdr
    _fields_ = (
        [("type", ctypes.c_uint32), ("flags", ctypes.c_uint32), ("offset", ctypes.c_size_t)]
        + [(name, ctypes.c_size_t) for name in ("address", "physical", "in_file", "in_memory", "alignment")]
        if _WIDE
        else [
            (name, ctypes.c_uint32)
            for name in ("type", "offset", "address", "physical", "in_file", "in_memory", "flags", "alignment")
        ]
    )


class _Loaded(ctypes.Structure):  # the fields of dl_phdr_info that are used
    _fields_ = [
        ("base", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("headers", ctypes.POINTER(_Header)),
        ("count", ctypes.c_uint16),
    ]


class _Hints(ctypes.Structure):  # the fields of addrinfo that are used
    _fields_ = [(name, ctypes.c_int) for name in ("flags", "family", "socktype", "protocol")]


_Lookup = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(_Hints), ctypes.c_void_p, use_errno=True
)


class _Guard:
    """The replacement for `getaddrinfo`; one per process, as there is one libavformat."""

    def __init__(self) -> None:
        self._real = ctypes.CDLL(None, use_errno=True).getaddrinfo
        self._real.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p]
        self._lock = threading.Lock()
        self.leash: Leash | None = None
        self.refused: str | None = None
        self.lookup = _Lookup(self._look_up)

    def hold(self, leash: Leash | None) -> None:
        with self._lock:
            self.leash, self.refused = leash, None

    def _look_up(self, node: bytes | None, service: bytes | None, hints: ctypes.Array[_Hints], found: int) -> int:
        try:
            if not self._allows(node, service, hints):
                return socket.EAI_FAIL
        except Exception:  # fail closed: an error here must not permit a connection
            return socket.EAI_FAIL
        return int(self._real(node, service, hints, found))

    def _allows(self, node: bytes | None, service: bytes | None, hints: ctypes.Array[_Hints]) -> bool:
        requested = hints[0] if hints else _Hints()
        if node is None and requested.flags & socket.AI_PASSIVE:
            return True  # a local address to receive on
        if service is None and requested.flags & socket.AI_NUMERICHOST:
            return True  # only parses a numeric address: without a port, nothing can be sent there
        if (leash := self.leash) is None:
            return False
        host = (node or b"").decode(errors="surrogateescape")
        port = int(service) if service and service.isdigit() else 0
        if leash.allows(host, None if requested.socktype == socket.SOCK_DGRAM else port):
            return True
        with self._lock:
            self.refused = self.refused or leash.refusal(host, port)
        return False


@functools.cache
def install() -> _Guard:
    """Guard the lookups of this process, once; they fail until `hold` sets a leash.

    Raises UnguardedError if this system keeps the table in another way.
    """
    import cv2  # loads libavformat

    del cv2
    if not sys.platform.startswith("linux"):
        raise UnguardedError(f"{sys.platform} is not Linux")
    guard = _Guard()
    entry = ctypes.cast(guard.lookup, ctypes.c_void_p).value or 0
    slots = [slot for base, dynamic in _libraries() for slot in _slots(base, dynamic)]
    if not slots:
        raise UnguardedError(f"no {_GUARDED} is loaded that calls {_SYMBOL.decode()}")
    for slot in slots:
        _write(slot, entry)
    return guard


def hold(leash: Leash | None) -> None:
    """Set the leash for FFmpeg's lookups (None refuses them all) and forget earlier refusals."""
    install().hold(leash)


def refused() -> str | None:
    """Return the message about the first refused address; None if all were allowed."""
    return install().refused


def _libraries() -> Iterator[tuple[int, int]]:
    """Yield the base address and dynamic section of each guarded library."""
    found: list[tuple[int, int]] = []

    def visit(loaded: ctypes.Array[_Loaded], _size: int, _data: int | None) -> int:
        library = loaded[0]
        if _is_guarded(library.name or b""):
            headers = [library.headers[index] for index in range(library.count)]
            found.extend((library.base, library.base + part.address) for part in headers if part.type == _PT_DYNAMIC)
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Loaded), ctypes.c_size_t, ctypes.c_void_p)
    ctypes.CDLL(None).dl_iterate_phdr(kind(visit), None)
    yield from found


def _is_guarded(name: bytes) -> bool:
    """Return whether a library is libavformat or an OpenCV build that bundles it."""
    path = Path(name.decode(errors="surrogateescape"))
    return path.name.startswith((_GUARDED, "cv2.", "libopencv_videoio"))


def _slots(base: int, dynamic: int) -> Iterator[int]:
    """Yield the addresses of a library's pointers to the function."""
    table = _tags(dynamic)

    def address(tag: int) -> int:
        # glibc has made these addresses absolute; other linkers leave them relative as in the file.
        return table[tag] if table[tag] >= base else table[tag] + base

    for begin, size, with_addend in (
        (_DT_JMPREL, _DT_PLTRELSZ, table.get(_DT_PLTREL) == _DT_RELA),
        (_DT_RELA, _DT_RELASZ, True),
        (_DT_REL, _DT_RELSZ, False),
    ):
        if begin not in table or size not in table:
            continue
        words = (3 if with_addend else 2) * _WORD
        relocations = memoryview(ctypes.string_at(address(begin), table[size])).cast("L")
        for at in range(0, table[size] // words * (words // _WORD), words // _WORD):
            if (number := relocations[at + 1] >> (32 if _WIDE else 8)) and _name_is(
                address(_DT_SYMTAB), address(_DT_STRTAB), number
            ):
                yield base + relocations[at]


def _tags(dynamic: int) -> dict[int, int]:
    tags: dict[int, int] = {}
    entries = ctypes.cast(dynamic, ctypes.POINTER(ctypes.c_size_t))
    at = 0
    while entries[at]:
        tags[entries[at]] = entries[at + 1]
        at += 2
    return tags


def _name_is(symbols: int, names: int, number: int) -> bool:
    """Return whether the symbol with this number is the guarded function."""
    symbol = symbols + number * (24 if _WIDE else 16)
    name = names + ctypes.c_uint32.from_address(symbol).value
    return ctypes.string_at(name, len(_SYMBOL) + 1) == _SYMBOL + b"\0"


def _write(slot: int, entry: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    page = libc.getpagesize()
    begin, writable = slot // page * page, _is_writable(slot)
    start, length = ctypes.c_void_p(begin), ctypes.c_size_t(page)
    if not writable and libc.mprotect(start, length, _PROT_READ | _PROT_WRITE):
        raise UnguardedError("the kernel keeps the table read-only")
    ctypes.c_size_t.from_address(slot).value = entry
    if not writable:
        libc.mprotect(start, length, _PROT_READ)


def _is_writable(address: int) -> bool:
    with (
        contextlib.suppress(OSError, ValueError),
        Path("/proc/self/maps").open(encoding="utf-8", errors="replace") as maps,
    ):
        for line in maps:
            span, rights = line.split(None, 2)[:2]
            begin, end = (int(part, 16) for part in span.split("-"))
            if begin <= address < end:
                return "w" in rights
    return False
