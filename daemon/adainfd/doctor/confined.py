"""A check that the sandbox works: a confined process tries to break out."""

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from adainfd.base.processes import end_with_parent, started
from adainfd.capture.sandbox import confinement
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source
from adainfd.doctor.finding import Finding, ok, warn

__all__ = ["examine"]

_SECONDS = 20.0
_SUBJECT = "confinement"
_HELD = "a camera's process reaches its own source alone, and no other process"


def examine() -> Finding:
    """Confine a process as a camera process is, and check what it can still do."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as for a camera process: see `capture.cameras.process`
    try:
        process, connection = started(_try, name="confinement")
    except OSError as error:
        return warn(_SUBJECT, f"cannot be tried ({error.strerror})", "let this user start processes")
    lacks: list[tuple[str, str]] | None = None
    with connection, contextlib.suppress(EOFError, OSError):
        lacks = connection.recv() if connection.poll(_SECONDS) else None
    process.kill()
    process.join()
    if lacks is None:
        return warn(_SUBJECT, "the process that tried it ended", "report this as a bug, with the kernel's version")
    if lacks:
        return warn(_SUBJECT, "; ".join(found for found, _ in lacks), "; ".join(dict.fromkeys(r for _, r in lacks)))
    return ok(_SUBJECT, _HELD)


def _try(doctor: Connection) -> None:
    end_with_parent()
    source = Source(sys.executable)
    lacks = [
        (str(missing), missing.remedy) for missing in confinement.confine(CameraSettings("doctor", source)).missing
    ]
    with Path(source.path).open("rb"):
        lacks += [(f"{action} is still possible", "report this as a bug") for action in _still_possible(lacks)]
    doctor.send(lacks)


def _still_possible(lacks: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the attempts that should fail but succeed, although their part of the sandbox was reported as present."""
    known = {found.partition(":")[0] for found, _ in lacks}
    attempts: tuple[tuple[str, str, Callable[[], object]], ...] = (
        ("files", "reading a file that is not its source", Path("/etc/passwd").read_bytes),
        ("system calls", "signalling the daemon", lambda: os.kill(os.getppid(), 0)),
        ("system calls", "starting a process", _fork),
        ("system calls", "connecting to this box", lambda: socket.socket(socket.AF_UNIX).close()),
    )
    for part, action, attempt in attempts:
        if part not in known:
            with contextlib.suppress(OSError):
                attempt()
                yield action


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)
