"""A camera's process as the daemon holds it: started with nothing that it does not need, heard, and ended."""

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
"""What Python runs; the numbers of its descriptors follow: of its settings, frames, attempts, commands and reports."""

MOST_THREADS = 16
"""Of one process. FFmpeg receives datagrams in a handful; more would take the daemon's share of the processors."""

# No camera has more than a thousand frames a second, and a process delivers at most half of that: two messages a frame,
# of two reads each.
_MOST_READS_A_SECOND = 4000
_DIES_WITHIN_SECONDS = 0.1
_LOOK_EVERY_SECONDS = 0.001

_NEEDED = (
    # to find Python, its libraries and an allocator that was chosen
    *("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "GLIBC_TUNABLES"),
    *("PYTHONHOME", "PYTHONUTF8", "PYTHONMALLOC", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
    *("LANG", "LANGUAGE", "TZ", "OMP_WAIT_POLICY"),
)
_NEEDED_BEGIN = ("LC_", "MALLOC_", "OPENCV_")
_NEEDED_END = ("_NUM_THREADS",)


def environment(daemon: Mapping[str, str], path: Sequence[str], most_pixels: int) -> dict[str, str]:
    """Of the daemon's environment and import path, what a camera's process needs: no credentials, no sockets.

    most_pixels: of a picture that is decoded.
    """
    needed = {
        name: value
        for name, value in daemon.items()
        if name in _NEEDED or name.startswith(_NEEDED_BEGIN) or name.endswith(_NEEDED_END)
    }
    added = {
        # NumPy is to start no thread: Landlock holds the thread that asks for it, and its descendants.
        "OPENBLAS_NUM_THREADS": "1",
        # Formats whose size nothing else tells before they are decoded are held to it by OpenCV.
        "OPENCV_IO_MAX_IMAGE_PIXELS": str(most_pixels),
        "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in path),  # noqa: PTH109
    }
    # OpenCV and FFmpeg read these as they are loaded: their messages would stand beside our one line.
    silent = {"OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8"}
    # Each further thread would reserve 64 MiB of what the process may have.
    return {**silent, "MALLOC_ARENA_MAX": "1"} | needed | added


class CameraProcess:
    """One process. `reports` come from it; it is told by `commands`."""

    def __init__(self, command: Sequence[str], start: Start, frames: int, attempts: int) -> None:
        """command: what Python runs. frames, attempts: descriptors of memory, which stay the caller's.

        Raises OSError where it cannot be started.
        """
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            settings = _closed_by(theirs, sealed_content("adainf-camera", encoded(start)))
            commands_in, commands_out = os.pipe()
            _closed_by(theirs, commands_in), _closed_by(ours, commands_out)
            reports_in, reports_out = os.pipe()
            _closed_by(theirs, reports_out), _closed_by(ours, reports_in)
            given = environment(os.environ, sys.path, start.settings.most_pixels)
            self._process = _started(command, given, (settings, frames, attempts, commands_in, reports_out))
            ours.pop_all()
        self.reports = Receiver(reports_in, blocking=False, most_reads=_MOST_READS_A_SECOND)
        self.commands = Sender(commands_out, blocking=False)

    @property
    def id(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def threads(self) -> int:
        """How many it runs; 0 where it is gone."""
        try:
            return len(os.listdir(f"/proc/{self.id}/task"))  # noqa: PTH208
        except OSError:
            return 0

    def exit_status(self) -> int | None:
        """The status with which it ended; None where a signal ended it, or nothing did."""
        self._await_death()
        told = self._peek()
        return told.si_status if told is not None and told.si_code == os.CLD_EXITED else None

    def exit_text(self) -> str:
        """How it ended, after the word "ended"; empty where it has not, or only a moment later."""
        self._await_death()
        told = self._peek()
        if told is None:
            return ""
        return f" with status {told.si_status}" if told.si_code == os.CLD_EXITED else f" by signal {told.si_status}"

    def _peek(self) -> os.waitid_result | None:
        """How it ended. It is not reaped: until then nobody else gets its number."""
        return os.waitid(os.P_PID, self.id, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    def _await_death(self) -> None:
        end = time.monotonic() + _DIES_WITHIN_SECONDS
        while self._peek() is None and time.monotonic() < end:
            time.sleep(_LOOK_EVERY_SECONDS)

    def end(self) -> None:
        """Kill it and what it has started; a moment later it is dead, unless it is stuck in the kernel. See `reap`."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.id, signal.SIGKILL)  # it holds nothing that the kernel does not free
        self._await_death()
        self.reports.close()
        self.commands.close()

    def reap(self) -> bool:
        """After `end`: whether nothing of it is left now."""
        return self._process.poll() is not None


def _closed_by(stack: contextlib.ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _started(command: Sequence[str], given: Mapping[str, str], descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
    # Without its standard streams it can neither write lines into the daemon's log nor type into its terminal; in a
    # session of its own it has no terminal to open either.
    with stop_signals_blocked():
        return subprocess.Popen(  # noqa: S603
            [sys.executable, *command, *map(str, descriptors)],
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=descriptors,
            start_new_session=True,
        )
