"""The one place where all meet: frame → budget → plan → labels → message."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from adainf.engines import OutOfMemoryError
from adainf.profile import Profile
from adainf.schedulers import Choice
from adainfd.answer import Answer, Moments, best_labels, result
from adainfd.capture.camera import Camera
from adainfd.capture.motion import Sketch, changed_share
from adainfd.capture.worker import Captured
from adainfd.control import (
    Budget,
    ControllerState,
    Costs,
    Outcome,
    Policy,
    Signals,
    may_reuse,
    next_budget,
    observe,
    second_look,
    spend,
    worth_a_second_look,
)
from adainfd.control.audit import REUSE, Audit
from adainfd.control.evidence import gathered
from adainfd.control.trace import Frame, Recorder, SecondLook
from adainfd.observing import NOBODY, Observer
from adainfd.parking import Parking
from adainfd.recogniser import LabelColumns, Recogniser
from adainfd.sensors import Readings
from adainfd.wire import messages
from adainfd.wire.publisher import Publisher

__all__ = ["Pipeline", "Stream"]

# The box counts as idle, and an audit disturbs nobody, while others take less than this of the processor.
_IDLE_BELOW = 0.1
_UNTROUBLED = ("maximum", "motion")


@dataclass(slots=True)
class Stream:
    """A camera, the labels it is asked for, and what is remembered of it."""

    camera: Camera
    labels: LabelColumns
    counted: NDArray[np.bool_] | None = None
    audit: Audit = field(default_factory=Audit)
    controller: ControllerState = field(default_factory=ControllerState)
    answer: Answer | None = None
    since_audit: int = 0
    mirror: bool = True


class Pipeline:
    """Answers the newest frame of a camera, one at a time."""

    def __init__(
        self,
        recogniser: Recogniser,
        policy: Policy,
        publisher: Publisher,
        readings: Callable[[], Readings],
        recorder: Recorder,
        *,
        host: str,
        top: int,
        observer: Observer = NOBODY,
    ) -> None:
        """readings: the sensors' latest. host: stands in topics and messages. top: labels a message."""
        self.policy = policy
        self.parking = Parking()
        self._recogniser = recogniser
        self._publisher = publisher
        self._readings = readings
        self._recorder = recorder
        self._observer = observer
        self._host = host
        self._top = top
        self._costs = Costs.of(recogniser.table.frontier, recogniser.times)
        self._agreements = agreements(recogniser.profile)

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
        if self.parking.waits(now):
            stream.camera.account.model_parked += 1
            return
        try:
            frame = self._answer(stream, captured, picture, now)
        except OutOfMemoryError:
            self.parking.park(now)
            stream.camera.account.model_parked += 1
            return
        if frame is None:
            stream.camera.account.newer_frame += 1
            return
        self._observer.answered(stream.camera.name, picture)
        hurried = more_wait()
        try:
            looked = None if hurried else self._look_again(stream, captured, picture, frame)
            if looked is None and not hurried:
                self._audit(stream, captured, picture, frame.budget)
        except OutOfMemoryError:
            # The frame is answered and counted; only the next ones wait.
            self.parking.park(time.monotonic())
            looked = None
        self._recorder.frame(msgspec.structs.replace(frame, hurried=hurried, second_look=looked))

    def _answer(self, stream: Stream, captured: Captured, picture: NDArray[np.uint8], now: float) -> Frame | None:
        """Answer a frame; what is to be recorded of it, or None where a newer one has overwritten it."""
        last = stream.answer
        signals = _signals(captured, last, stream.counted, self._readings())
        budget, controller = next_budget(stream.controller, signals, self.policy, self._costs, now)
        choice = self._recogniser.table.choose(budget.fraction)
        age = None if last is None else captured.at - last.captured.at
        lead = None if last is None else last.evidence.lead
        reused = (
            last is not None
            and age is not None
            and lead is not None
            and may_reuse(signals, self.policy, age, lead, last.choice.macs_fraction, choice.macs_fraction)
        )
        if last is not None and reused:
            answer, moments = last, Moments(captured.at, now, now, now)
        else:
            look = self._look(stream, captured, picture, choice, signals)
            if look is None:
                return None
            answer, moments = look
        chosen_by: Literal["lookup", "reuse"] = "reuse" if reused else "lookup"
        if reused:
            stream.camera.account.reused += 1
        else:
            stream.camera.account.published += 1
        timing = self._publish(stream, captured, answer, chosen_by, budget, signals, moments)
        stream.answer = answer
        around = timing.total - timing.forward
        if not reused:
            controller = self._observed(controller, choice, timing.forward, around)
        stream.controller = spend(controller, self.policy, budget.fraction, 0.0 if reused else choice.macs_fraction)
        return Frame(
            camera=stream.camera.name,
            number=captured.number,
            at=now,
            signals=signals,
            recognised=None if last is None else last.captured.number,
            answer_age=age,
            lead=lead,
            budget=budget,
            chosen_by=chosen_by,
            branch=str(choice.branch),
            forward_ms=timing.forward,
            around_ms=around,
        )

    def _look(
        self, stream: Stream, captured: Captured, picture: NDArray[np.uint8], choice: Choice, signals: Signals
    ) -> tuple[Answer, Moments] | None:
        """What the branch of `choice` and the evidence until now say of the frame; None where it was overwritten."""
        taken = time.monotonic()
        rule, last = self.policy.evidence, stream.answer
        mirrored = rule is not None and rule.mirrored
        stream.mirror = mirrored and not stream.mirror
        engine = self._recogniser.engine
        prepared = engine.prepare(picture, choice.branch.resolution, mirrored=stream.mirror)
        if not stream.camera.holds(captured):
            return None
        prepared_at = time.monotonic()
        scores = engine.run([prepared], [choice.branch])[0]
        moments = Moments(captured.at, taken, prepared_at, time.monotonic())
        self.parking.unpark()
        asked_for = stream.labels.asked_for(scores)
        holds = 0.0 if rule is None or signals.change is None else rule.at(signals.change)
        before = None if last is None else last.evidence
        evidence = gathered(before, asked_for, choice.macs_fraction, holds, mirrored=mirrored)
        labels = best_labels(evidence.log_shares, stream.labels, self._top)
        return Answer(captured, choice, evidence, labels, alone=stream.labels.index(int(asked_for.argmax()))), moments

    def _observed(self, controller: ControllerState, choice: Choice, forward: float, around: float) -> ControllerState:
        expected = self._recogniser.times.get(str(choice.branch))
        return controller if expected is None else observe(controller, Outcome(expected, forward, around))

    def _publish(
        self,
        stream: Stream,
        captured: Captured,
        answer: Answer,
        chosen_by: messages.ChosenBy,
        budget: Budget,
        signals: Signals,
        moments: Moments,
    ) -> messages.Timing:
        name, branch = stream.camera.name, str(answer.choice.branch)
        expected = stream.audit.corrected(branch, answer.choice.expected_accuracy, self._agreements[branch])
        timing = moments.timing(time.monotonic())
        self._publisher.send(
            f"result/{self._host}/{name}",
            lambda sequence: result(
                host=self._host,
                camera=name,
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
            ),
        )
        return timing

    def _look_again(
        self, stream: Stream, captured: Captured, picture: NDArray[np.uint8], frame: Frame
    ) -> SecondLook | None:
        """Where the frame was answered from a still picture: a better look at it, published as a message of its own."""
        last = stream.answer
        budget = second_look(stream.controller, self.policy, self._costs, frame.forward_ms + frame.around_ms)
        if frame.chosen_by != "reuse" or last is None or budget is None:
            return None
        choice = self._recogniser.table.choose(budget.fraction)
        if not worth_a_second_look(self.policy, choice, last.choice, last.looks_here):
            return None
        look = self._look(stream, captured, picture, choice, frame.signals)
        if look is None:
            return None
        answer, moments = look
        if choice == last.choice:
            answer = replace(answer, looks_here=last.looks_here + 1)
        timing = self._publish(stream, captured, answer, "second_look", budget, frame.signals, moments)
        stream.answer = answer
        stream.camera.account.second_looks += 1
        controller = self._observed(stream.controller, choice, timing.forward, frame.around_ms)
        stream.controller = spend(controller, self.policy, 0.0, choice.macs_fraction)
        return SecondLook(budget=budget, branch=str(choice.branch), forward_ms=timing.forward)

    def _audit(self, stream: Stream, captured: Captured, picture: NDArray[np.uint8], budget: Budget) -> None:
        """While the box is idle, run the full branch too on a share of the frames, after they were answered."""
        stream.since_audit += 1
        share = self.policy.audit.share
        full = self._recogniser.profile.space.full
        answer = stream.answer
        if self.policy.budget.mean is not None:  # what audits take is no frame's, and would break it
            return
        if not share or stream.since_audit * share < 1 or answer is None or budget.limited_by not in _UNTROUBLED:
            return
        if (self._readings().cpu_foreign or 0.0) > _IDLE_BELOW or (self._readings().gpu_foreign or 0.0) > _IDLE_BELOW:
            return
        reused = answer.captured is not captured
        stream.since_audit = 0
        if answer.choice.branch == full and not reused:
            return
        prepared = self._recogniser.engine.prepare(picture, full.resolution)
        if not stream.camera.holds(captured):
            return
        scores = self._recogniser.engine.run([prepared], [full])[0]
        asked_for = stream.labels.asked_for(scores)
        full_answer = stream.labels.index(int(asked_for.argmax()))
        given = answer.labels[0].index if reused else answer.alone
        audited = REUSE if reused else str(answer.choice.branch)
        stream.audit.note(audited, given == full_answer)
        self._observer.audited(stream.camera.name, audited, agreed=given == full_answer)


def agreements(profile: Profile) -> dict[str, float]:
    """The agreement with the full branch that calibration found, by branch."""
    return {measured.branch: measured.agreement for measured in profile.branches}


def _signals(captured: Captured, last: Answer | None, counted: NDArray[np.bool_] | None, readings: Readings) -> Signals:
    recognised: Sketch | None = None if last is None else last.captured.sketch
    return Signals(
        motion=captured.motion,
        change=None if recognised is None else changed_share(recognised, captured.sketch, counted),
        gpu_utilization=readings.gpu_utilization,
        gpu_foreign=readings.gpu_foreign,
        cpu_pressure=readings.cpu_pressure,
        cpu_foreign=readings.cpu_foreign,
        power_fraction=readings.power_fraction,
        temperature_celsius=readings.temperature_celsius,
        cpu_queue=readings.cpu_queue,
    )
