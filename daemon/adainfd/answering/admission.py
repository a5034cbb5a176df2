"""Admission: the budget that each pending frame requests, and the share it is granted among the others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from adainf.control import Costs, Request, Signals
from adainf.control.division import Claim, divided, divided_together
from adainf.control.lateness import slowdown
from adainf.recogniser import Asked
from adainf.schedulers import LookupTable
from adainf.sensors import Readings
from adainf.sensors.motion import Sketch, changed_share
from adainfd.answering.session import CameraSession, RegionSession
from adainfd.capture.cameras.captured import Captured

__all__ = ["RegionRequest", "WaitingFrame", "divide_between", "request_for"]


@dataclass(frozen=True, slots=True)
class RegionRequest:
    """The budget request of one view for its region of a frame; table: of the branches for the view's question."""

    view: RegionSession
    captured: Captured
    request: Request
    table: LookupTable


@dataclass(frozen=True, slots=True)
class WaitingFrame:
    """A pending frame and the requests of its views.

    waited_for_others: seconds it has waited while other cameras' frames were answered.
    """

    stream: CameraSession
    captured: Captured
    asks: tuple[RegionRequest, ...]
    waited_for_others: float = 0.0


def request_for(
    view: RegionSession, captured: Captured, readings: Readings, asked: Asked, now: float, *, on_gpu: bool
) -> RegionRequest:
    """Return the request of a view for a frame as if no other frame were pending.

    asked: the branches for the view's question. now: monotonic seconds. on_gpu: whether the engine is.
    """
    last = view.answer
    age = None if last is None else captured.at - last.captured.at
    lead = None if last is None else last.evidence.lead
    signals = _signals(captured, view, readings, on_gpu=on_gpu)
    request = view.decider.request(signals, age, lead, asked.table, asked.costs, now)
    return RegionRequest(view, captured, request, asked.table)


def divide_between(
    waiting: Sequence[WaitingFrame], costs: Costs, now: float, *, together: bool
) -> list[tuple[RegionRequest, ...]]:
    """Return the granted requests of each frame; together: whether all frames are answered as one batch.

    costs: of the branches for the networks' own classes, by which those of taught classes are reckoned too.

    Requests are granted unchanged while only one camera has frames to run and none has waited for others, and while
    branch times are unknown.
    """
    running = [(frame, ask) for frame in waiting for ask in frame.asks if not ask.request.reuses]
    crowded = len({frame.stream.camera.name for frame, _ in running}) > 1
    delayed = any(frame.waited_for_others > 0 for frame, _ in running)
    if not costs.milliseconds or not (crowded or delayed):
        return [frame.asks for frame in waiting]
    left = [_left(frame, ask.view, now) for frame, ask in running]
    if together:
        # A batch starts and ends as one, so the camera with the shortest frame interval sets the pace for all.
        intervals = (frame.stream.camera.pace.interval for frame, _ in running)
        shortest = min((interval for interval in intervals if interval), default=math.inf)
        left = [min(seconds, shortest) for seconds in left]
    elif crowded:
        left = [min(seconds, _until_next(frame, now)) for seconds, (frame, _) in zip(left, running, strict=True)]
    claims = [_claim(frame, ask, costs, 1000 * seconds) for seconds, (frame, ask) in zip(left, running, strict=True)]
    budgets = iter((divided_together if together else divided)(claims, costs))
    return [tuple(ask if ask.request.reuses else _cut(ask, next(budgets)) for ask in frame.asks) for frame in waiting]


def _left(frame: WaitingFrame, view: RegionSession, now: float) -> float:
    """Return the seconds until a view's frame must be answered, by its deadline or `max_age`."""
    deadline = view.policy.deadline
    max_age = frame.stream.camera.settings.max_age
    limit = max_age if deadline is None else min(max_age, deadline.milliseconds / 1000)
    return frame.captured.at + limit - now


def _until_next(frame: WaitingFrame, now: float) -> float:
    """Return the seconds until the camera's next frame, which replaces this one if it is still pending."""
    interval = frame.stream.camera.pace.interval
    return math.inf if interval is None else frame.captured.at + interval - now


def _claim(frame: WaitingFrame, ask: RegionRequest, costs: Costs, left_ms: float) -> Claim:
    policy, motion = ask.view.policy, ask.request.signals.motion
    need = 1.0 if policy.motion is None or motion is None else policy.motion.at(motion)
    return Claim(
        least=max(policy.budget.minimum, costs.cheapest),
        most=ask.request.budget.fraction,
        priority=frame.stream.priority / len(frame.asks),
        need=need,
        left_ms=left_ms,
        slowdown=slowdown(ask.request.controller.outcomes),
        around_ms=ask.view.around_ms,
    )


def _cut(ask: RegionRequest, granted: float) -> RegionRequest:
    return replace(ask, request=ask.view.decider.cut(ask.request, max(granted, ask.table.floor), ask.table))


def _signals(captured: Captured, view: RegionSession, readings: Readings, *, on_gpu: bool) -> Signals:
    recognised: Sketch | None = None if view.answer is None else view.answer.captured.sketch
    change = None if recognised is None else changed_share(recognised, captured.sketch, view.counted)
    return Signals.of(readings, motion=captured.motions[view.part], change=change, on_gpu=on_gpu)
