"""The main loop of a camera process: read the source, measure motion, keep the newest frames in shared memory.

Everything that may be needed is imported up front: the sandbox then cuts off the file system.
"""

import contextlib
import encodings.idna
import os
import time
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from adainf.base.errors import printable
from adainf.media import pictures, videos
from adainf.media.undecodable import Undecodable
from adainf.sensors.motion import Sketch, changed_share, counted_cells, sketch
from adainfd.capture.exchange.attempts import Attempts
from adainfd.capture.exchange.conversation import MOST_NAMED
from adainfd.capture.exchange.reports import (
    LONGEST_INTERVAL,
    LONGEST_SIDE,
    BrokeOff,
    Delivered,
    Ended,
    Lost,
    Named,
    Opened,
    Passed,
    Start,
    Unconfined,
    text,
)
from adainfd.capture.exchange.slots import FrameSlots
from adainfd.capture.reading import lookups, pipe, snapshot, stream
from adainfd.capture.reading.codec import no_picture
from adainfd.capture.reading.pictures import Picture
from adainfd.capture.reading.reader import Reader, open_reader
from adainfd.capture.sandbox.confinement import Confinement, confine
from adainfd.capture.settings import Polygon
from adainfd.capture.source import SourceError
from adainfd.capture.worker.playing import Playing
from adainfd.capture.worker.telling import Daemon

__all__ = ["work"]

_SAY_PASSED_EVERY_SECONDS = 0.5
# While a file waits long for its next frame, reports at this interval show that it does not hang.
_LONGEST_SILENCE_SECONDS = 1.0
_LONGEST_NAME = 200
_MASKED = (114, 114, 114)

# Readers import these lazily; the last encodes host names.
_NEEDED_LATER = (pictures, videos, pipe, snapshot, stream, encodings.idna)
_NOTHING_PASSED = Passed(0, 0, 0)


def work(start: Start, frames: int, attempts: int, daemon: Daemon) -> None:
    """Run a camera until its source ends or the daemon closes its pipes.

    frames, attempts: descriptors of the memory shared with the daemon.
    """
    Image.init()  # imports the modules of the picture formats
    camera = _Camera(start, FrameSlots(frames, start.settings.most_pixels), Attempts(start.deadly, attempts), daemon)
    os.close(frames)
    os.close(attempts)
    with contextlib.suppress(lookups.UnguardedError):  # sources that need it report this when they open
        lookups.install()  # patches code in memory, so it must precede `confine`
    confinement = confine(start.settings)  # before any untrusted data is read
    if confinement.missing:
        daemon.tell(Unconfined(tuple(map(text, confinement.missing))))
    camera.run(confinement)


