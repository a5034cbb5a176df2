"""The one place where all meet: frame → budget → plan → labels → message."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from adainf.engines import OutOfMemoryError
from adainf.profile import Profile, Scheduled
from adainf.schedulers import Choice
from adainf.schedulers.content_aware import ContentAware
from adainfd.answer import Answer, Moments, best_labels, event, result, shown
from adainfd.capture.motion import Sketch, changed_share
from adainfd.capture.worker import Captured
from adainfd.control import (
    Budget,
    ControllerState,
    Costs,
    Outcome,
    Signals,
    may_reuse,
    next_budget,
    observe,
    second_look,
    spend,
    worth_a_second_look,
)
from adainfd.control.audit import REUSE
from adainfd.control.evidence import gathered
from adainfd.control.presence import Happening, Sighting
from adainfd.control.trace import Frame, Prepared, Recorder, SecondLook
from adainfd.observing import NOBODY, Observer
from adainfd.parking import Parking
from adainfd.recogniser import Recogniser
from adainfd.sensors import Readings
from adainfd.stream import Stream, View, cropped
from adainfd.wire import messages
from adainfd.wire.publisher import Publisher

__all__ = ["Pipeline", "agreements"]

# The box counts as idle, and an audit disturbs nobody, while others take less than this of the processor.
_IDLE_BELOW = 0.1
_UNTROUBLED = ("maximum", "motion")


Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Taken:
    """A frame that was taken. holds: whether its picture (height, width, 3) has been whole until now."""

    captured: Captured
    picture: Picture
    holds: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class _Way:
    """How a picture is to be answered. run: from what is prepared at the resolution to scores and what ran."""

    resolution: int
    run: Callable[[object], tuple[NDArray[np.float32], Choice]]


@dataclass(frozen=True, slots=True)
class _Decided:
    """What is to be said of one view of a frame; nothing of it is said or in force yet. part: the view's picture."""

    view: View
    part: _Taken
    answer: Answer
    chosen_by: Literal["lookup", "scheduler", "reuse"]
    choice: Choice
    budget: Budget
    signals: Signals
    moments: Moments
    controller: ControllerState
    age: float | None
    lead: float | None

    @property
    def reused(self) -> bool:
        """Whether no branch ran."""
        return self.chosen_by == "reuse"


