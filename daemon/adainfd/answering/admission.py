"""What each frame that waits asks for, and what it is granted beside the others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from adainf.control import Costs, Request, Signals
from adainf.control.division import Claim, divided, divided_together
from adainf.control.lateness import slowdown
from adainf.schedulers import LookupTable
from adainf.sensors import Readings
from adainf.sensors.motion import Sketch, changed_share
from adainfd.answering.session import CameraSession, RegionSession
from adainfd.capture.cameras.captured import Captured

__all__ = ["RegionRequest", "WaitingFrame", "divide_between", "request_for"]


@dataclass(frozen=True, slots=True)
class RegionRequest:
    """What a view requests for its part of a frame."""

    view: RegionSession
    captured: Captured
    request: Request


@dataclass(frozen=True, slots=True)
class WaitingFrame:
    """A frame that waits, and what its views ask for. waited_for_others: seconds."""

    stream: CameraSession
    captured: Captured
    asks: tuple[RegionRequest, ...]
    waited_for_others: float = 0.0


def request_for(
    view: RegionSession, captured: Captured, readings: Readings, table: LookupTable, costs: Costs, now: float
) -> RegionRequest:
    """What a view's frame asks for as if it were alone. now: monotonic seconds."""
    last = view.answer
    age = None if last is None else captured.at - last.captured.at
    lead = None if last is None else last.evidence.lead
    signals = _signals(captured, view, readings)
    return RegionRequest(view, captured, view.decider.request(signals, age, lead, table, costs, now))


def divide_between(
    waiting: Sequence[WaitingFrame], table: LookupTable, costs: Costs, now: float, *, together: bool
) -> list[tuple[RegionRequest, ...]]:
    """What each of these frames is granted; together: whether all are answered at once.

    A frame that meets no other, and has waited for none, is granted what it asks for; so is each where times are not
    known.
    """
    running = [(frame, ask) for frame in waiting for ask in frame.asks if not ask.request.reuses]
    crowded = len({frame.stream.camera.name for frame, _ in running}) > 1
    delayed = any(frame.waited_for_others > 0 for frame, _ in running)
    if not costs.milliseconds or not (crowded or delayed):
        return [frame.asks for frame in waiting]
    left = [_left(frame, ask.view, now) for frame, ask in running]
    if together:
        # All of them begin and end together, at every turn.
        shortest = min((one for frame, _ in running if (one := frame.stream.camera.pace.interval)), default=math.inf)
        left = [min(one, shortest) for one in left]
    elif crowded:
        left = [min(one, _until_next(frame, now)) for one, (frame, _) in zip(left, running, strict=True)]
    claims = [_claim(frame, ask, costs, 1000 * one) for one, (frame, ask) in zip(left, running, strict=True)]
    budgets = iter((divided_together if together else divided)(claims, costs))
    return [
        tuple(ask if ask.request.reuses else _cut(ask, next(budgets), table) for ask in frame.asks) for frame in waiting
    ]


def _left(frame: WaitingFrame, view: RegionSession, now: float) -> float:
    """Seconds until a view's frame must be answered."""
    deadline = view.policy.deadline
    old_after = frame.stream.camera.settings.max_age
    within = old_after if deadline is None else min(old_after, deadline.milliseconds / 1000)
    return frame.captured.at + within - now


def _until_next(frame: WaitingFrame, now: float) -> float:
    """Seconds until the camera's next frame comes, which would take the place of one that still waits."""
    interval = frame.stream.camera.pace.interval
    return math.inf if interval is None else frame.captured.at + interval - now


def _claim(frame: WaitingFrame, ask: RegionRequest, costs: Costs, left_ms: float) -> Claim:
    policy, motion = ask.view.policy, ask.request.signals.motion
    deserved = 1.0 if policy.motion is None or motion is None else policy.motion.at(motion)
    return Claim(
        least=max(policy.budget.minimum, costs.cheapest),
        most=ask.request.budget.fraction,
        priority=frame.stream.priority / len(frame.asks),
        need=deserved,
        left_ms=left_ms,
        slowdown=slowdown(ask.request.controller.outcomes),
        around_ms=ask.view.around_ms,
    )


def _cut(ask: RegionRequest, granted: float, table: LookupTable) -> RegionRequest:
    return replace(ask, request=ask.view.decider.cut(ask.request, granted, table))


def _signals(captured: Captured, view: RegionSession, readings: Readings) -> Signals:
    recognised: Sketch | None = None if view.answer is None else view.answer.captured.sketch
    change = None if recognised is None else changed_share(recognised, captured.sketch, view.counted)
    return Signals.of(readings, motion=captured.motions[view.part], change=change)
