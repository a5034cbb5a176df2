"""The daemon's side of a camera: its supervised process, its newest frame and its frame counts."""

import math
import os
import random
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from adainf.media.undecodable import Undecodable
from adainf.sensors.motion import sketch_of
from adainfd.capture.cameras.account import FrameCounts
from adainfd.capture.cameras.captured import Captured
from adainfd.capture.cameras.lifecycle import Deed, Lifecycle, Phase
from adainfd.capture.cameras.pace import Pace
from adainfd.capture.cameras.process import MOST_THREADS, WORKER, CameraProcess
from adainfd.capture.exchange.attempts import Attempts, attempts_memory
from adainfd.capture.exchange.channel import MalformedError, Receiver
from adainfd.capture.exchange.conversation import Conversation
from adainfd.capture.exchange.reports import (
    BrokeOff,
    Delivered,
    Ended,
    Failed,
    Lost,
    Named,
    Opened,
    Passed,
    Report,
    Start,
    Unconfined,
    encoded,
    report_of,
)
from adainfd.capture.exchange.slots import FrameSlots, Shape, frames_memory
from adainfd.capture.fault import OF_THE_PROCESS, Fault
from adainfd.capture.sandbox.confinement import RENEWED
from adainfd.capture.settings import CameraSettings

__all__ = ["Camera"]

_END_WITHIN_SECONDS = 1.0
_COUNT_THREADS_EVERY_SECONDS = 1.0
_MOST_NAMED = 100
# A process that floods its pipe must not starve the event loop. A well-behaved one has about a dozen frames queued.
_MOST_REPORTS_A_TURN = 32