class Pipeline:
    """Answers the newest frame of a camera, one at a time."""

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
    ) -> None:
        """readings: the sensors' latest. host: stands in topics and messages. top: labels a message."""
        self.parking = Parking()
        self._recogniser = recogniser
        self._publisher = publisher
        self._readings = readings
        self._recorder = recorder
        self._observer = observer
        self._host = host
        self._top = top
        self._costs = _costs(recogniser)
        self._agreements = agreements(recogniser.profile)

    def take_up(self, recogniser: Recogniser) -> None:
        """From now on recognise with more branches, or by times that are known now."""
        self._recogniser = recogniser
        self._costs = _costs(recogniser)
        self._recorder.prepared(
            Prepared(
                branches=recogniser.choosable, times=dict(recogniser.times), scheduler_macs=recogniser.scheduler_macs
            )
        )

    def answer(self, stream: Stream, more_wait: Callable[[], bool]) -> None:
        """Recognise the newest frame of `stream`, if there is one, and publish the result.

        more_wait: whether other frames are waiting, of this camera or another; none of them waits for what may be done
        after the answer.
        """
        taken = stream.camera.take()
        if taken is None:
            return
        captured, picture = taken
        now = time.monotonic()
        account, max_age = stream.camera.account, stream.camera.settings.max_age
        if now - captured.at > max_age:
            account.too_old += 1
            return
        if self.parking.waits(now):
            account.model_parked += 1
            return
        try:
            decided = self._decide_all(stream, _Taken(captured, picture, lambda: stream.camera.holds(captured)), now)
        except OutOfMemoryError:
            self.parking.park(now)
            account.model_parked += 1
            return
        if not decided:
            account.newer_frame += 1
            return
        decided_at = time.monotonic()
        too_old = decided_at - captured.at > max_age
        if too_old:
            account.too_old += 1
        elif all(one.reused for one in decided):
            account.reused += 1
        else:
            account.published += 1
        frames = [self._conclude(stream, one, now, decided_at, publish=not too_old) for one in decided]
        if not too_old:
            self._observer.answered(stream.camera.name, picture)
        self._look_further(stream, decided, frames, hurried=too_old or more_wait())

    def _decide_all(self, stream: Stream, taken: _Taken, now: float) -> list[_Decided]:
        """What is to be said of each view of the frame; nothing where a newer frame has overwritten it."""
        if len(stream.views) > 1:
            # All views or none: what the first was told of must still be there for the last.
            own = taken.picture.copy()
            if not taken.holds():
                return []
            taken = _Taken(taken.captured, own, lambda: True)
        decided: list[_Decided] = []
        for view in stream.views:
            one = self._decide(view, self._part(view, taken), now)
            if one is None:
                return []
            decided.append(one)
        return decided

    def _part(self, view: View, taken: _Taken) -> _Taken:
        if view.box is None:
            return taken
        seen = self._recogniser.engine.preprocessing.crop_fraction
        return _Taken(taken.captured, cropped(taken.picture, view.box, seen), taken.holds)

    def _decide(self, view: View, part: _Taken, now: float) -> _Decided | None:
        """What is to be said of a view; None where a newer frame has overwritten it."""
        last, captured = view.answer, part.captured
        signals = _signals(captured, view, self._readings())
        budget, controller = next_budget(view.controller, signals, view.policy, self._costs, now)
        choice = self._recogniser.table.choose(budget.fraction)
        age = None if last is None else captured.at - last.captured.at
        lead = None if last is None else last.evidence.lead
        chosen_by: Literal["lookup", "scheduler", "reuse"]
        if (
            last is not None
            and age is not None
            and lead is not None
            and may_reuse(signals, view.policy, age, lead, last.choice.macs_fraction, choice.macs_fraction)
        ):
            chosen_by, answer, moments = "reuse", last, Moments(captured.at, now, now, now)
        else:
            content = self._recogniser.content
            level = None if content is None else content.level(budget.fraction)
            run = self._along(choice) if content is None or level is None else self._by_content(content, level, budget)
            look = self._look(view, part, run, signals)
            if look is None:
                return None
            answer, moments = look
            chosen_by, choice = "lookup" if level is None else "scheduler", answer.choice
        return _Decided(view, part, answer, chosen_by, choice, budget, signals, moments, controller, age, lead)

    def _along(self, choice: Choice) -> "_Way":
        """What runs a picture along a branch that is chosen already."""
        engine = self._recogniser.engine
        return _Way(choice.branch.resolution, lambda prepared: (engine.run([prepared], [choice.branch])[0], choice))

    def _by_content(self, content: ContentAware, level: Scheduled, budget: Budget) -> "_Way":
        """What runs a picture's first block, and then those that the scheduler keeps for it."""
        engine = self._recogniser.engine

        def run(prepared: object) -> tuple[NDArray[np.float32], Choice]:
            seen = engine.look(prepared, content.resolution, content.weights)
            choice = content.choose(seen.embedding, level, budget.fraction)
            return engine.complete(seen, choice.branch.keep), choice

        return _Way(content.resolution, run)

    def _conclude(self, stream: Stream, one: _Decided, now: float, decided_at: float, *, publish: bool) -> Frame:
        """Say what was decided, unless it comes too late, and let it be in force; what is to be recorded of it."""
        view, captured, last = one.view, one.part.captured, one.view.answer
        timing = one.moments.timing(decided_at)
        if publish:
            self._publish(stream, view, captured, one.answer, one.chosen_by, one.budget, one.signals, timing)
        view.answer = one.answer
        around = timing.total - timing.forward
        controller = one.controller
        if not one.reused:
            controller = self._observed(controller, one.choice, timing.forward, around)
        took = 0.0 if one.reused else one.choice.macs_fraction
        view.controller = spend(controller, view.policy, one.budget.fraction, took)
        return Frame(
            camera=stream.key(view),
            number=captured.number,
            at=now,
            signals=one.signals,
            recognised=None if last is None else last.captured.number,
            answer_age=one.age,
            lead=one.lead,
            budget=one.budget,
            chosen_by=one.chosen_by,
            branch=str(one.choice.branch),
            forward_ms=timing.forward,
            around_ms=around,
        )

    def _look_further(self, stream: Stream, decided: list[_Decided], frames: list[Frame], *, hurried: bool) -> None:
        """What may be done once the answers are out, where nothing waits; then the frames are recorded."""
        looked_again = False
        for one, frame in zip(decided, frames, strict=True):
            looked = None
            try:
                looked = None if hurried else self._look_again(stream, one, frame)
                if looked is None and not hurried:
                    self._audit(stream, one)
            except OutOfMemoryError:
                # The frame is answered and counted; only the next ones wait.
                self.parking.park(time.monotonic())
            looked_again = looked_again or looked is not None
            self._recorder.frame(msgspec.structs.replace(frame, hurried=hurried, second_look=looked))
        stream.camera.account.second_looks += looked_again

    def _look(self, view: View, part: _Taken, way: _Way, signals: Signals) -> tuple[Answer, Moments] | None:
        """What the branch that runs and the evidence until now say of a view; None where it was overwritten."""
        taken = time.monotonic()
        rule, last = view.policy.evidence, view.answer
        mirrored = rule is not None and rule.mirrored
        view.mirror = mirrored and not view.mirror
        engine = self._recogniser.engine
        prepared = engine.prepare(part.picture, way.resolution, mirrored=view.mirror)
        if not part.holds():
            return None
        prepared_at = time.monotonic()
        scores, choice = way.run(prepared)
        moments = Moments(part.captured.at, taken, prepared_at, time.monotonic())
        self.parking.unpark()
        asked_for = view.labels.asked_for(scores)
        holds = 0.0 if rule is None or signals.change is None else rule.at(signals.change)
        before = None if last is None else last.evidence
        evidence = gathered(before, asked_for, choice.macs_fraction, holds, mirrored=mirrored)
        labels = best_labels(evidence.log_shares, view.labels, self._top)
        alone = view.labels.index(int(asked_for.argmax()))
        return Answer(part.captured, choice, evidence, labels, alone=alone), moments

    def _observed(self, controller: ControllerState, choice: Choice, forward: float, around: float) -> ControllerState:
        expected = self._costs.expected(choice.macs_fraction)
        return controller if expected is None else observe(controller, Outcome(expected, forward, around))

    def _publish(
        self,
        stream: Stream,
        view: View,
        captured: Captured,
        answer: Answer,
        chosen_by: messages.ChosenBy,
        budget: Budget,
        signals: Signals,
        timing: messages.Timing,
    ) -> None:
        name, branch = stream.camera.name, str(answer.choice.branch)
        expected = view.audit.corrected(
            branch, answer.choice.expected_accuracy, self._agreements.get(branch, answer.choice.expected_accuracy)
        )
        self._publisher.send(
            f"result/{self._host}/{name}",
            lambda sequence: result(
                host=self._host,
                camera=name,
                region=view.region,
                sequence=sequence,
                captured=captured,
                published_at=time.time(),
                answer=answer,
                chosen_by=chosen_by,
                expected_accuracy=expected,
                budget=budget,
                signals=signals,
                timing=timing,
                account=stream.camera.account,
                minimum_score=view.presence.rule.minimum_score,
            ),
        )
        seen = Sighting(captured.number, captured.at, captured.wall)
        self._tell(stream, view, view.presence.see(seen, shown(answer, view.presence.rule.minimum_score)))

    def blind(self, stream: Stream) -> None:
        """No pictures come from the camera: tell what cannot be said to be there any more."""
        for view in stream.views:
            self._tell(stream, view, view.presence.blind(time.monotonic()))

    def let_go(self, stream: Stream) -> None:
        """Nobody looks at the camera any more: what was there is not known to be."""
        for view in stream.views:
            self._tell(stream, view, view.presence.stop())

    def _tell(self, stream: Stream, view: View, happenings: Sequence[Happening]) -> None:
        host, camera = self._host, stream.camera.name
        for told in happenings:

            def make(sequence: int, happening: Happening = told) -> messages.Event:
                labels, region = view.labels, view.region
                return event(
                    host=host, camera=camera, region=region, labels=labels, sequence=sequence, happening=happening
                )

            self._publisher.send(f"event/{host}/{camera}", make)

    def _look_again(self, stream: Stream, one: _Decided, frame: Frame) -> SecondLook | None:
        """Where a view was answered from a still picture: a better look at it, published as a message of its own."""
        view, last = one.view, one.view.answer
        budget = second_look(view.controller, view.policy, self._costs, frame.forward_ms + frame.around_ms)
        if not one.reused or last is None or budget is None:
            return None
        choice = self._recogniser.table.choose(budget.fraction)
        if not worth_a_second_look(view.policy, choice, last.choice, last.looks_here):
            return None
        look = self._look(view, one.part, self._along(choice), one.signals)
        if look is None:
            return None
        answer, moments = look
        if choice == last.choice:
            answer = replace(answer, looks_here=last.looks_here + 1)
        timing = moments.timing(time.monotonic())
        self._publish(stream, view, one.part.captured, answer, "second_look", budget, one.signals, timing)
        view.answer = answer
        controller = self._observed(view.controller, choice, timing.forward, frame.around_ms)
        view.controller = spend(controller, view.policy, 0.0, choice.macs_fraction)
        return SecondLook(budget=budget, branch=str(choice.branch), forward_ms=timing.forward)

    def _audit(self, stream: Stream, one: _Decided) -> None:
        """While the box is idle, run the full branch too on a share of the frames, after they were answered."""
        view, policy = one.view, one.view.policy
        view.since_audit += 1
        full = self._recogniser.profile.space.full
        answer = view.answer
        if policy.budget.mean is not None:  # what audits take is no frame's, and would break it
            return
        if not policy.audit.share or view.since_audit * policy.audit.share < 1 or answer is None:
            return
        if one.budget.limited_by not in _UNTROUBLED:
            return
        if (self._readings().cpu_foreign or 0.0) > _IDLE_BELOW or (self._readings().gpu_foreign or 0.0) > _IDLE_BELOW:
            return
        view.since_audit = 0
        if answer.choice.branch == full and not one.reused:
            return
        prepared = self._recogniser.engine.prepare(one.part.picture, full.resolution)
        if not one.part.holds():
            return
        scores = self._recogniser.engine.run([prepared], [full])[0]
        full_answer = view.labels.index(int(view.labels.asked_for(scores).argmax()))
        given = answer.labels[0].index if one.reused else answer.alone
        audited = REUSE if one.reused else str(answer.choice.branch)
        view.audit.note(audited, given == full_answer)
        self._observer.audited(stream.camera.name, audited, agreed=given == full_answer)


def _costs(recogniser: Recogniser) -> Costs:
    return Costs.of(recogniser.table.frontier, recogniser.times)


def agreements(profile: Profile) -> dict[str, float]:
    """The agreement with the full branch that calibration found, by branch."""
    return {measured.branch: measured.agreement for measured in profile.branches}


def _signals(captured: Captured, view: View, readings: Readings) -> Signals:
    recognised: Sketch | None = None if view.answer is None else view.answer.captured.sketch
    return Signals(
        motion=captured.motions[view.part],
        change=None if recognised is None else changed_share(recognised, captured.sketch, view.counted),
        gpu_utilization=readings.gpu_utilization,
        gpu_foreign=readings.gpu_foreign,
        cpu_pressure=readings.cpu_pressure,
        cpu_foreign=readings.cpu_foreign,
        power_fraction=readings.power_fraction,
        temperature_celsius=readings.temperature_celsius,
        cpu_queue=readings.cpu_queue,
    )
