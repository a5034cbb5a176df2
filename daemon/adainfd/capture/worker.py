"""A camera's process: reads its source, measures motion, keeps the newest frames in shared memory."""

import contextlib
import os
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle

from adainfd.capture.codec import no_picture
from adainfd.capture.fault import Fault
from adainfd.capture.motion import Sketch, changed_share, counted_cells, sketch
from adainfd.capture.reader import Picture, Reader, open_reader
from adainfd.capture.settings import CameraSettings, Polygon
from adainfd.capture.slots import FrameSlots
from adainfd.capture.source import SourceError
from adainfd.processes import end_with_parent

__all__ = ["BrokeOff", "Captured", "Ended", "Go", "Lost", "Opened", "Passed", "work"]

_SAY_PASSED_EVERY_SECONDS = 0.5
_MASKED = (114, 114, 114)


@dataclass(frozen=True, slots=True)
class Opened:
    """Pictures of `shape` will come through slots whose descriptor follows; `interval` seconds apart if they are paced.

    A live source tells no such thing: what it claims to send a second is often wrong.
    """

    shape: tuple[int, int, int]
    interval: float


@dataclass(frozen=True, slots=True)
class Captured:
    """Frame `number` (from 1) is in its slot.

    at: monotonic seconds; wall: Unix time. motions: of each part that is recognised, the share (0..1) that differs
    from the frame before, None for the first.
    """

    number: int
    at: float
    wall: float
    motions: tuple[float | None, ...]
    sketch: Sketch


@dataclass(frozen=True, slots=True)
class Passed:
    """So many frames were captured, numbered and passed over: more than the camera's rate, or nobody was listening."""

    over_rate: int
    newer_frame: int


@dataclass(frozen=True, slots=True)
class BrokeOff:
    """A file ended before the length it claims; said once, a looping camera goes on with what there is."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will come."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The source cannot be opened or shows nothing any more; the process waits for `Go`."""

    fault: Fault
    reason: str


@dataclass(frozen=True, slots=True)
class Go:
    """From the daemon: open the source where it is not open, and deliver."""


def work(settings: CameraSettings, before: int, daemon: Connection) -> None:
    """Run a camera until its source ends or the daemon lets go of the connection.

    before: how many frames this camera has captured already.
    """
    end_with_parent()
    # OpenCV and FFmpeg, told before they are imported: their messages would stand beside our one line.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, EOFError):  # the daemon is gone
        _Camera(settings, before, daemon).run()


