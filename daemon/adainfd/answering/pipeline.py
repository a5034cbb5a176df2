"""The one place where all meet: frame → budget → plan → labels → message."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Literal

import msgspec

from adainf.control import Budget, Costs, Ran
from adainf.engines import OutOfMemoryError
from adainf.recogniser import Recogniser
from adainf.schedulers import Choice
from adainf.sensors import Readings
from adainfd.answering.admission import RegionRequest, WaitingFrame, divide_between, request_for
from adainfd.answering.answer import Moments, ViewAnswer
from adainfd.answering.auditing import Auditor
from adainfd.answering.back_off import Parking
from adainfd.answering.fair_queue import Occupied
from adainfd.answering.inference import Look, Looker, Shown
from adainfd.answering.results import Teller
from adainfd.answering.session import CameraSession, RegionSession, cropped
from adainfd.capture.cameras.captured import Captured
from adainfd.tracing.lines import Frame, LastLook, Prepared, Remembered, SecondLook
from adainfd.tracing.trace import Recorder
from adainfd.wire.observing import NOBODY, Observer
from adainfd.wire.serving.publisher import Publisher

__all__ = ["Pipeline"]


@dataclass(frozen=True, slots=True)
class _Decided:
    """What is to be said of one view of a frame; nothing of it is said or in force yet. shown: the view's picture.

    expected_ms: as of a look.
    """

    ask: RegionRequest
    shown: Shown
    answer: ViewAnswer
    chosen_by: Literal["lookup", "scheduler", "reuse"]
    choice: Choice
    moments: Moments
    expected_ms: float | None = None

    @property
    def reused(self) -> bool:
        """Whether no branch ran."""
        return self.chosen_by == "reuse"


@dataclass(frozen=True, slots=True)
class _Record:
    """What is to be recorded of a view of a frame; before: what was remembered when it was decided."""

    frame: Frame
    before: Remembered


@dataclass(frozen=True, slots=True)
class _Taken:
    """A camera's frame that is to be answered; waited_for_others: seconds, until it was taken."""

    stream: CameraSession
    shown: Shown
    waited_for_others: float


