"""Processes beside the daemon's own."""

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
    """A process that runs `target` with the arguments and its end of a connection, and our end of that.

    What comes over the connection is unpickled: only for a process that reads nothing of strangers, as the exporter.
    Raises OSError where it cannot be started.
    """
    # A forked child would inherit the daemon's threads' locks and its sockets.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(*arguments, theirs), name=name, daemon=True)
    resource_tracker.ensure_running()  # before: its start unblocks the signals
    with stop_signals_blocked():
        process.start()
    theirs.close()
    return process, ours


@contextlib.contextmanager
def stop_signals_blocked() -> Iterator[None]:
    """A process that is started inside is born with the signals blocked that stop or reload the daemon.

    systemd and terminals tell them to every process, but they are the daemon's.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Whatever this process is blocked in, it does not outlive the one that started it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
