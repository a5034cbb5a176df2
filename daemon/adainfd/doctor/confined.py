"""Whether a camera's process is confined here: one is, and tries to get out."""

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
    """Confine a process as a camera's is, and see what it still can."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as a camera's process starts: see `capture.process`
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
    lacks = [(str(told), told.remedy) for told in confinement.confine(CameraSettings("doctor", source)).missing]
    with Path(source.path).open("rb"):
        lacks += [(f"{what} is still possible", "report this as a bug") for what in _still_possible(lacks)]
    doctor.send(lacks)


def _still_possible(lacks: list[tuple[str, str]]) -> Iterator[str]:
    """What ought to be refused and is not, though the part that refuses it was said to be there."""
    known = {found.partition(":")[0] for found, _ in lacks}
    attempts: tuple[tuple[str, str, Callable[[], object]], ...] = (
        ("files", "reading a file that is not its source", Path("/etc/passwd").read_bytes),
        ("system calls", "signalling the daemon", lambda: os.kill(os.getppid(), 0)),
        ("system calls", "starting a process", _fork),
        ("system calls", "connecting to this box", lambda: socket.socket(socket.AF_UNIX).close()),
    )
    for part, what, attempt in attempts:
        if part not in known:
            with contextlib.suppress(OSError):
                attempt()
                yield what


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)
