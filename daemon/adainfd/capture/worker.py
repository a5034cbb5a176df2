"""A camera's process: reads its source, measures motion, keeps the newest frames in shared memory."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from adainfd.capture.motion import Region, Sketch, changed_share, counted_cells, sketch
from adainfd.capture.slots import FrameSlots
from adainfd.capture.source import Kind, Picture, Source, SourceError, VideoReader

__all__ = ["BrokeOff", "Captured", "Ended", "Failed", "Opened", "Play", "work"]


@dataclass(frozen=True, slots=True)
class Opened:
    """Pictures of `shape` will come through the slots called `slots`."""

    slots: str
    shape: tuple[int, int, int]
    frames_per_second: float


@dataclass(frozen=True, slots=True)
class Captured:
    """Frame `number` (from 1) is in its slot.

    at: monotonic seconds; wall: Unix time. motion: share (0..1) that differs from the frame before, None for the first.
    """

    number: int
    at: float
    wall: float
    motion: float | None
    sketch: Sketch


@dataclass(frozen=True, slots=True)
class BrokeOff:
    """A file ended before the length it claims; said once, a looping camera goes on with what there is."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will come."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The source cannot be opened or shows nothing."""

    reason: str


@dataclass(frozen=True, slots=True)
class Play:
    """From the daemon: begin to deliver."""


def work(source: Source, loop: bool, ignored: Sequence[Region], daemon: Connection) -> None:
    """Run a camera until its source ends or the daemon lets go of the connection.

    ignored: regions (left, top, right, bottom, fractions) in which nothing counts as motion.
    """
    # OpenCV and FFmpeg, told before they are imported: their messages would stand beside our one line.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        _Camera(source, loop, counted_cells(ignored), daemon).run()
    except SourceError as error:
        daemon.send(Failed(str(error)))
    except (BrokenPipeError, ConnectionResetError, EOFError):
        pass  # the daemon is gone


class _Camera:
    def __init__(self, source: Source, loop: bool, counted: NDArray[np.bool_] | None, daemon: Connection) -> None:
        self._source = source
        self._loop = loop
        self._daemon = daemon
        self._counted = counted
        self._sketch: Sketch | None = None
        self._slots: FrameSlots | None = None
        self._reader = VideoReader(source)
        self._said_broken = False
        self._number = 0

    def run(self) -> None:
        first = self._reader.read()
        if first is None:
            raise SourceError(f"source {self._source}: opens, but holds no picture that OpenCV can decode")
        self._slots_for(first)
        self._await_play()
        picture: Picture | None = first
        while picture is not None:
            self._play(picture)
            self._say_if_broken()
            picture = self._start_over() if self._loop and self._source.kind is Kind.FILE else None
        self._daemon.send(Ended())
        if self._slots is not None:
            self._slots.close()

    def _await_play(self) -> None:
        """Wait for the daemon; a live source is kept fresh meanwhile."""
        live = self._source.kind is not Kind.FILE
        while not self._daemon.poll(0 if live else None):
            self._reader.skip()
        self._daemon.recv()

    def _play(self, picture: Picture | None) -> None:
        """Deliver every picture at its time."""
        paced = self._source.kind is Kind.FILE
        due = time.monotonic()
        while picture is not None:
            self._deliver(picture)
            picture = self._reader.read()
            due += 1 / self._reader.frames_per_second
            # The daemon says nothing more: this waits, and ends at once where the daemon is gone.
            if paced and (ahead := due - time.monotonic()) > 0 and self._daemon.poll(ahead):
                self._daemon.recv()

    def _say_if_broken(self) -> None:
        reason = self._reader.broke_off
        if reason is not None and not self._said_broken:
            self._said_broken = True
            self._daemon.send(BrokeOff(reason))

    def _start_over(self) -> Picture | None:
        self._reader.close()
        self._reader = VideoReader(self._source)
        return self._reader.read()

    def _deliver(self, picture: Picture) -> None:
        at, wall = time.monotonic(), time.time()
        slots = self._slots_for(picture)
        self._number += 1
        slots.write(self._number, picture)
        before, self._sketch = self._sketch, sketch(picture)
        motion = None if before is None else changed_share(before, self._sketch, self._counted)
        self._daemon.send(Captured(self._number, at, wall, motion, self._sketch))

    def _slots_for(self, picture: Picture) -> FrameSlots:
        height, width, channels = picture.shape
        if self._slots is None or self._slots.shape != picture.shape:
            if self._slots is not None:
                self._slots.close()
            self._slots = FrameSlots((height, width, channels))
            self._daemon.send(Opened(self._slots.name, self._slots.shape, self._reader.frames_per_second))
        return self._slots
