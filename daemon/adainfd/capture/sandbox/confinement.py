"""The privileges a camera process drops before it opens its source, as FFmpeg and OpenCV parse untrusted input.

An attacker who takes over the process finds no keys, configuration, state or other camera in it, and can neither signal
nor slow down the daemon. Each layer works without the others, as far as the kernel supports it.
"""

import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adainfd.capture.reach import Reach, identities, libraries, reach_of
from adainfd.capture.sandbox import landlock, syscalls
from adainfd.capture.sandbox.allowance import Allowance
from adainfd.capture.settings import CameraSettings

__all__ = ["RENEWED", "Confinement", "Missing", "confine", "hide_memory"]

RENEWED = 75
"""Exit status of a process whose source has become a different file, which only a new process may read."""

_OPEN_FILES = 64
# Makes the OOM killer rate a camera process as if it used half of all memory more, so it dies before the daemon.
_OOM_SCORE = 500
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 4, 24, 38, 47
_CLEAR_ALL = 4
_CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION = 0x20080522
_LANDLOCK_OF_PORTS, _LANDLOCK_OF_THREADS, _LANDLOCK_OF_SOCKETS = 4, 8, 9


@dataclass(frozen=True, slots=True)
class Missing:
    """A part of the sandbox that could not be set up, the reason, and what the owner can do about it."""

    part: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.part}: {self.why}"


class Confinement:
    """The confinement of this process; `missing` lists the parts that could not be set up."""

    def __init__(
        self, settings: CameraSettings, reach: Reach, allowance: Allowance, missing: tuple[Missing, ...]
    ) -> None:
        self.missing = missing
        self.allowance = allowance
        self._settings = settings
        self._identities = identities(reach)

    def renew_where_outdated(self) -> None:
        """End the process if its paths now name different files. Call it before reopening the source.

        Raises SystemExit(RENEWED), upon which the daemon starts a new process at once.
        """
        if identities(reach_of(self._settings)) != self._identities:
            raise SystemExit(RENEWED)


def confine(settings: CameraSettings) -> Confinement:
    """Irrevocably drop every privilege the camera's source does not need; call it before the source is opened."""
    _import_all()
    reach, allowance = reach_of(settings), Allowance(settings.most_pixels)
    missing = [*_limit(allowance)]
    _drop_capabilities(keep=0 if reach.network else 1 << _CAP_DAC_READ_SEARCH)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # Landlock first: the seccomp filter blocks its system calls.
    missing += [*_restrict_files(reach), *_restrict_calls(reach)]
    return Confinement(settings, reach, allowance, tuple(missing))


def hide_memory() -> None:
    """Hide the memory, environment and open files of this process from other processes of the same user."""
    _prctl(_PR_SET_DUMPABLE, 0)


def _import_all() -> None:
    """Import all modules that may be needed: later, the process may not read the folders they are in."""
    import encodings.idna
    import http.client
    import ssl

    import cv2
    from PIL import Image

    import adainf.media.images
    import adainf.media.videos
    import adainfd.capture.reading.pipe
    import adainfd.capture.reading.stream

    del encodings, http, ssl, cv2, adainf, adainfd
    Image.init()


def _packages() -> Iterator[Path]:
    """Yield the folders of Python code from which further modules may be imported."""
    yield Path(os.__file__).parent
    for name, module in list(sys.modules.items()):
        if "." not in name:
            yield from map(Path, getattr(module, "__path__", ()))


def _limit(allowance: Allowance) -> Iterator[Missing]:
    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_AS": allowance.limit,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_NOFILE": _OPEN_FILES,
    }
    try:
        for name, value in limits.items():
            which: int = getattr(resource, name)
            _, hard = resource.getrlimit(which)
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(which, (value, value))
        score = Path("/proc/self/oom_score_adj")
        if int(score.read_text(encoding="ascii")) < _OOM_SCORE:
            score.write_text(str(_OOM_SCORE), encoding="ascii")
    except OSError as error:
        yield Missing("memory", f"its limits cannot be set ({error.strerror})", "allow prlimit64 and /proc")


def _drop_capabilities(keep: int) -> None:
    """Drop root's capabilities and those granted to the program. keep: bit mask of capabilities to retain if held."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = 0
    while libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) == 0:  # fails past the last capability, or unprivileged
        number += 1
    libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    header, held = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, held) == 0:
        # Effective, permitted, inheritable; then the same for capabilities from 32 on.
        kept = held[0] & held[1] & keep
        libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _restrict_files(reach: Reach) -> Iterator[Missing]:
    version = landlock.abi()
    yield from _landlock_lacks(version)
    if not version:
        return
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1 and version < _LANDLOCK_OF_THREADS:
        yield Missing("files", f"{threads - 1} threads ran before it was confined", "report this as a bug")
    if reach.sockets and version < _LANDLOCK_OF_SOCKETS:
        yield Missing(
            "local sockets",
            f"it needs {', '.join(map(str, reach.sockets))}, and this kernel's Landlock cannot tell sockets apart",
            "name the camera by its address, or use Linux 7.1 or later",
        )
    try:
        landlock.restrict(
            reads=(*reach.reads, *libraries(), *_packages()),
            lists=reach.lists,
            devices=reach.devices,
            sockets=reach.sockets,
            connects=reach.connects,
            binds=reach.binds,
        )
    except OSError as error:
        yield Missing("files", f"the kernel refuses its Landlock rules ({error.strerror})", "report this as a bug")


def _landlock_lacks(version: int) -> Iterator[Missing]:
    if not version:
        remedy = "use Linux 5.13 or later with Landlock: landlock must be in /sys/kernel/security/lsm"
        yield Missing("files", "the kernel has no Landlock", remedy)
    if version < _LANDLOCK_OF_PORTS:
        yield Missing("TCP ports", "the kernel has no Landlock of version 4 or later", "use Linux 6.7 or later")


def _restrict_calls(reach: Reach) -> Iterator[Missing]:
    try:
        syscalls.restrict(
            network=reach.network,
            datagrams=reach.datagrams,
            local=bool(reach.sockets),
            listening=bool(reach.binds),
            device=bool(reach.devices),
            threads=reach.threads,
        )
    except syscalls.UnfilteredError as error:
        is_missing = str(error) == syscalls.NO_LIBRARY
        remedy = "apt-get install libseccomp2" if is_missing else "use x86-64 or aarch64, and seccomp"
        yield Missing("system calls", str(error), remedy)