class _Camera:
    def __init__(self, settings: CameraSettings, before: int, daemon: Connection) -> None:
        self._settings = settings
        self._live = settings.source.live
        self._daemon = daemon
        self._counted = [counted_cells(settings.ignored, part) for part in settings.parts]
        self._sketch: Sketch | None = None
        self._slots: FrameSlots | None = None
        self._told_to_go = False
        self._said_broken = False
        self._number = before
        # A file that is played once goes on behind the frame that its process died of.
        self._to_skip = 0 if self._live or settings.loop else before
        self._over_rate = self._unheard = 0
        self._say_passed_at = self._next_due = 0.0

    def run(self) -> None:
        while True:
            reader: Reader | None = None
            try:
                while True:
                    reader = open_reader(self._settings)
                    self._play(reader)
                    self._say_if_broken(reader)
                    if not self._settings.loop:
                        break
                    reader.close()
                break
            except SourceError as error:
                self._await_go(Lost(error.fault, str(error)))
            finally:
                if reader is not None:
                    reader.close()
        self._say_passed()
        self._daemon.send(Ended())

    def _await_go(self, lost: Lost) -> None:
        while self._daemon.poll():
            self._daemon.recv()  # it was not told of this failure
        self._say_passed()
        self._daemon.send(lost)
        self._daemon.recv()
        self._told_to_go = True

    def _play(self, reader: Reader) -> None:
        """Deliver every picture at its time."""
        while self._to_skip and reader.grab():
            self._to_skip -= 1
        if not self._show_first(reader):
            return
        due = time.monotonic()
        more = True
        while more:
            self._deliver(reader)
            interval = 1 / reader.frames_per_second
            due += interval
            # Decoded at once, a file's next picture would take a processor from the recognition of this one.
            self._wait(due - interval / 2)
            more = reader.grab()
            self._wait(due)

    def _wait(self, until: float) -> None:
        """Wait until a file's picture is due; the pace of a live source is its own."""
        # The daemon says nothing more: this waits, and ends at once where the daemon is gone.
        if not self._live and (ahead := until - time.monotonic()) > 0 and self._daemon.poll(ahead):
            self._daemon.recv()

    def _show_first(self, reader: Reader) -> bool:
        """See that there are pictures, and wait for the daemon; a live source is kept fresh meanwhile.

        False at the end of a file that was played already.
        """
        picture: Picture | None = None
        while picture is None and reader.grab():
            picture = reader.retrieve()
        if picture is None:
            if self._number and not self._settings.loop:
                return False
            raise no_picture(self._settings.source, reader.codec)
        self._slots_for(picture, reader)
        while not self._told_to_go:
            if self._daemon.poll(0 if self._live else None):
                self._daemon.recv()
                self._told_to_go = True
            else:
                reader.grab()
        return True

    def _say_if_broken(self, reader: Reader) -> None:
        if reader.broke_off is not None and not self._said_broken:
            self._said_broken = True
            self._daemon.send(BrokeOff(reader.broke_off))

    def _deliver(self, reader: Reader) -> None:
        at, wall = time.monotonic(), time.time()
        if not self._is_due(at):
            self._number += 1
            self._over_rate += 1
            if at >= self._say_passed_at:
                self._say_passed()
            return
        if not self._may_send():
            # The daemon is held up, and would pass over this frame for a newer one.
            self._number += 1
            self._unheard += 1
            return
        # What is masked never leaves this process: only without a mask a picture is decoded into shared memory.
        to_paint, number = self._settings.mask, self._number + 1
        slot = None if to_paint or self._slots is None else self._slots.emptied(number)
        picture = reader.retrieve(slot)
        if picture is None:
            return
        self._number = number
        _paint_over(picture, to_paint)
        slots = self._slots_for(picture, reader)
        if picture is slot:
            slots.filled(number)
        else:
            slots.write(number, picture)
        before, self._sketch = self._sketch, sketch(picture)
        motions = [None if before is None else changed_share(before, self._sketch, cells) for cells in self._counted]
        self._say_passed()
        self._daemon.send(Captured(self._number, at, wall, tuple(motions), self._sketch))

    def _is_due(self, now: float) -> bool:
        if self._settings.max_fps is None:
            return True
        if now < self._next_due:
            return False
        interval = 1 / self._settings.max_fps
        self._next_due += interval
        if self._next_due <= now:
            self._next_due = now + interval
        return True

    def _may_send(self) -> bool:
        return bool(select.select([], [self._daemon], [], 0)[1])

    def _say_passed(self) -> None:
        self._say_passed_at = time.monotonic() + _SAY_PASSED_EVERY_SECONDS
        if self._over_rate or self._unheard:
            passed = Passed(self._over_rate, self._unheard)
            self._over_rate = self._unheard = 0
            self._daemon.send(passed)

    def _slots_for(self, picture: Picture, reader: Reader) -> FrameSlots:
        height, width, channels = picture.shape
        if self._slots is None or self._slots.shape != picture.shape:
            if self._slots is not None:
                self._slots.close()
            self._slots = FrameSlots((height, width, channels))
            # Frames of a file that are not due are as good as sent.
            interval = 0.0 if self._live else 1 / reader.frames_per_second
            self._daemon.send(Opened(self._slots.shape, interval))
            send_handle(self._daemon, self._slots.descriptor, os.getppid())
        return self._slots


def _paint_over(picture: Picture, mask: Sequence[Polygon]) -> None:
    import cv2
    import numpy as np

    size = np.array(picture.shape[1::-1])
    for polygon in mask:
        cv2.fillPoly(picture, [np.round(np.array(polygon) * size).astype(np.int32)], _MASKED)
