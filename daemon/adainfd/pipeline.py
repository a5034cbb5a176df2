"""The one place where all meet: frame → budget → plan → labels → message."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from adainf.engines import OutOfMemoryError
from adainf.profile import Profile
from adainf.schedulers import Choice
from adainfd.capture.camera import Camera
from adainfd.capture.motion import Sketch, changed_share
from adainfd.capture.worker import Captured
from adainfd.control import Budget, ControllerState, Costs, Outcome, Policy, Signals, may_reuse, next_budget, observe
from adainfd.control.audit import REUSE, Audit
from adainfd.control.trace import Frame, Recorder
from adainfd.parking import Parking
from adainfd.recogniser import LabelColumns, Recogniser
from adainfd.sensors import Readings
from adainfd.wire import messages
from adainfd.wire.publisher import Publisher

__all__ = ["Pipeline", "Stream"]

# The box counts as idle, and an audit disturbs nobody, while others take less than this of the processor.
_IDLE_BELOW = 0.1
_UNTROUBLED = ("maximum", "motion")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of a frame, and what it was said from."""

    captured: Captured
    choice: Choice
    labels: list[messages.Label]


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


@dataclass(frozen=True, slots=True)
class _Moments:
    """Monotonic seconds: frame captured, taken, preprocessed, recognised."""

    captured: float
    taken: float
    prepared: float
    recognised: float

    def timing(self, published: float) -> messages.Timing:
        def milliseconds(start: float, end: float) -> float:
            return round(1000 * max(0.0, end - start), 3)

        return messages.Timing(
            wait=milliseconds(self.captured, self.taken),
            preprocess=milliseconds(self.taken, self.prepared),
            forward=milliseconds(self.prepared, self.recognised),
            total=milliseconds(self.captured, published),
        )


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
    ) -> None:
        """readings: the sensors' latest. host: stands in topics and messages. top: labels a message."""
        self.policy = policy
        self.parking = Parking()
        self._recogniser = recogniser
        self._publisher = publisher
        self._readings = readings
        self._recorder = recorder
        self._host = host
        self._top = top
        self._costs = Costs.of(recogniser.table.frontier, recogniser.times)
        self._agreements = agreements(recogniser.profile)

    def answer(self, stream: Stream) -> bool:
        """Recognise the newest frame of `stream` and publish the result; False where there was none to answer."""
        taken = stream.camera.take()
        if taken is None:
            return False
        captured, picture = taken
        now = time.monotonic()
        if self.parking.waits(now):
            stream.camera.counts.model_parked += 1
            return False
        try:
            return self._answer(stream, captured, picture, now)
        except OutOfMemoryError:
            self.parking.park(now)
            stream.camera.counts.model_parked += 1
            return False

    def _answer(self, stream: Stream, captured: Captured, picture: NDArray[np.uint8], now: float) -> bool:
        last = stream.answer
        signals = _signals(captured, last, stream.counted, self._readings())
        budget, controller = next_budget(stream.controller, signals, self.policy, self._costs, now)
        choice = self._recogniser.table.choose(budget.fraction)
        age = None if last is None else captured.at - last.captured.at
        if (
            last is not None
            and age is not None
            and may_reuse(signals, self.policy, age, last.choice.macs_fraction, choice.macs_fraction)
        ):
            moments = _Moments(captured.at, now, now, now)
            timing = self._publish(stream, captured, last, budget, signals, moments, reuse=True)
        else:
            engine = self._recogniser.engine
            prepared = engine.prepare(picture, choice.branch.resolution)
            if not stream.camera.holds(captured):
                stream.camera.counts.newer_frame += 1
                return False
            prepared_at = time.monotonic()
            scores = engine.run([prepared], [choice.branch])[0]
            moments = _Moments(captured.at, now, prepared_at, time.monotonic())
            stream.answer = Answer(captured, choice, _best(scores, stream.labels, self._top))
            self.parking.unpark()
            timing = self._publish(stream, captured, stream.answer, budget, signals, moments, reuse=False)
        reused = stream.answer is last
        expected = self._recogniser.times.get(str(choice.branch))
        around = timing.total - timing.forward
        if expected is not None and not reused:
            controller = observe(controller, Outcome(expected, timing.forward, around))
        stream.controller = controller
        self._recorder.frame(
            Frame(
                camera=stream.camera.name,
                number=captured.number,
                at=now,
                signals=signals,
                recognised=None if last is None else last.captured.number,
                answer_age=age,
                budget=budget,
                chosen_by="reuse" if reused else "lookup",
                branch=str(choice.branch),
                forward_ms=timing.forward,
                around_ms=around,
            )
        )
        self._audit(stream, picture, captured, budget)
        return True

    def _publish(
        self,
        stream: Stream,
        captured: Captured,
        answer: Answer,
        budget: Budget,
        signals: Signals,
        moments: _Moments,
        *,
        reuse: bool,
    ) -> messages.Timing:
        stream.camera.counts.published += 1
        counts, name, choice = stream.camera.counts, stream.camera.name, answer.choice
        branch = str(choice.branch)
        expected = stream.audit.corrected(branch, choice.expected_accuracy, self._agreements[branch])
        plan = messages.Plan(
            branch,
            "reuse" if reuse else "lookup",
            0 if reuse else choice.macs,
            0.0 if reuse else choice.macs_fraction,
            expected,
        )
        timing = moments.timing(time.monotonic())
        self._publisher.send(
            f"result/{self._host}/{name}",
            lambda sequence: messages.Result(
                host=self._host,
                camera=name,
                sequence=sequence,
                frame=captured.number,
                captured_at=captured.wall,
                published_at=time.time(),
                labels=answer.labels,
                budget=messages.Budget(budget.fraction, budget.limited_by),
                plan=plan,
                signals=messages.Signals(
                    motion=signals.motion,
                    change=signals.change,
                    gpu_utilization=signals.gpu_utilization,
                    gpu_foreign=signals.gpu_foreign,
                    cpu_pressure=signals.cpu_pressure,
                    cpu_foreign=signals.cpu_foreign,
                    power_fraction=signals.power_fraction,
                    temperature_celsius=signals.temperature_celsius,
                ),
                timing_ms=timing,
                dropped=messages.Dropped(counts.newer_frame, counts.too_old, counts.model_parked),
            ),
        )
        return timing

    def _audit(self, stream: Stream, picture: NDArray[np.uint8], captured: Captured, budget: Budget) -> None:
        """While the box is idle, run the full branch too on a share of the frames, after they were answered."""
        stream.since_audit += 1
        share = self.policy.audit.share
        full = self._recogniser.profile.space.full
        answer = stream.answer
        if not share or stream.since_audit * share < 1 or answer is None or budget.limited_by not in _UNTROUBLED:
            return
        if (self._readings().cpu_foreign or 0.0) > _IDLE_BELOW or (self._readings().gpu_foreign or 0.0) > _IDLE_BELOW:
            return
        reused = answer.captured is not captured
        stream.since_audit = 0
        if answer.choice.branch == full and not reused:
            return
        try:
            prepared = self._recogniser.engine.prepare(picture, full.resolution)
            if not stream.camera.holds(captured):
                return
            scores = self._recogniser.engine.run([prepared], [full])[0]
        except OutOfMemoryError:
            # The frame is answered and counted; only the next ones wait.
            self.parking.park(time.monotonic())
            return
        agrees = _best(scores, stream.labels, 1)[0].index == answer.labels[0].index
        stream.audit.note(REUSE if reused else str(answer.choice.branch), agrees)


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
    )


def _best(scores: NDArray[np.float32], labels: LabelColumns, top: int) -> list[messages.Label]:
    """The `top` labels of a camera by their share of the softmax over the camera's labels."""
    wanted = scores if labels.columns is None else scores[list(labels.columns)]
    shares = np.exp(wanted - wanted.max(), dtype=np.float64)
    shares /= shares.sum()
    best = np.argsort(-shares, kind="stable")[:top]
    return [
        messages.Label(
            labels.names[position],
            int(position) if labels.columns is None else labels.columns[position],
            round(float(shares[position]), 4),
        )
        for position in best
    ]