class Camera:
    """One camera. Call `receive` when its process has sent reports, `take` for the newest frame, `close` at the end.

    Call `supervise` by the time given by `due`, so that a failed source or process is retried.
    """

    def __init__(
        self,
        settings: CameraSettings,
        chance: Callable[[], float] = random.random,
        command: Sequence[str] = WORKER,
    ) -> None:
        """chance: returns numbers from 0 to 1, to randomise retry delays. command: Python arguments of the process."""
        self.settings = settings
        self.name = settings.name
        self.source = settings.source
        self.account = FrameCounts()
        self.broke_off: str | None = None
        self.unconfined: tuple[str, ...] = ()
        self.lifecycle = Lifecycle(settings.limits, time.monotonic(), chance)
        self.pace = Pace()
        self._command = command
        self._interval = 0.0
        self._playing = False
        self._newest: Captured | None = None
        self._slots: FrameSlots | None = None
        self._slots_to_come: FrameSlots | None = None
        self._process: CameraProcess | None = None
        self._conversation: Conversation | None = None
        self._failed: str | None = None
        self._ended: list[CameraProcess] = []
        self._attempts: Attempts | None = None
        self._deadly: set[str] = set()
        self._renewed_at = self._threads_counted_at = -math.inf
        self._undecodable: list[Undecodable] = []
        self._named: set[str] = set()

    def start(self) -> None:
        """Start the process, which opens the source at once and delivers nothing before `play`.

        Raises OSError if the process cannot be started.
        """
        frames, attempts = frames_memory(self.settings.most_pixels), None
        try:
            attempts = attempts_memory()
            self._attempts = Attempts(self._deadly, attempts)
            self._deadly = self._attempts.deadly
            self._slots_to_come = FrameSlots(frames, self.settings.most_pixels)
            captured = self.account.captured
            start = Start(self.settings, captured, tuple(self._deadly))
            self._conversation = Conversation(self.settings, captured, time.monotonic())
            self._process = CameraProcess(self._command, start, frames, attempts)
        finally:
            os.close(frames)
            if attempts is not None:
                os.close(attempts)

    @property
    def connection(self) -> Receiver | None:
        """The report channel, readable when the process has sent something; None while there is no process."""
        return self._process.reports if self._process is not None else None

    @property
    def process_id(self) -> int | None:
        """The id of the process; None while there is none."""
        return self._process.id if self._process is not None else None

    @property
    def opened(self) -> bool:
        """Whether the source has opened at least once."""
        return self._slots is not None

    @property
    def shape(self) -> Shape | None:
        """The shape of its pictures; None before the first."""
        return None if self._slots is None else self._slots.shape

    @property
    def interval(self) -> float:
        """Seconds between pictures that the process paces; 0 if the source sets the pace."""
        return self._interval

    @property
    def failure(self) -> str | None:
        """The reason the camera is offline; None while it is not."""
        return self.lifecycle.last.detail if self.lifecycle.state is Phase.OFFLINE else None

    @property
    def process_failed(self) -> bool:
        """Whether the latest failure was the process's rather than the source's."""
        return self.lifecycle.last.fault in OF_THE_PROCESS

    @property
    def finished(self) -> bool:
        """Whether the source has ended and no frame is waiting."""
        return self.lifecycle.state is Phase.ENDED and self._newest is None

    @property
    def due(self) -> float | None:
        """The time by which to `supervise`, in monotonic seconds; None before `play` and after the source ends."""
        return self.lifecycle.due if self._playing else None

    def play(self) -> None:
        """Start the delivery of frames."""
        self._playing = True
        if self.lifecycle.state is not Phase.OFFLINE:  # an offline camera gets its `Go` when it is retried
            self.lifecycle.expect(time.monotonic())
            self._tell_to_go()

    def _tell_to_go(self) -> None:
        if self._process is None or self._conversation is None:
            return
        try:
            self._process.commands.send(encoded(self._conversation.go()))
        except BrokenPipeError:
            pass  # `receive` will see the end of the process
        except BlockingIOError:
            self._break_off(Fault.PROCESS_REJECTED, "its process does not listen")

    def supervise(self, now: float) -> None:
        """Do what is due at `now` (monotonic seconds): reconnect, restart the process, or kill one that hangs."""
        self._ended = [process for process in self._ended if not process.reap()]
        self._count_threads(now)
        match self.lifecycle.tick(now):
            case Deed.CONNECT:
                self._tell_to_go()
            case Deed.RESTART:
                self._restart(now)
            case Deed.END:
                self._end_process()
                self._settle_account()

    def _count_threads(self, now: float) -> None:
        """Reject a process with too many threads, which a seccomp filter cannot count."""
        if self._process is None or now < self._threads_counted_at + _COUNT_THREADS_EVERY_SECONDS:
            return
        self._threads_counted_at = now
        if (threads := self._process.threads) > MOST_THREADS:
            self._break_off(Fault.PROCESS_REJECTED, f"its process runs {threads} threads; at most {MOST_THREADS} may")

    def _restart(self, now: float) -> None:
        try:
            self.start()
        except OSError as error:
            self._end_process()
            self._settle_account()
            self.lifecycle.died(now, Fault.PROCESS_DIED, f"its process cannot be started ({error.strerror})")
        else:
            if self._playing:
                self._tell_to_go()

    def receive(self) -> None:
        """Process up to 32 pending reports; any others wait for the next call."""
        try:
            for _ in range(_MOST_REPORTS_A_TURN):
                if self._process is None or self._conversation is None:
                    break
                if (data := self._process.reports.receive()) is None:
                    break
                report = report_of(data)
                self._conversation.check(report, time.monotonic())
                self._take_in(report)
        except MalformedError as error:
            self._break_off(Fault.PROCESS_REJECTED, f"its process {error}")
        except EOFError:
            if self._asks_to_be_renewed():
                self._end_process()
                self._settle_account()
                self._restart(time.monotonic())
                return
            how = "" if self._process is None else self._process.exit_text()
            why = "" if self._failed is None else f": {self._failed}"
            self._break_off(Fault.PROCESS_DIED, f"its process ended{how}{why}")

    def _break_off(self, fault: Fault, detail: str) -> None:
        """Mark the process as dead with this fault, then kill it."""
        self.lifecycle.died(time.monotonic(), fault, detail)
        self._end_process()
        self._settle_account()

    def _settle_account(self) -> None:
        """Add the counts a dead process could not report, and pass over the picture it was decoding."""
        if self._attempts is None:
            return
        self._count_passed(*self._attempts.take_counts())
        if (deadly := self._attempts.note_deadly()) is not None:
            self._count_passed(0, 0, deadly.frames)
            self._name(deadly)
        self._attempts.close()
        self._attempts = None

    def _count_passed(self, over_rate: int, newer_frame: int, undecodable: int) -> None:
        self.account.captured += over_rate + newer_frame + undecodable
        self.account.over_rate += over_rate
        self.account.newer_frame += newer_frame
        self.account.undecodable += undecodable

    def _name(self, passed: Undecodable) -> None:
        if passed.what not in self._named and len(self._named) < _MOST_NAMED:
            self._named.add(passed.what)
            self._undecodable.append(passed)

    def _take_in(self, report: Report) -> None:
        now = time.monotonic()
        match report:
            case Delivered(number, at, motions, rows):
                self.account.captured += 1
                self.account.newer_frame += self._newest is not None
                self._newest = Captured(number, at, time.time() - (now - at), motions, sketch_of(rows))
                self.pace.came(at)
                self.lifecycle.came(now, self._interval)
            case Passed(over_rate, newer_frame, undecodable):
                self._count_passed(over_rate, newer_frame, undecodable)
                self.pace.passed(newer_frame + undecodable)
                if over_rate or newer_frame or (self.opened and not self.source.live):
                    self.lifecycle.came(now, self._interval)
            case Opened(shape, interval):
                self._attach(shape)
                self._interval = interval
            case Ended():
                self.lifecycle.ended()
                self._end_process()
                self._settle_account()
            case Lost(fault, reason):
                self.lifecycle.lost(now, fault, reason)
            case Named() | BrokeOff() | Failed() | Unconfined():
                self._take_note(report)

    def _take_note(self, note: Named | BrokeOff | Failed | Unconfined) -> None:
        match note:
            case Named(what, why):
                self._name(Undecodable(what, why))
            case BrokeOff(reason):
                self.broke_off = reason
            case Failed(reason):
                self._failed = reason
            case Unconfined(missing):
                self.unconfined = self.unconfined or missing

    def take_undecodable(self) -> list[Undecodable]:
        """Return what could not be decoded since the last call, each named once."""
        undecodable, self._undecodable = self._undecodable, []
        return undecodable

    def _attach(self, shape: Shape) -> None:
        if self._newest is not None:
            # Its slots have been cleared, or belong to the previous process.
            self.account.newer_frame += 1
            self._newest = None
        if self._slots_to_come is not None:
            if self._slots is not None:
                self._slots.close()
            self._slots, self._slots_to_come = self._slots_to_come, None
        if self._slots is not None:
            self._slots.shape = shape

    @property
    def newest(self) -> Captured | None:
        """The newest frame not taken yet, if any."""
        return self._newest

    def take(self) -> tuple[Captured, NDArray[np.uint8]] | None:
        """Return the newest frame and its picture (height, width, 3) in shared memory, once; call `holds` after use."""
        captured, self._newest = self._newest, None
        if captured is None or self._slots is None:
            return None
        return captured, self._slots.view(captured.number)

    def holds(self, captured: Captured) -> bool:
        """Return whether the picture returned by `take` is still intact."""
        return self._slots is not None and self._slots.holds(captured.number)

    def give_up(self) -> None:
        """Count the waiting frames as stopped: the daemon is shutting down and will not answer them."""
        self.account.stopped += self.account.waiting
        self._newest = None

    def _asks_to_be_renewed(self) -> bool:
        """Return whether the process ended because its source file changed, and may be restarted (rate-limited)."""
        if self._process is None:
            return False
        now = time.monotonic()
        if self._process.exit_status() != RENEWED or now < self._renewed_at + self.settings.limits.retry_seconds:
            return False
        self._renewed_at = now
        return True

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.end()
            if not self._process.reap():
                self._ended.append(self._process)  # stuck in the kernel; reaped later
            self._process = self._conversation = self._failed = None
        if self._slots_to_come is not None:
            self._slots_to_come.close()
            self._slots_to_come = None

    def close(self) -> None:
        """Kill the process and release the shared memory."""
        self._end_process()
        end = time.monotonic() + _END_WITHIN_SECONDS
        while not all(process.reap() for process in self._ended) and time.monotonic() < end:
            time.sleep(0.01)
        if self._attempts is not None:
            self._attempts.close()
            self._attempts = None
        if self._slots is not None:
            self._slots.close()
            self._slots = None
