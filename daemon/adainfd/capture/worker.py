"""A camera's process: reads its source, measures motion, keeps the newest frames in shared memory."""

import contextlib
import os
import select
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle

from adainf.credentials import RedactedStream
from adainf.undecodable import Undecodable
from adainfd.capture.attempts import Attempts
from adainfd.capture.codec import no_picture
from adainfd.capture.motion import Sketch, changed_share, counted_cells, sketch
from adainfd.capture.pictures import Picture
from adainfd.capture.playing import Playing
from adainfd.capture.reader import Reader, open_reader
from adainfd.capture.reports import BrokeOff, Captured, Ended, Go, Lost, Opened, Passed
from adainfd.capture.settings import CameraSettings, Polygon
from adainfd.capture.slots import FrameSlots
from adainfd.capture.source import SourceError
from adainfd.processes import end_with_parent

__all__ = ["BrokeOff", "Captured", "Ended", "Go", "Lost", "Opened", "Passed", "work"]

_SAY_PASSED_EVERY_SECONDS = 0.5
# A file that waits long for its next frame says so: it does not hang.
_LONGEST_SILENCE_SECONDS = 1.0
_MOST_NAMED = 100
_NO_MEMORY = "there is not enough memory for it"
_MASKED = (114, 114, 114)


_NOTHING_PASSED = Passed(0, 0, 0)


def work(settings: CameraSettings, before: int, attempts: Attempts, daemon: Connection) -> None:
    """Run a camera until its source ends or the daemon lets go of the connection.

    before: how many frames this camera has captured already. attempts: what the daemon knows when this process dies.
    """
    end_with_parent()
    # OpenCV and FFmpeg, told before they are imported: their messages would stand beside our one line.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    _silence_libraries()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, EOFError):  # the daemon is gone
        _Camera(settings, before, attempts, daemon).run()


