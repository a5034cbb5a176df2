"""The pipeline from frame to message: frame → budget → plan → labels → message."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Literal

import msgspec

from adainf.branch import REFERENCE
from adainf.classes.taught import Taught
from adainf.control import Budget, Ran
from adainf.engines import OutOfMemoryError
from adainf.preprocessing import region_of
from adainf.recogniser import AskedOf, LabelColumns, Recogniser
from adainf.schedulers import Choice
from adainf.sensors import Readings
from adainfd.answering.admission import RegionRequest, WaitingFrame, divide_between, request_for
from adainfd.answering.answer import Moments
from adainfd.answering.auditing import Auditor
from adainfd.answering.back_off import Parking
from adainfd.answering.decided import Decided, Record, Taken, preparing_each
from adainfd.answering.fair_queue import Occupied
from adainfd.answering.inference import Look, Looker, Shown
from adainfd.answering.results import Teller
from adainfd.answering.session import CameraSession, RegionSession, cropped
from adainfd.capture.cameras.captured import Captured
from adainfd.collecting.collector import Collector, Glance
from adainfd.tracing.lines import Frame, Prepared, SecondLook
from adainfd.tracing.trace import Recorder
from adainfd.wire.observing import NOBODY, Observer
from adainfd.wire.serving.publisher import Publisher

__all__ = ["Pipeline"]


class Pipeline:
    """The pipeline that answers the newest frames of cameras, singly or in batches where the engine supports them."""

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
        collector: Collector | None = None,
    ) -> None:
        """readings: returns the latest sensor readings. host: the box's name in topics and messages.

        top: number of labels per message. executor: preprocesses the frames of a batch in parallel; None: serially.
        collector: keeps pictures worth labelling.
        """
        self.parking = Parking()
        self._recogniser = recogniser
        self._readings = readings
        self._recorder = recorder
        self._observer = observer
        self._top = top
        self._executor = executor
        self._asked_of = AskedOf(recogniser)
        self._looker = Looker(recogniser, self._asked_of(None).costs, top)
        self._auditor = Auditor(recogniser, readings, observer)
        self._teller = Teller(publisher, host, recogniser.profile)
        self._collector = collector
        self._occupied = Occupied()
        self._seen_waiting: dict[str, WaitingFrame] = {}

    def take_up(self, recogniser: Recogniser) -> None:
        """Switch to a recogniser with another engine, more branches or newly measured times."""
        self._recogniser = recogniser
        self._asked_of = AskedOf(recogniser)
        self._looker = Looker(recogniser, self._asked_of(None).costs, self._top)
        self._auditor = Auditor(recogniser, self._readings, self._observer)
        self._seen_waiting.clear()
        self._recorder.prepared(Prepared.of(recogniser))

    def answer(self, waiting: Sequence[CameraSession], more_wait: Callable[[], bool]) -> None:
        """Recognise the newest frame of the first of these streams and publish the result.

        waiting: every stream with a pending frame, in scheduling order; all of them share the budget. An engine that
        runs several pictures together answers that many frames as one batch. more_wait: returns whether any camera
        has a pending frame; if so, second looks and audits are skipped.
        """
        begun = time.monotonic()
        count = self._recogniser.engine.sizes[-1]
        tick = [stream for stream in waiting[:count] if stream.camera.newest is not None]
        for stream in tick:
            stream.take_turn()
        frames = [frame for stream in tick if (frame := self._take(stream, begun)) is not None]
        if frames:
            self._answer(frames, waiting[count:], begun, more_wait)
            self._occupied.note(begun, time.monotonic(), [frame.stream.camera.name for frame in frames])

    def _take(self, stream: CameraSession, now: float) -> Taken | None:
        """Take the newest frame of a stream; return None and count the drop if it is not to be answered."""
        newest = stream.camera.take()
        if newest is None:
            return None
        captured, picture = newest
        if now - captured.at > stream.camera.settings.max_age:
            stream.camera.account.too_old += 1
            return None
        if self.parking.waits(now):
            stream.camera.account.model_parked += 1
            return None
        waited = self._occupied.by_others(stream.camera.name, captured.at, now)
        return Taken(stream, Shown(captured, picture, lambda: stream.camera.holds(captured)), waited)

    def _answer(
        self, frames: list[Taken], waiting: Sequence[CameraSession], begun: float, more_wait: Callable[[], bool]
    ) -> None:
        try:
            decided = self._decide(frames, self._granted(frames, waiting, begun))
        except OutOfMemoryError:
            self.parking.park(begun)
            for frame in frames:
                frame.stream.camera.account.model_parked += 1
            return
        decided_at = time.monotonic()
        each_ms = preparing_each(decided, begun) if len(frames) > 1 else None
        concluded: list[tuple[Taken, list[Decided], list[Record], bool]] = []
        for frame, decisions in zip(frames, decided, strict=True):
            account = frame.stream.camera.account
            too_old = decided_at - frame.shown.captured.at > frame.stream.camera.settings.max_age
            if not decisions:
                account.newer_frame += 1
                continue
            if too_old:
                account.too_old += 1
            elif all(decision.reused for decision in decisions):
                account.reused += 1
            else:
                account.published += 1
            others_ms = 1000 * frame.waited_for_others
            if len(frames) > 1:  # the rest of the batch delayed this frame too; its forward pass counts for every frame
                own = sum(decision.moments.prepared - decision.moments.taken for decision in decisions)
                own += max(decision.moments.forward for decision in decisions)
                others_ms += 1000 * max(0.0, decided_at - begun - own)
            records = [
                self._conclude(frame.stream, decision, begun, decided_at, others_ms, each_ms, publish=not too_old)
                for decision in decisions
            ]
            if not too_old:
                self._observer.answered(frame.stream.camera.name, frame.shown.picture)
            concluded.append((frame, decisions, records, too_old))
        for frame, decisions, records, too_old in concluded:
            self._collect(frame.stream, [] if too_old else decisions)
            self._look_further(frame.stream, decisions, records, hurried=too_old or more_wait())

    def _granted(
        self, frames: list[Taken], waiting: Sequence[CameraSession], now: float
    ) -> list[tuple[RegionRequest, ...]]:
        """Return the granted requests of each frame; frames still pending in `waiting` compete for the budget."""
        asked = [self._asked(frame.stream, frame.shown.captured, frame.waited_for_others, now) for frame in frames]
        for stream in waiting:
            newest, name = stream.camera.newest, stream.camera.name
            if newest is None:
                continue
            known = self._seen_waiting.get(name)
            if known is None or known.captured.number != newest.number:
                known = self._seen_waiting[name] = self._asked(stream, newest, 0.0, now)
            asked.append(known)
        return divide_between(asked, self._asked_of(None).costs, now, together=len(frames) > 1)[: len(frames)]

    def _asked(self, stream: CameraSession, captured: Captured, waited: float, now: float) -> WaitingFrame:
        readings, on_gpu = self._readings(), self._recogniser.engine.on_gpu
        asks = tuple(
            request_for(view, captured, readings, self._asked_of(view.taught), now, on_gpu=on_gpu)
            for view in stream.views
        )
        return WaitingFrame(stream, captured, asks, waited)

    def _decide(self, frames: list[Taken], granted: list[tuple[RegionRequest, ...]]) -> list[list[Decided]]:
        """Return the decisions for the views of each frame; an overwritten frame has none."""
        reused: list[list[Decided]] = []
        looks: list[list[tuple[RegionRequest, Look]]] = []
        prepared = map if self._executor is None or len(frames) == 1 else self._executor.map
        for ready in prepared(self._prepare, frames, granted):
            reused.append([] if ready is None else ready[0])
            looks.append([] if ready is None else ready[1])
        flat = [look for frame_looks in looks for _, look in frame_looks]
        results = iter(self._looker.run(flat))
        if flat:
            self.parking.unpark()
        decided: list[list[Decided]] = []
        for frame_reused, frame_looks in zip(reused, looks, strict=True):
            ran: list[Decided] = []
            for ask, look in frame_looks:
                found = next(results)
                chosen_by: Literal["lookup", "scheduler"] = "scheduler" if look.way.choice is None else "lookup"
                answer = found.answer
                ran.append(Decided(ask, look.shown, answer, chosen_by, answer.choice, found.moments, found))
            decided.append(sorted([*frame_reused, *ran], key=lambda decision: decision.ask.view.part))
        return decided

    def _prepare(
        self, frame: Taken, asks: tuple[RegionRequest, ...]
    ) -> tuple[list[Decided], list[tuple[RegionRequest, Look]]] | None:
        """Return the decisions that reuse the last answer, and the looks to run; None if the frame was overwritten."""
        shown = frame.shown
        if len(asks) > 1:
            # Answer all views or none: copy the frame so that it cannot be overwritten between them.
            copy = shown.picture.copy()
            if not shown.holds():
                return None
            shown = Shown(shown.captured, copy, lambda: True)
        reused: list[Decided] = []
        looks: list[tuple[RegionRequest, Look]] = []
        for ask in asks:
            part, request = self._part(ask.view, shown), ask.request
            if request.reuses and ask.view.answer is not None:
                now = time.monotonic()
                moments = Moments(shown.captured.at, now, now, now)
                reused.append(Decided(ask, part, ask.view.answer, "reuse", request.choice, moments))
                continue
            way = self._looker.within(request.budget, request.choice, ask.view)
            look = self._looker.prepare(ask.view, part, way, request.signals)
            if look is None:
                return None
            looks.append((ask, look))
        return reused, looks

    def _part(self, view: RegionSession, shown: Shown) -> Shown:
        if view.box is None:
            return shown
        if view.taught is not None:  # as it was taught: `adainf teach --region`
            return Shown(shown.captured, region_of(shown.picture, view.box), shown.holds)
        seen = self._recogniser.engine.outlines[REFERENCE].preprocessing.crop_fraction
        return Shown(shown.captured, cropped(shown.picture, view.box, seen), shown.holds)

    def _conclude(
        self,
        stream: CameraSession,
        decision: Decided,
        now: float,
        decided_at: float,
        others_ms: float,
        prepared_ms: float | None,
        *,
        publish: bool,
    ) -> Record:
        """Publish the decision unless it is too late, settle it, and return its trace record.

        prepared_ms: the preprocessing time per picture of a batch; None outside a batch.
        """
        begun = time.monotonic()
        request, view, captured, last = (
            decision.ask.request,
            decision.ask.view,
            decision.shown.captured,
            decision.ask.view.answer,
        )
        before = stream.remembered(view)
        timing = decision.moments.timing(decided_at)
        if publish:
            self._teller.result(
                stream, view, captured, decision.answer, decision.chosen_by, request.budget, request.signals, timing
            )
        view.answer = decision.answer
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
            chosen_by=decision.chosen_by,
            branch=str(decision.choice.branch),
            forward_ms=timing.forward,
            expected_ms=decision.expected_ms,
            around_ms=timing.total - timing.forward,
            others_ms=others_ms,
        )
        ran = None
        if not decision.reused:
            ran = Ran(decision.choice, timing.forward, frame.own_around_ms, decision.expected_ms)
            prepared_ms = timing.preprocess if prepared_ms is None else prepared_ms
            view.took_around(prepared_ms + 1000 * (time.monotonic() - begun))
        view.decider.settle(request, ran)
        return Record(frame, before)

    def _look_further(
        self, stream: CameraSession, decisions: list[Decided], records: list[Record], *, hurried: bool
    ) -> None:
        """Take second looks and audit once the answers are out, unless `hurried`; then record the frames."""
        any_looked = False
        for decision, record in zip(decisions, records, strict=True):
            looked, prevented = None, hurried
            try:
                if not hurried and (better := self._better_look(decision, record.frame)) is not None:
                    looked = self._look_again(stream, decision, record.frame, *better)
                    prevented = looked is None
                elif not hurried:
                    self._auditor.audit(stream.camera.name, decision.ask, decision.shown, reused=decision.reused)
            except OutOfMemoryError:
                # This frame is already answered and counted; only the next ones wait.
                self.parking.park(time.monotonic())
                prevented = True
            any_looked = any_looked or looked is not None
            frame = msgspec.structs.replace(record.frame, hurried=prevented, second_look=looked)
            self._recorder.frame(frame, record.before)
        stream.camera.account.second_looks += any_looked

    def _collect(self, stream: CameraSession, decisions: list[Decided]) -> None:
        """Keep the pictures worth labelling, now that the answers are out."""
        for decision in decisions:
            view, looked = decision.ask.view, decision.looked
            if self._collector is None or view.taught is None or looked is None or looked.features is None:
                continue
            self._collector.look(
                Glance(
                    stream.camera.name,
                    view.region,
                    decision.shown.picture,
                    decision.shown.holds,
                    decision.shown.captured.wall,
                    view.taught,
                    decision.choice.branch,
                    looked.scores,
                    looked.features,
                    None if view.states is None else view.states.current.state,
                )
            )

    def introduce(self, stream: CameraSession) -> None:
        """Publish the state of each view that has states."""
        self._teller.introduce(stream)

    def blind(self, stream: CameraSession) -> None:
        """Publish what is gone while the camera delivers no frames."""
        self._teller.blind(stream)

    def check_asked(self, taught: Taught) -> None:
        """Raise InvalidInputError if the classes are of other networks, or none of their branches is ready."""
        asked = self._recogniser.asked(taught)
        self._recogniser.profile.with_branches(taught.profile, (choice.branch for choice in asked.table.frontier))

    def ask(self, stream: CameraSession, view: RegionSession, taught: Taught | None, labels: tuple[str, ...]) -> None:
        """Ask for other classes in a view from now on: taught ones, or some of the networks' own.

        What was known of the view belongs to the question before: its labels are gone, its answer is not reused.
        """
        self._teller.forget(stream, view)
        view.ask(LabelColumns.of(labels, self._recogniser.engine.class_names, stream.camera.name), taught)
        self._teller.introduce(stream)

    def let_go(self, stream: CameraSession) -> None:
        """Publish that everything is gone: the camera is no longer watched."""
        self._teller.let_go(stream)

    def _better_look(self, decision: Decided, frame: Frame) -> tuple[Budget, Choice] | None:
        """Return the budget and branch of a second look, if the answer was reused and a better look pays off."""
        if not decision.reused:
            return None
        spent_ms = frame.forward_ms + frame.around_ms
        asked = self._asked_of(decision.ask.view.taught)
        return decision.ask.view.decider.better_look(asked.table, asked.costs, spent_ms)

    def _look_again(
        self, stream: CameraSession, decision: Decided, frame: Frame, budget: Budget, choice: Choice
    ) -> SecondLook | None:
        """Run a better branch on a still picture and publish the result; None if the picture was overwritten."""
        view, signals = decision.ask.view, decision.ask.request.signals
        look = self._looker.prepare(view, decision.shown, self._looker.along(choice, view), signals)
        if look is None:
            return None
        (found,) = self._looker.run([look])
        answer, moments = found.answer, found.moments
        self.parking.unpark()
        timing = moments.timing(time.monotonic())
        self._teller.result(stream, view, decision.shown.captured, answer, "second_look", budget, signals, timing)
        view.answer = answer
        view.decider.settle_better_look(Ran(choice, timing.forward, frame.own_around_ms, found.expected_ms))
        return SecondLook(budget=budget, branch=str(choice.branch), forward_ms=timing.forward)
