"""The one place where all meet: frame → budget → plan → labels → message."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from adainf.schedulers import Choice
from adainfd.capture.camera import Camera
from adainfd.control import ControllerState, Policy, Signals, next_budget
from adainfd.recogniser import LabelColumns, Recogniser
from adainfd.sensors import Readings
from adainfd.wire import messages
from adainfd.wire.publisher import Publisher

__all__ = ["Pipeline", "Stream"]


@dataclass(slots=True)
class Stream:
    """A camera, the labels it is asked for, and what the controller remembers of it."""

    camera: Camera
    labels: LabelColumns
    controller: ControllerState = field(default_factory=ControllerState)
    answered: int = 0
    macs: int = 0


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
        *,
        host: str,
        top: int,
    ) -> None:
        """readings: the sensors' latest. host: stands in topics and messages. top: labels a message."""
        self._recogniser = recogniser
        self._policy = policy
        self._publisher = publisher
        self._readings = readings
        self._host = host
        self._top = top

    def answer(self, stream: Stream) -> bool:
        """Recognise the newest frame of `stream` and publish the result; False where there was none to answer."""
        taken = stream.camera.take()
        if taken is None:
            return False
        captured, picture = taken
        taken_at = time.monotonic()
        signals = _signals(captured.motion, self._readings())
        table, engine = self._recogniser.table, self._recogniser.engine
        budget, stream.controller = next_budget(stream.controller, signals, self._policy, table.floor, taken_at)
        choice = table.choose(budget.fraction)
        prepared = engine.prepare(picture, choice.branch.resolution)
        if not stream.camera.holds(captured):
            stream.camera.counts.newer_frame += 1
            return False
        prepared_at = time.monotonic()
        scores = engine.run([prepared], [choice.branch])[0]
        moments = _Moments(captured.at, taken_at, prepared_at, time.monotonic())
        stream.camera.counts.published += 1
        stream.macs += choice.macs
        counts, name = stream.camera.counts, stream.camera.name
        labels = _best(scores, stream.labels, self._top)
        self._publisher.send(
            f"result/{self._host}/{name}",
            lambda sequence: messages.Result(
                host=self._host,
                camera=name,
                sequence=sequence,
                frame=captured.number,
                captured_at=captured.wall,
                published_at=time.time(),
                labels=labels,
                budget=messages.Budget(budget.fraction, budget.limited_by),
                plan=_plan(choice),
                signals=messages.Signals(
                    signals.motion,
                    signals.gpu_utilization,
                    signals.gpu_foreign,
                    signals.cpu_pressure,
                    signals.cpu_foreign,
                ),
                timing_ms=moments.timing(time.monotonic()),
                dropped=messages.Dropped(counts.newer_frame, counts.too_old),
            ),
        )
        return True


def _signals(motion: float | None, readings: Readings) -> Signals:
    return Signals(
        motion=motion,
        gpu_utilization=readings.gpu_utilization,
        gpu_foreign=readings.gpu_foreign,
        cpu_pressure=readings.cpu_pressure,
        cpu_foreign=readings.cpu_foreign,
    )


def _plan(choice: Choice) -> messages.Plan:
    return messages.Plan(str(choice.branch), "lookup", choice.macs, choice.macs_fraction, choice.expected_accuracy)


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
