"""Bindings for Landlock, which restricts the files, ports and processes a process may reach (Linux 5.13 and later).

See `landlock(7)`. It has three system calls, which are stable; the packages that wrap them are unmaintained or still
change.
"""

import contextlib
import ctypes
import os
import stat
from collections.abc import Collection
from pathlib import Path

__all__ = ["abi", "restrict"]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on every architecture
_ASK_ABI = 1
_BENEATH_PATH, _TO_PORT = 1, 2
_WRITE_FILE, _READ_FILE, _READ_DIR, _IOCTL_DEVICE, _RESOLVE_UNIX = 1 << 1, 1 << 2, 1 << 3, 1 << 15, 1 << 16
_BIND_TCP, _CONNECT_TCP = 1, 2
_TO_ABSTRACT_SOCKETS, _SIGNALS = 1, 2
_ALL_THREADS = 1 << 3
# The number of file access rights per ABI version; rights newer than the last version are not handled.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16, 7: 16, 8: 16, 9: 17}
_ABI_OF_PORTS, _ABI_OF_SCOPES, _ABI_OF_THREADS = 4, 6, 8


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("ports", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _BeneathPath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


class _ToPort(ctypes.Structure):
    _fields_ = (("rights", ctypes.c_uint64), ("port", ctypes.c_uint64))


def abi() -> int:
    """Return the ABI version of the kernel's Landlock; 0 if it is missing or switched off."""
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_ABI))
    except OSError:
        return 0


def restrict(
    *,
    reads: Collection[Path],
    lists: Collection[Path] = (),
    devices: Collection[Path] = (),
    sockets: Collection[Path] = (),
    connects: Collection[int] | None = (),
    binds: Collection[int] = (),
    version: int | None = None,
) -> int:
    """Limit this process to the given files, folders (with contents) and TCP ports; it can signal no other process.

    reads: readable paths. lists: folders that may be listed. devices: devices to read, write and control. sockets:
    local sockets to connect to. connects: ports to connect to, None for all. binds: ports to listen on. version: ABI
    version to use, at most the kernel's.
    Paths that do not exist are skipped. Returns the version in force; raises OSError if the kernel refuses. Requires
    `no_new_privs`; before version 8, other threads of the process remain unrestricted.
    """
    version = abi() if version is None else version
    files = (1 << _FILE_RIGHTS[min(version, max(_FILE_RIGHTS))]) - 1
    has_ports, has_scopes = version >= _ABI_OF_PORTS, version >= _ABI_OF_SCOPES
    ports = (_BIND_TCP | (0 if connects is None else _CONNECT_TCP)) if has_ports else 0
    handled = _Ruleset(files, ports, (_TO_ABSTRACT_SOCKETS | _SIGNALS) if has_scopes else 0)
    size = 24 if has_scopes else 16 if has_ports else 8
    ruleset = _call(_CREATE_RULESET, ctypes.byref(handled), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for paths, rights in (
            (reads, _READ_FILE | _READ_DIR),
            (lists, _READ_DIR),
            (devices, _READ_FILE | _WRITE_FILE | _IOCTL_DEVICE),
            (sockets, _RESOLVE_UNIX),
        ):
            for path in paths:
                _allow_path(ruleset, path, rights & files)
        for allowed, right in ((connects or (), _CONNECT_TCP), (binds, _BIND_TCP)):
            for port in allowed if has_ports else ():
                _add_rule(ruleset, _TO_PORT, _ToPort(right, port))
        flags = _ALL_THREADS if version >= _ABI_OF_THREADS else 0
        _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(flags))
    finally:
        os.close(ruleset)
    return version


def _allow_path(ruleset: int, path: Path, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError, ValueError):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                rights &= ~_READ_DIR
            if rights:
                _add_rule(ruleset, _BENEATH_PATH, _BeneathPath(rights, descriptor))
        finally:
            os.close(descriptor)


def _add_rule(ruleset: int, kind: int, rule: ctypes.Structure) -> None:
    _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(kind), ctypes.byref(rule), ctypes.c_uint32(0))


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    answer: int = libc.syscall(ctypes.c_long(number), *arguments)
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return answer