def _silence_libraries() -> None:
    """What libjpeg and libpng print of broken pictures goes nowhere; Python's own words go where they did."""
    sys.stderr = RedactedStream(os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace"))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


class _Camera:
    def __init__(self, settings: CameraSettings, before: int, attempts: Attempts, daemon: Connection) -> None:
        self._settings = settings
        self._live = settings.source.live
        self._attempts = attempts
        self._daemon = daemon
        self._counted = [counted_cells(settings.ignored, part) for part in settings.parts]
        self._sketch: Sketch | None = None
        self._slots: FrameSlots | None = None
        self._told_to_go = False
        self._said_broken = False
        self._named: set[str] = set()
        self._number = before
        self._shown = before > 0
        # A file that is played once goes on behind the frame that its process died of.
        self._to_skip = 0 if self._live or settings.loop else before
        self._say_passed_at = self._next_due = 0.0

    def run(self) -> None:
        while True:
            reader: Reader | None = None
            try:
                while True:
                    reader = open_reader(self._settings, self._attempts)
                    self._play(reader)
                    self._say_if_broken(reader)
                    if not self._settings.loop:
                        break
                    reader.close()
                break
            except SourceError as error:
                if reader is not None:
                    self._pass_over_undecodable(reader)
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
        self._skip_played(reader)
        if not self._show_first(reader):
            return
        playing = Playing(1 / reader.frames_per_second, time.monotonic(), reader.position)
        more = True
        while more:
            self._deliver(reader)
            self._wait(playing.decode_at)
            more = reader.grab()
            passed_over = self._pass_over_undecodable(reader)
            playing.go_on(reader.position if more else None, passed_over + 1)
            self._wait(playing.due)

    def _skip_played(self, reader: Reader) -> None:
        more = True
        while more and self._to_skip > 0:
            more = reader.grab()  # False too where all that follows is left out
            undecodable = reader.take_undecodable()
            for passed in undecodable:
                self._name(passed)
            self._to_skip -= more + sum(passed.frames for passed in undecodable)
        if self._to_skip < 0:  # more was left out than the frame that the process died of
            self._count_undecodable(-self._to_skip)
        self._to_skip = 0

    def _pass_over_undecodable(self, reader: Reader) -> int:
        """Count and name what could not be decoded; how many frames it was."""
        undecodable = reader.take_undecodable()
        if self._live and not self._told_to_go:
            return 0  # nothing of it counts as captured yet
        for passed in undecodable:
            self._count_undecodable(passed.frames)
            self._name(passed)
        return sum(passed.frames for passed in undecodable)

    def _count_undecodable(self, frames: int) -> None:
        self._number += frames
        self._attempts.count(undecodable=frames)

    def _name(self, passed: Undecodable) -> None:
        if passed.what not in self._named and len(self._named) < _MOST_NAMED:
            self._named.add(passed.what)
            self._daemon.send(passed)

    def _wait(self, until: float) -> None:
        """Wait until a file's picture is due; the pace of a live source is its own."""
        if self._live:
            return
        silence = min(_LONGEST_SILENCE_SECONDS, self._settings.limits.stall_seconds / 2)
        # The daemon says nothing more: this waits, and ends at once where the daemon is gone.
        while (ahead := until - time.monotonic()) > 0:
            if self._daemon.poll(min(ahead, silence)):
                self._daemon.recv()
            elif ahead > silence:
                self._say_passed(alive=True)

    def _show_first(self, reader: Reader) -> bool:
        """See that there are pictures, and wait for the daemon; a live source is kept fresh meanwhile.

        False at the end of a file that was played already.
        """
        picture: Picture | None = None
        while picture is None and reader.grab():
            picture = reader.retrieve()
            self._attempts.done()
            self._pass_over_undecodable(reader)
            if picture is not None and self._slots_for(picture, reader) is None:
                picture = None
        if picture is None:
            self._pass_over_undecodable(reader)
            if self._shown and not self._settings.loop:
                return False
            raise no_picture(self._settings.source, reader.codec)
        self._shown = True
        while not self._told_to_go:
            if self._daemon.poll(0 if self._live else None):
                self._daemon.recv()
                self._told_to_go = True
            else:
                reader.grab()
        self._pass_over_undecodable(reader)
        return True

    def _say_if_broken(self, reader: Reader) -> None:
        if reader.broke_off is not None and not self._said_broken:
            self._said_broken = True
            self._daemon.send(BrokeOff(reader.broke_off))

    def _deliver(self, reader: Reader) -> None:
        at, wall = time.monotonic(), time.time()
        if not self._is_due(at):
            self._number += 1
            self._attempts.count(over_rate=1)
        elif not self._may_send():
            # The daemon is held up, and would pass over this frame for a newer one.
            self._number += 1
            self._attempts.count(newer_frame=1)
            return
        else:
            self._decode(reader, at, wall)
            self._attempts.done()
        if at >= self._say_passed_at:
            self._say_passed()

    def _decode(self, reader: Reader, at: float, wall: float) -> None:
        # What is masked never leaves this process: only without a mask a picture is decoded into shared memory.
        to_paint, number = self._settings.mask, self._number + 1
        slot = None if to_paint or self._slots is None else self._slots.emptied(number)
        picture = reader.retrieve(slot)
        self._pass_over_undecodable(reader)
        if picture is None:
            return
        _paint_over(picture, to_paint)
        slots = self._slots_for(picture, reader)
        if slots is None:
            return
        self._number = number
        if picture is slot:
            slots.filled(number)
        else:
            slots.write(number, picture)
        before, self._sketch = self._sketch, sketch(picture)
        motions = [None if before is None else changed_share(before, self._sketch, cells) for cells in self._counted]
        self._say_passed()
        self._attempts.done()  # before it is told of: a frame that was told of is not what the process dies of
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

    def _say_passed(self, *, alive: bool = False) -> None:
        """Tell what was passed over since this was told last; alive: even if that is nothing."""
        self._say_passed_at = time.monotonic() + _SAY_PASSED_EVERY_SECONDS
        passed = Passed(*self._attempts.take_counts())
        if alive or passed != _NOTHING_PASSED:
            self._daemon.send(passed)

    def _slots_for(self, picture: Picture, reader: Reader) -> FrameSlots | None:
        """Shared memory for pictures of this shape; where there is not enough of it the picture is passed over."""
        height, width, channels = picture.shape
        if self._slots is None or self._slots.shape != picture.shape:
            if self._slots is not None:
                self._slots.close()
                self._slots = None
            try:
                self._slots = FrameSlots((height, width, channels))
            except (OSError, MemoryError):
                self._count_undecodable(1)
                self._name(Undecodable(f"a frame of {width} × {height} pixels", _NO_MEMORY))
                return None
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