class Pipeline:
    """Answers the newest frames of cameras: one after the other, or at once where the engine gains by that."""

    def __init__(
        self,
        recogniser: Recogniser,
        publisher: Publisher,
        readings: Callable[[], Readings],
        recorder: Recorder,
        *,
        host: str,
        top: int,
        observer: Observer = NOBODY,
        executor: Executor | None = None,
    ) -> None:
        """readings: the sensors' latest. host: stands in topics and messages. top: labels a message.

        executor: prepares frames that are answered together; None, one after the other.
        """
        self.parking = Parking()
        self._recogniser = recogniser
        self._readings = readings
        self._recorder = recorder
        self._observer = observer
        self._top = top
        self._executor = executor
        self._costs = Costs.of(recogniser.table.frontier, recogniser.times)
        self._looker = Looker(recogniser, self._costs, top)
        self._auditor = Auditor(recogniser, readings, observer)
        self._teller = Teller(publisher, host, recogniser.profile)
        self._occupied = Occupied()
        self._seen_waiting: dict[str, WaitingFrame] = {}

    def take_up(self, recogniser: Recogniser) -> None:
        """From now on recognise with more branches, or by times that are known now."""
        self._recogniser = recogniser
        self._costs = Costs.of(recogniser.table.frontier, recogniser.times)
        self._looker = Looker(recogniser, self._costs, self._top)
        self._auditor = Auditor(recogniser, self._readings, self._observer)
        self._seen_waiting.clear()
        self._recorder.prepared(Prepared.of(recogniser))

    def answer(self, waiting: Sequence[CameraSession], more_wait: Callable[[], bool]) -> None:
        """Recognise the newest frame of the first of these streams, and publish the result.

        waiting: every stream with a frame that waits, in turn: they are reckoned with. Where the engine runs several
        pictures together, as many frames are answered at once. more_wait: whether other frames are waiting, of these
        cameras or others; none of them waits for what may be done after the answer.
        """
        begun = time.monotonic()
        count = self._recogniser.engine.sizes[-1]
        tick = [stream for stream in waiting[:count] if stream.camera.newest is not None]
        for stream in tick:
            stream.take_turn()
        taken = [frame for stream in tick if (frame := self._take(stream, begun)) is not None]
        if taken:
            self._answer(taken, waiting[count:], begun, more_wait)
            self._occupied.note(begun, time.monotonic(), [frame.stream.camera.name for frame in taken])

    def _take(self, stream: CameraSession, now: float) -> _Taken | None:
        """The newest frame of a stream; None where it is not to be answered, which is counted then."""
        taken = stream.camera.take()
        if taken is None:
            return None
        captured, picture = taken
        if now - captured.at > stream.camera.settings.max_age:
            stream.camera.account.too_old += 1
            return None
        if self.parking.waits(now):
            stream.camera.account.model_parked += 1
            return None
        waited = self._occupied.by_others(stream.camera.name, captured.at, now)
        return _Taken(stream, Shown(captured, picture, lambda: stream.camera.holds(captured)), waited)

    def _answer(
        self, taken: list[_Taken], waiting: Sequence[CameraSession], begun: float, more_wait: Callable[[], bool]
    ) -> None:
        try:
            decided = self._decide(taken, self._granted(taken, waiting, begun))
        except OutOfMemoryError:
            self.parking.park(begun)
            for frame in taken:
                frame.stream.camera.account.model_parked += 1
            return
        decided_at = time.monotonic()
        each_ms = _preparing_each(decided, begun) if len(taken) > 1 else None
        concluded: list[tuple[_Taken, list[_Decided], list[_Record], bool]] = []
        for frame, views in zip(taken, decided, strict=True):
            account = frame.stream.camera.account
            too_old = decided_at - frame.shown.captured.at > frame.stream.camera.settings.max_age
            if not views:
                account.newer_frame += 1
                continue
            if too_old:
                account.too_old += 1
            elif all(one.reused for one in views):
                account.reused += 1
            else:
                account.published += 1
            others_ms = 1000 * frame.waited_for_others
            if len(taken) > 1:  # what was done meanwhile for others of the batch; its forward pass is everybody's
                own = sum(one.moments.prepared - one.moments.taken for one in views)
                own += max(one.moments.forward for one in views)
                others_ms += 1000 * max(0.0, decided_at - begun - own)
            records = [
                self._conclude(frame.stream, one, begun, decided_at, others_ms, each_ms, publish=not too_old)
                for one in views
            ]
            if not too_old:
                self._observer.answered(frame.stream.camera.name, frame.shown.picture)
            concluded.append((frame, views, records, too_old))
        for frame, views, records, too_old in concluded:
            self._look_further(frame.stream, views, records, hurried=too_old or more_wait())

    def _granted(
        self, taken: list[_Taken], waiting: Sequence[CameraSession], now: float
    ) -> list[tuple[RegionRequest, ...]]:
        """What the frames that were taken are granted, beside those that wait."""
        every = [self._asked(frame.stream, frame.shown.captured, frame.waited_for_others, now) for frame in taken]
        for stream in waiting:
            newest, name = stream.camera.newest, stream.camera.name
            if newest is None:
                continue
            known = self._seen_waiting.get(name)
            if known is None or known.captured.number != newest.number:
                known = self._seen_waiting[name] = self._asked(stream, newest, 0.0, now)
            every.append(known)
        table, together = self._recogniser.table, len(taken) > 1
        return divide_between(every, table, self._costs, now, together=together)[: len(taken)]

    def _asked(self, stream: CameraSession, captured: Captured, waited: float, now: float) -> WaitingFrame:
        readings, table = self._readings(), self._recogniser.table
        asks = tuple(request_for(view, captured, readings, table, self._costs, now) for view in stream.views)
        return WaitingFrame(stream, captured, asks, waited)

    def _decide(self, taken: list[_Taken], granted: list[tuple[RegionRequest, ...]]) -> list[list[_Decided]]:
        """What is to be said of the views of each frame; nothing where a newer frame has overwritten it."""
        reused: list[list[_Decided]] = []
        looks: list[list[tuple[RegionRequest, Look]]] = []
        prepared = map if self._executor is None or len(taken) == 1 else self._executor.map
        for ready in prepared(self._prepare, taken, granted):
            reused.append([] if ready is None else ready[0])
            looks.append([] if ready is None else ready[1])
        flat = [look for each in looks for _, look in each]
        results = iter(self._looker.run(flat))
        if flat:
            self.parking.unpark()
        decided: list[list[_Decided]] = []
        for stands, each in zip(reused, looks, strict=True):
            ran: list[_Decided] = []
            for ask, look in each:
                found = next(results)
                chosen_by: Literal["lookup", "scheduler"] = "scheduler" if look.way.choice is None else "lookup"
                answer = found.answer
                ran.append(
                    _Decided(ask, look.shown, answer, chosen_by, answer.choice, found.moments, found.expected_ms)
                )
            decided.append(sorted([*stands, *ran], key=lambda one: one.ask.view.part))
        return decided

    def _prepare(
        self, frame: _Taken, asks: tuple[RegionRequest, ...]
    ) -> tuple[list[_Decided], list[tuple[RegionRequest, Look]]] | None:
        """The views whose last answer stands, and those that are ready to run; None where the frame was overwritten."""
        shown = frame.shown
        if len(asks) > 1:
            # All views or none: what the first was told of must still be there for the last.
            own = shown.picture.copy()
            if not shown.holds():
                return None
            shown = Shown(shown.captured, own, lambda: True)
        reused: list[_Decided] = []
        looks: list[tuple[RegionRequest, Look]] = []
        for ask in asks:
            part = self._part(ask.view, shown)
            if ask.request.reuses and ask.view.answer is not None:
                now = time.monotonic()
                moments = Moments(shown.captured.at, now, now, now)
                reused.append(_Decided(ask, part, ask.view.answer, "reuse", ask.request.choice, moments))
                continue
            request = ask.request
            way = self._looker.within(request.budget, request.choice)
            look = self._looker.prepare(ask.view, part, way, request.signals)
            if look is None:
                return None
            looks.append((ask, look))
        return reused, looks

    def _part(self, view: RegionSession, shown: Shown) -> Shown:
        if view.box is None:
            return shown
        seen = self._recogniser.engine.preprocessing.crop_fraction
        return Shown(shown.captured, cropped(shown.picture, view.box, seen), shown.holds)

    def _conclude(
        self,
        stream: CameraSession,
        one: _Decided,
        now: float,
        decided_at: float,
        others_ms: float,
        prepared_ms: float | None,
        *,
        publish: bool,
    ) -> _Record:
        """Say what was decided, unless it comes too late, and let it be in force; what is to be recorded of it.

        prepared_ms: a picture's part of what preparing took, where several were prepared for one forward pass.
        """
        begun = time.monotonic()
        request, view, captured, last = one.ask.request, one.ask.view, one.shown.captured, one.ask.view.answer
        before = _remembered(stream, view)
        timing = one.moments.timing(decided_at)
        if publish:
            self._teller.result(
                stream, view, captured, one.answer, one.chosen_by, request.budget, request.signals, timing
            )
        view.answer = one.answer
        frame = Frame(
            camera=stream.key(view),
            number=captured.number,
            at=now,
            signals=request.signals,
            recognised=None if last is None else last.captured.number,
            answer_age=request.age,
            lead=request.lead,
            granted=request.granted,
            budget=request.budget,
            chosen_by=one.chosen_by,
            branch=str(one.choice.branch),
            forward_ms=timing.forward,
            expected_ms=one.expected_ms,
            around_ms=timing.total - timing.forward,
            others_ms=others_ms,
        )
        ran = None
        if not one.reused:
            ran = Ran(one.choice, timing.forward, frame.own_around_ms, one.expected_ms)
            prepared_ms = timing.preprocess if prepared_ms is None else prepared_ms
            view.took_around(prepared_ms + 1000 * (time.monotonic() - begun))
        view.decider.settle(request, ran)
        return _Record(frame, before)

    def _look_further(
        self, stream: CameraSession, decided: list[_Decided], records: list[_Record], *, hurried: bool
    ) -> None:
        """What may be done once the answers are out, where nothing waits; then the frames are recorded."""
        any_looked = False
        for one, record in zip(decided, records, strict=True):
            looked, prevented = None, hurried
            try:
                if not hurried and (better := self._better_look(one, record.frame)) is not None:
                    looked = self._look_again(stream, one, record.frame, *better)
                    prevented = looked is None
                elif not hurried:
                    self._auditor.audit(stream.camera.name, one.ask, one.shown, reused=one.reused)
            except OutOfMemoryError:
                # The frame is answered and counted; only the next ones wait.
                self.parking.park(time.monotonic())
                prevented = True
            any_looked = any_looked or looked is not None
            frame = msgspec.structs.replace(record.frame, hurried=prevented, second_look=looked)
            self._recorder.frame(frame, record.before)
        stream.camera.account.second_looks += any_looked

    def blind(self, stream: CameraSession) -> None:
        """No pictures come from the camera: tell what cannot be said to be there any more."""
        self._teller.blind(stream)

    def let_go(self, stream: CameraSession) -> None:
        """Nobody looks at the camera any more: what was there is not known to be."""
        self._teller.let_go(stream)

    def _better_look(self, one: _Decided, frame: Frame) -> tuple[Budget, Choice] | None:
        """The second look that a view deserves where it was answered from a still picture."""
        if not one.reused:
            return None
        spent_ms = frame.forward_ms + frame.around_ms
        return one.ask.view.decider.better_look(self._recogniser.table, self._costs, spent_ms)

    def _look_again(
        self, stream: CameraSession, one: _Decided, frame: Frame, budget: Budget, choice: Choice
    ) -> SecondLook | None:
        """Look at a still picture along a better branch, and publish that; None where the picture was overwritten."""
        view, signals = one.ask.view, one.ask.request.signals
        look = self._looker.prepare(view, one.shown, self._looker.along(choice), signals)
        if look is None:
            return None
        (found,) = self._looker.run([look])
        answer, moments = found.answer, found.moments
        self.parking.unpark()
        timing = moments.timing(time.monotonic())
        self._teller.result(stream, view, one.shown.captured, answer, "second_look", budget, signals, timing)
        view.answer = answer
        view.decider.settle_better_look(Ran(choice, timing.forward, frame.own_around_ms, found.expected_ms))
        return SecondLook(budget=budget, branch=str(choice.branch), forward_ms=timing.forward)


def _preparing_each(decided: list[list[_Decided]], begun: float) -> float | None:
    """Milliseconds that preparing took, by picture; None where none was prepared."""
    prepared = [one.moments.prepared for views in decided for one in views]
    return 1000 * (max(prepared) - begun) / len(prepared) if prepared else None


def _remembered(stream: CameraSession, view: RegionSession) -> Remembered:
    answer = view.answer
    last = None
    if answer is not None:
        last = LastLook.of(answer.captured.number, answer.captured.at, answer.choice, view.decider.looks_here)
    return Remembered(camera=stream.key(view), controller=view.decider.controller, last=last)
