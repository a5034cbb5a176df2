"""The daemon's side of a camera: its supervised process, the newest frame, and what became of every frame."""

import contextlib
import random
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import recv_handle

import numpy as np
from numpy.typing import NDArray

from adainf.undecodable import Undecodable
from adainfd.capture.account import Account
from adainfd.capture.attempts import Attempts
from adainfd.capture.fault import Fault
from adainfd.capture.lifecycle import Deed, Lifecycle, State
from adainfd.capture.pace import Pace
from adainfd.capture.settings import CameraSettings
from adainfd.capture.slots import FrameSlots
from adainfd.capture.worker import BrokeOff, Captured, Ended, Go, Lost, Opened, Passed, work
from adainfd.processes import started

__all__ = ["Camera"]

_END_WITHIN_SECONDS = 1.0
_MOST_NAMED = 100


class Camera:
    """One camera. `receive` what its process said, `take` the newest frame, `close` at the end.

    `supervise` by the time that `due` tells, so that a source or a process that fails is tried again.
    """

    def __init__(self, settings: CameraSettings, chance: Callable[[], float] = random.random) -> None:
        """chance: gives numbers from 0 to 1, for the length of waits."""
        self.settings = settings
        self.name = settings.name
        self.source = settings.source
        self.account = Account()
        self.broke_off: str | None = None
        self.lifecycle = Lifecycle(settings.limits, time.monotonic(), chance)
        self.pace = Pace()
        self._interval = 0.0
        self._playing = False
        self._newest: Captured | None = None
        self._slots: FrameSlots | None = None
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._attempts: Attempts | None = None
        self._deadly: set[str] = set()
        self._undecodable: list[Undecodable] = []
        self._named: set[str] = set()

    def start(self) -> None:
        """Start the process, which opens the source at once and delivers nothing before `play`."""
        self._attempts = Attempts.shared(self._deadly)
        self._deadly = self._attempts.deadly
        self._process, self._connection = started(
            work, self.settings, self.account.captured, self._attempts, name=f"camera {self.name}"
        )

    @property
    def connection(self) -> Connection | None:
        """Readable when the process has said something; None while there is no process."""
        return self._connection

    @property
    def process_id(self) -> int | None:
        """The process's id while there is one."""
        return self._process.pid if self._process is not None else None

    @property
    def opened(self) -> bool:
        """Whether pictures can come, or could once."""
        return self._slots is not None

    @property
    def failure(self) -> str | None:
        """Why it shows nothing, while it is offline."""
        return self.lifecycle.last.detail if self.lifecycle.state is State.OFFLINE else None

    @property
    def finished(self) -> bool:
        """Whether nothing more will come and nothing waits to be taken."""
        return self.lifecycle.state is State.ENDED and self._newest is None

    @property
    def due(self) -> float | None:
        """When to `supervise` at the latest, monotonic seconds."""
        return self.lifecycle.due if self._playing else None

    def play(self) -> None:
        """Let the frames come."""
        self._playing = True
        if self.lifecycle.state is not State.OFFLINE:  # then it is told when it is tried again
            self.lifecycle.expect(time.monotonic())
            self._tell_to_go()

    def _tell_to_go(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `receive` will find it gone
                self._connection.send(Go())

    def supervise(self, now: float) -> None:
        """Do what has become due by `now`, monotonic seconds: connect again, or end a process that hangs."""
        match self.lifecycle.tick(now):
            case Deed.CONNECT:
                self._tell_to_go()
            case Deed.RESTART:
                self._restart(now)
            case Deed.END:
                self._end_process()
                self._settle_account()

    def _restart(self, now: float) -> None:
        try:
            self.start()
        except OSError as error:
            self._end_process()
            self._settle_account()
            self.lifecycle.died(now, Fault.PROCESS_DIED, f"its process cannot be started ({error.strerror})")
        else:
            self._tell_to_go()

    def receive(self) -> None:
        """Take in everything the process has said."""
        try:
            while self._connection is not None and self._connection.poll():
                self._take_in(self._connection.recv(), self._connection)
        except (EOFError, OSError, RuntimeError):  # the last: a descriptor that was announced and never came
            if self.lifecycle.state is not State.ENDED:
                self.lifecycle.died(time.monotonic(), Fault.PROCESS_DIED, f"its process ended{self._exit_text()}")
            self._end_process()
            self._settle_account()

    def _settle_account(self) -> None:
        """The process is gone: what it counted and could not tell any more counts too, and what it was decoding."""
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

    def _take_in(self, message: object, connection: Connection) -> None:
        now = time.monotonic()
        match message:
            case Captured():
                self.account.captured += 1
                self.account.newer_frame += self._newest is not None
                self._newest = message
                self.pace.came(message.at)
                self.lifecycle.came(now, self._interval)
            case Passed(over_rate, newer_frame, undecodable):
                self._count_passed(over_rate, newer_frame, undecodable)
                self.pace.passed(newer_frame + undecodable)
                if over_rate or newer_frame or (self.opened and not self.source.live):
                    self.lifecycle.came(now, self._interval)
            case Undecodable():
                self._name(message)
            case Opened(shape, interval):
                self._attach(FrameSlots(shape, recv_handle(connection)))
                self._interval = interval
            case BrokeOff(reason):
                self.broke_off = reason
            case Ended():
                self.lifecycle.ended()
            case Lost(fault, reason):
                self.lifecycle.lost(now, fault, reason)

    def take_undecodable(self) -> list[Undecodable]:
        """What could not be decoded since this was asked last, each named once."""
        taken, self._undecodable = self._undecodable, []
        return taken

    def _attach(self, slots: FrameSlots) -> None:
        if self._newest is not None:
            # It lies in the old slots, which the process has left.
            self.account.newer_frame += 1
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

    def give_up(self) -> None:
        """The daemon stops: what waits is not answered any more."""
        self.account.stopped += self.account.waiting
        self._newest = None

    def _exit_text(self) -> str:
        if self._process is None:
            return ""
        self._process.join(_END_WITHIN_SECONDS)
        code = self._process.exitcode
        return "" if code is None else f" by signal {-code}" if code < 0 else f" with status {code}"

    def _end_process(self) -> None:
        if self._process is not None:
            if self._process.pid is not None:
                self._process.kill()  # it holds nothing that the kernel does not free
                self._process.join(_END_WITHIN_SECONDS)
            with contextlib.suppress(ValueError):  # stuck in the kernel: reaped when another one is started
                self._process.close()
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """End the process and free the frames."""
        self._end_process()
        if self._attempts is not None:
            self._attempts.close()
            self._attempts = None
        if self._slots is not None:
            self._slots.close()
            self._slots = None