class _Camera:
    def __init__(self, start: Start, slots: FrameSlots, attempts: Attempts, daemon: Daemon) -> None:
        self._settings = settings = start.settings
        self._live = settings.source.live
        self._slots = slots
        self._attempts = attempts
        self._daemon = daemon
        self._counted = [counted_cells(settings.ignored, part) for part in settings.parts]
        self._sketch: Sketch | None = None
        self._shape: tuple[int, ...] | None = None
        self._losses = 0
        self._told_to_go = False
        self._said_broken = False
        self._named: set[str] = set()
        self._number = before = start.before
        self._shown = before > 0
        # A file played once resumes after the frame that killed the previous process.
        self._to_skip = 0 if self._live or settings.loop else before
        self._say_passed_at = self._next_due = 0.0

    def run(self, confinement: Confinement) -> None:
        while True:
            reader: Reader | None = None
            try:
                while True:
                    confinement.renew_where_outdated()
                    reader = open_reader(self._settings, self._attempts)
                    self._play(reader)
                    self._say_if_broken(reader)
                    self._name_shortage(confinement)
                    if not self._settings.loop:
                        break
                    reader.close()
                break
            except SourceError as error:
                if reader is not None:
                    self._pass_over_undecodable(reader)
                self._name_shortage(confinement)
                self._await_go(Lost(error.fault, text(error)))
            finally:
                if reader is not None:
                    reader.close()
        self._say_passed()
        self._daemon.tell(Ended())

    def _name_shortage(self, confinement: Confinement) -> None:
        """Report a memory shortage as undecodable: FFmpeg gives up silently if an allocation fails."""
        if (shortage := confinement.allowance.shortage) is not None:
            self._name(Undecodable("what follows", shortage))

    def _await_go(self, lost: Lost) -> None:
        self._losses += 1
        self._say_passed()
        self._daemon.tell(lost)
        while (known := self._daemon.go(None)) is None or known < self._losses:
            pass  # the daemon had not seen this failure yet
        self._told_to_go = True

    def _play(self, reader: Reader) -> None:
        """Deliver every picture when it is due."""
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
            more = reader.grab()  # also False if everything that follows is skipped
            undecodable = reader.take_undecodable()
            for passed in undecodable:
                self._name(passed)
            self._to_skip -= more + sum(passed.frames for passed in undecodable)
        if self._to_skip < 0:  # more frames were skipped than the one that killed the process
            self._count_undecodable(-self._to_skip)
        self._to_skip = 0

    def _pass_over_undecodable(self, reader: Reader) -> int:
        """Count and name what could not be decoded; return the number of frames."""
        undecodable = reader.take_undecodable()
        if self._live and not self._told_to_go:
            return 0  # frames do not count as captured yet
        for passed in undecodable:
            self._count_undecodable(passed.frames)
            self._name(passed)
        return sum(passed.frames for passed in undecodable)

    def _count_undecodable(self, frames: int) -> None:
        self._number += frames
        self._attempts.count(undecodable=frames)

    def _name(self, passed: Undecodable) -> None:
        if passed.what not in self._named and len(self._named) < MOST_NAMED:
            self._named.add(passed.what)
            self._daemon.tell(Named(printable(passed.what, _LONGEST_NAME), text(passed.why)))

    def _wait(self, until: float) -> None:
        """Wait until a file's picture is due; a live source sets its own pace."""
        if self._live:
            return
        silence = min(_LONGEST_SILENCE_SECONDS, self._settings.limits.stall_seconds / 2)
        # The daemon sends nothing now, so this only waits, but raises at once if the daemon is gone.
        while (ahead := until - time.monotonic()) > 0:
            if self._daemon.go(min(ahead, silence)) is None and ahead > silence:
                self._say_passed(alive=True)

    def _show_first(self, reader: Reader) -> bool:
        """Decode the first picture, then wait for `Go`; a live source is read meanwhile to stay current.

        Return False at the end of a file that has been played already.
        """
        picture: Picture | None = None
        while picture is None and reader.grab():
            picture = reader.retrieve()
            self._attempts.done()
            self._pass_over_undecodable(reader)
            if picture is not None and not self._fits(picture, reader):
                picture = None
        if picture is None:
            self._pass_over_undecodable(reader)
            if self._shown and not self._settings.loop:
                return False
            raise no_picture(self._settings.source, reader.codec)
        self._shown = True
        while not self._told_to_go:
            if self._daemon.go(0 if self._live else None) is not None:
                self._told_to_go = True
            else:
                reader.grab()
        self._pass_over_undecodable(reader)
        return True

    def _say_if_broken(self, reader: Reader) -> None:
        if reader.broke_off is not None and not self._said_broken:
            self._said_broken = True
            self._daemon.tell(BrokeOff(text(reader.broke_off)))

    def _deliver(self, reader: Reader) -> None:
        at = time.monotonic()
        if not self._is_due(at):
            self._number += 1
            self._attempts.count(over_rate=1)
        elif not self._daemon.takes_frame(at):
            # The daemon lags behind and would drop this frame for a newer one.
            self._number += 1
            self._attempts.count(newer_frame=1)
            return
        else:
            self._decode(reader, at)
            self._attempts.done()
        if at >= self._say_passed_at:
            self._say_passed()

    def _decode(self, reader: Reader, at: float) -> None:
        # Masked areas must never leave this process, so a picture is decoded into shared memory only without a mask.
        to_paint, number = self._settings.mask, self._number + 1
        slot = None if to_paint or self._shape is None else self._slots.emptied(number)
        picture = reader.retrieve(slot)
        self._pass_over_undecodable(reader)
        if picture is None:
            return
        _paint_over(picture, to_paint)
        if not self._fits(picture, reader):
            return
        self._number = number
        if picture is slot:
            self._slots.filled(number)
        else:
            self._slots.write(number, picture)
        before, self._sketch = self._sketch, sketch(picture)
        motions = [None if before is None else changed_share(before, self._sketch, cells) for cells in self._counted]
        self._say_passed()
        self._attempts.done()  # before the report: a frame already delivered must not be blamed for a crash
        self._daemon.tell(Delivered(self._number, at, tuple(motions), self._sketch.tobytes()))

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

    def _say_passed(self, *, alive: bool = False) -> None:
        """Report the frames passed over since the last report; alive: even if there are none."""
        self._say_passed_at = time.monotonic() + _SAY_PASSED_EVERY_SECONDS
        passed = Passed(*self._attempts.take_counts())
        if alive or passed != _NOTHING_PASSED:
            self._daemon.tell(passed)

    def _fits(self, picture: Picture, reader: Reader) -> bool:
        """Fit the slots to the picture's shape; if the picture is too large, pass it over and return False."""
        height, width, _ = picture.shape
        if picture.shape != self._shape:
            if height * width > self._settings.most_pixels or max(height, width) > LONGEST_SIDE:
                self._count_undecodable(1)
                limit = f"at most {self._settings.most_pixels:,} pixels are looked at, {LONGEST_SIDE:,} a side"
                self._name(Undecodable(f"a frame of {width} × {height} pixels", limit))
                return False
            self._shape = shape = (height, width, 3)
            self._slots.fit(shape)
            # Frames of a file that are not due yet count as delivered: the daemon adds the interval to its deadline.
            interval = 0.0 if self._live else min(1 / reader.frames_per_second, LONGEST_INTERVAL)
            self._daemon.tell(Opened(shape, interval))
        return True


def _paint_over(picture: Picture, mask: Sequence[Polygon]) -> None:
    size = np.array(picture.shape[1::-1])
    for polygon in mask:
        cv2.fillPoly(picture, [np.round(np.array(polygon) * size).astype(np.int32)], _MASKED)
