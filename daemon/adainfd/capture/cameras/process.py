"""The daemon's handle on a camera process: starts it with a minimal environment, talks to it and kills it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from adainfd.base.processes import stop_signals_blocked
from adainfd.capture.exchange.channel import Receiver, Sender
from adainfd.capture.exchange.memory import sealed_content
from adainfd.capture.exchange.reports import Start, encoded

__all__ = ["MOST_THREADS", "WORKER", "CameraProcess", "environment"]

WORKER = ("-P", "-m", "adainfd.capture")
"""Python arguments; the descriptor numbers of settings, frames, attempts, commands and reports are appended."""

MOST_THREADS = 16
"""Limit per process. FFmpeg needs a handful to receive datagrams; more would take CPU time from the daemon."""

# No camera exceeds a thousand frames a second, and a process delivers at most half of them, with two messages of two
# reads each per frame.
_MOST_READS_A_SECOND = 4000
_DIES_WITHIN_SECONDS = 0.1
_LOOK_EVERY_SECONDS = 0.001

_NEEDED = (
    # to find Python, its libraries and a custom allocator
    *("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "GLIBC_TUNABLES"),
    *("PYTHONHOME", "PYTHONUTF8", "PYTHONMALLOC", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
    *("LANG", "LANGUAGE", "TZ", "OMP_WAIT_POLICY"),
)
_NEEDED_BEGIN = ("LC_", "MALLOC_", "OPENCV_")
_NEEDED_END = ("_NUM_THREADS",)


def environment(daemon: Mapping[str, str], path: Sequence[str], most_pixels: int) -> dict[str, str]:
    """Return the environment of a camera process: the needed part of the daemon's, without credentials or sockets.

    path: the daemon's import path. most_pixels: limit on a decoded picture.
    """
    needed = {
        name: value
        for name, value in daemon.items()
        if name in _NEEDED or name.startswith(_NEEDED_BEGIN) or name.endswith(_NEEDED_END)
    }
    added = {
        # NumPy must start no threads: Landlock restricts only the calling thread and its descendants.
        "OPENBLAS_NUM_THREADS": "1",
        # OpenCV enforces the limit for formats whose size is not known before decoding.
        "OPENCV_IO_MAX_IMAGE_PIXELS": str(most_pixels),
        "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in path),  # noqa: PTH109
    }
    # Read when OpenCV and FFmpeg are loaded; their messages would only duplicate our one-line report.
    silent = {"OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8"}
    # Each additional malloc arena would reserve 64 MiB of the process's memory limit.
    return {**silent, "MALLOC_ARENA_MAX": "1"} | needed | added


class CameraProcess:
    """A camera process. Receive its `reports`, send it `commands`."""

    def __init__(self, command: Sequence[str], start: Start, frames: int, attempts: int) -> None:
        """Start the process.

        command: Python arguments. frames, attempts: descriptors of shared memory, which stay the caller's to close.
        Raises OSError if the process cannot be started.
        """
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            settings = _closed_by(theirs, sealed_content("adainf-camera", encoded(start)))
            commands_in, commands_out = os.pipe()
            _closed_by(theirs, commands_in), _closed_by(ours, commands_out)
            reports_in, reports_out = os.pipe()
            _closed_by(theirs, reports_out), _closed_by(ours, reports_in)
            env = environment(os.environ, sys.path, start.settings.most_pixels)
            self._process = _started(command, env, (settings, frames, attempts, commands_in, reports_out))
            ours.pop_all()
        self.reports = Receiver(reports_in, blocking=False, most_reads=_MOST_READS_A_SECOND)
        self.commands = Sender(commands_out, blocking=False)

    @property
    def id(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def threads(self) -> int:
        """The number of its threads; 0 if it is gone."""
        try:
            return len(os.listdir(f"/proc/{self.id}/task"))  # noqa: PTH208
        except OSError:
            return 0

    def exit_status(self) -> int | None:
        """Return the exit status; None if the process was killed by a signal or has not ended after 0.1 s."""
        self._await_death()
        info = self._peek()
        return info.si_status if info is not None and info.si_code == os.CLD_EXITED else None

    def exit_text(self) -> str:
        """Return how the process ended, to follow the word "ended"; empty if it has not ended after 0.1 s."""
        self._await_death()
        info = self._peek()
        if info is None:
            return ""
        return f" with status {info.si_status}" if info.si_code == os.CLD_EXITED else f" by signal {info.si_status}"

    def _peek(self) -> os.waitid_result | None:
        """Return how the process ended without reaping it, so that its id is not reused yet; None while it runs."""
        return os.waitid(os.P_PID, self.id, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    def _await_death(self) -> None:
        end = time.monotonic() + _DIES_WITHIN_SECONDS
        while self._peek() is None and time.monotonic() < end:
            time.sleep(_LOOK_EVERY_SECONDS)

    def end(self) -> None:
        """Kill the process group and close the pipes. Unless stuck in the kernel, it dies within 0.1 s; see `reap`."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.id, signal.SIGKILL)  # needs no graceful shutdown: the kernel frees all it holds
        self._await_death()
        self.reports.close()
        self.commands.close()

    def reap(self) -> bool:
        """Reap the process after `end`; return whether it is gone."""
        return self._process.poll() is not None


def _closed_by(stack: contextlib.ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _started(command: Sequence[str], env: Mapping[str, str], descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
    # Without the daemon's standard streams it can neither write to its log nor to its terminal; in a session of its own
    # it cannot open the terminal either.
    with stop_signals_blocked():
        return subprocess.Popen(  # noqa: S603
            [sys.executable, *command, *map(str, descriptors)],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=descriptors,
            start_new_session=True,
        )
