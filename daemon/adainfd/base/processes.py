"""Subprocesses of the daemon."""

import contextlib
import ctypes
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

__all__ = ["end_with_parent", "started", "stop_signals_blocked"]

_PR_SET_PDEATHSIG = 1


def started(target: Callable[..., None], *arguments: Any, name: str) -> tuple[BaseProcess, Connection]:
    """Start a process that runs `target(*arguments, connection)`; return it and our end of the connection.

    Data from the connection is unpickled, so use it only for a process that reads no untrusted data, such as the
    exporter. Raises OSError if the process cannot be started.
    """
    # spawn, since a forked child would inherit the locks of the daemon's threads and its sockets.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(*arguments, theirs), name=name, daemon=True)
    resource_tracker.ensure_running()  # first, because starting it unblocks the signals
    with stop_signals_blocked():
        process.start()
    theirs.close()
    return process, ours


@contextlib.contextmanager
def stop_signals_blocked() -> Iterator[None]:
    """Block SIGINT, SIGTERM and SIGHUP, so that a process started inside inherits them blocked.

    systemd and terminals send them to every process, but only the daemon should handle them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, even while it is blocked."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
