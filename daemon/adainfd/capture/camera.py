"""The daemon's side of a camera: its process, the newest frame, and what became of every frame."""

import multiprocessing
import signal
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from adainfd.capture.motion import Region
from adainfd.capture.slots import FrameSlots
from adainfd.capture.source import Source
from adainfd.capture.worker import BrokeOff, Captured, Ended, Failed, Opened, Play, work

__all__ = ["Camera", "Counts"]

_END_WITHIN_SECONDS = 1.0


@dataclass(slots=True)
class Counts:
    """Frames by fate, since the start: captured = published + newer_frame + too_old + model_parked + pending.

    second_looks: of the published ones, how many were looked at again.
    """

    captured: int = 0
    published: int = 0
    newer_frame: int = 0
    too_old: int = 0
    model_parked: int = 0
    second_looks: int = 0

    @property
    def pending(self) -> int:
        """Captured and not yet decided on."""
        return self.captured - self.published - self.newer_frame - self.too_old - self.model_parked


@dataclass(slots=True)
class Camera:
    """One camera. `receive` what its process said, `take` the newest frame, `close` at the end."""

    name: str
    source: Source
    loop: bool = False
    ignored: tuple[Region, ...] = ()
    counts: Counts = field(default_factory=Counts)
    failure: str | None = None
    broke_off: str | None = None
    _ended: bool = False
    _newest: Captured | None = None
    _slots: FrameSlots | None = None
    _process: multiprocessing.process.BaseProcess | None = None
    _connection: Connection | None = None

    def start(self) -> None:
        """Start the process, which opens the source at once and delivers nothing before `play`."""
        # A forked child would inherit the daemon's threads' locks and its sockets.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=work, args=(self.source, self.loop, self.ignored, theirs), name=f"camera {self.name}", daemon=True
        )
        # A stop or reload is the daemon's, but systemd and terminals tell it to every process: a camera's is born with
        # these signals blocked. The tracker of shared memory is started before, since its start unblocks them.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    @property
    def connection(self) -> Connection:
        """Readable when the process has said something."""
        if self._connection is None:
            raise RuntimeError(f"camera {self.name} has not been started")
        return self._connection

    @property
    def process_id(self) -> int | None:
        """The process's id while there is one."""
        return self._process.pid if self._process is not None else None

    @property
    def opened(self) -> bool:
        """Whether pictures can come."""
        return self._slots is not None

    @property
    def finished(self) -> bool:
        """Whether nothing more will come and nothing waits to be taken."""
        return self._ended and self._newest is None

    def play(self) -> None:
        """Let the frames come."""
        self.connection.send(Play())

    def receive(self) -> None:
        """Take in everything the process has said."""
        try:
            while not self._ended and self.connection.poll():
                self._take_in(self.connection.recv())
        except (EOFError, ConnectionResetError):
            self._ended = True
            self.failure = f"its process ended{self._exit_text()}"

    def _take_in(self, message: object) -> None:
        match message:
            case Captured():
                self.counts.captured += 1
                self.counts.newer_frame += self._newest is not None
                self._newest = message
            case Opened(name, shape):
                self._attach(FrameSlots(shape, name))
            case BrokeOff(reason):
                self.broke_off = reason
            case Ended():
                self._ended = True
            case Failed(reason):
                self._ended, self.failure = True, reason

    def _attach(self, slots: FrameSlots) -> None:
        slots.unlink()
        if self._newest is not None:
            # It lies in the old slots, which the process has left.
            self.counts.newer_frame += 1
            self._newest = None
        if self._slots is not None:
            self._slots.close()
        self._slots = slots

    @property
    def newest(self) -> Captured | None:
        """The newest frame that was not taken yet."""
        return self._newest

    def take(self) -> tuple[Captured, NDArray[np.uint8]] | None:
        """The newest frame and its picture (height, width, 3) in shared memory, once; ask `holds` after using it."""
        captured, self._newest = self._newest, None
        if captured is None or self._slots is None:
            return None
        return captured, self._slots.view(captured.number)

    def holds(self, captured: Captured) -> bool:
        """Whether the picture taken was still whole until now."""
        return self._slots is not None and self._slots.holds(captured.number)

    def _exit_text(self) -> str:
        if self._process is None:
            return ""
        self._process.join(_END_WITHIN_SECONDS)
        code = self._process.exitcode
        return "" if code is None else f" by signal {-code}" if code < 0 else f" with status {code}"

    def close(self) -> None:
        """End the process and free the frames."""
        if self._process is not None:
            if self._process.pid is not None:
                self._process.kill()  # it holds nothing that the kernel does not free
                self._process.join()
                self.receive()  # its last words may name shared memory
            self._process.close()
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._slots is not None:
            self._slots.close()
            self._slots = None
