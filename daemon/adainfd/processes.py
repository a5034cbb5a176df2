"""Processes beside the daemon's own."""

import ctypes
import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

__all__ = ["end_with_parent", "started"]

_PR_SET_PDEATHSIG = 1


def started(target: Callable[..., None], *arguments: Any, name: str) -> tuple[BaseProcess, Connection]:
    """A process that runs `target` with the arguments and its end of a connection, and our end of that.

    Raises OSError where it cannot be started.
    """
    # A forked child would inherit the daemon's threads' locks and its sockets.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(*arguments, theirs), name=name, daemon=True)
    # A stop or reload is the daemon's, but systemd and terminals tell it to every process: this one is born with these
    # signals blocked. The tracker that Python starts beside it is started before: its start unblocks them.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return process, ours


def end_with_parent() -> None:
    """Whatever this process is blocked in, it does not outlive the one that started it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
