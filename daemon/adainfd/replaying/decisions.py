"""The decisions of a trace: as they were recorded, and as they come out when they are made again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from adainf.base.errors import InvalidInputError, one_line
from adainf.control import Budget, ControllerState, Signals
from adainf.control.deciding import Ran, answered, better_look, looked_again, stands, wish
from adainf.control.policy import Policy
from adainf.control.signals import contention
from adainf.schedulers import Choice
from adainfd.replaying.knowledge import Knowledge
from adainfd.replaying.policies import InForce
from adainfd.tracing.lines import Frame, Gap, Header, LastLook, PolicyChange, Prepared, Remembered, read

__all__ = ["Decision", "Decisions", "recorded", "replayed"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one view of a frame, and what followed.

    at: seconds since the trace began. branch: of the answer, None where the last one stood. second_look: its budget
    and branch. macs_fraction: of both looks. deadline_ms: of the view's policy. latency_ms: from capture to publishing
    the answer, measured or expected. load: share of the processor that other programs took, None if unknown.
    expected_accuracy: the profile's, of the branch answered from.
    """

    camera: str
    number: int
    at: float
    budget: Budget
    branch: str | None
    second_look: tuple[Budget, str] | None
    macs_fraction: float
    expected_accuracy: float
    deadline_ms: float | None
    latency_ms: float
    load: float | None

    @property
    def reused(self) -> bool:
        """Whether the last answer stood."""
        return self.branch is None


@dataclass(frozen=True, slots=True)
class Decisions:
    """All decisions of a trace. lost: lines that could not be written; broken: where and why the trace breaks off."""

    decisions: list[Decision]
    lost: int
    broken: tuple[str, ...]

    @property
    def cameras(self) -> set[str]:
        """The names by which views are found: the cameras', and those of regions after their camera's."""
        views = {decision.camera for decision in self.decisions}
        return views | {view.partition("/")[0] for view in views}


@dataclass(slots=True)
class _View:
    """What is remembered of a view.

    moved: motion since the last look, summed. slowdown: of the last look that was measured, how many times longer than
    expected it took.
    """

    controller: ControllerState = field(default_factory=ControllerState)
    last: LastLook | None = None
    moved: float = 0.0
    slowdown: float = 1.0


@dataclass(slots=True)
class _Part:
    """A part of a trace, to the frame at hand: what is known of the model, and what is remembered of the views.

    begun: seconds from the begin of the trace to that of the part. first: monotonic seconds of its first frame.
    """

    known: Knowledge
    policies: InForce
    begun: float = 0.0
    first: float | None = None
    views: dict[str, _View] = field(default_factory=dict)

    def at(self, frame: Frame) -> float:
        """Seconds since the trace began."""
        self.first = frame.at if self.first is None else self.first
        return self.begun + frame.at - self.first

    def view(self, name: str) -> _View:
        """What is remembered of a view."""
        return self.views.setdefault(name, _View())


def recorded(path: Path) -> Decisions:
    """The decisions as they were made; raises InvalidInputError where `path` is no trace that can be read."""
    trace = _Trace(path, {})
    return trace.all(_recorded(frame, part) for frame, part in trace.frames())


def replayed(path: Path, others: Mapping[str | None, Policy] | None) -> Decisions:
    """The decisions made again, under the recorded policies or `others`.

    others: by the camera or view that is to go by it; None stands for the general policy, which cameras with one of
    their own do not go by. Where another branch runs than the recorded one, its time is the profile's times the
    slow-down that was measured last. Where another frame was recognised last, what changed since is taken as the sum of
    the motion since. What the other cameras left a frame is taken as it was.
    """
    trace = _Trace(path, others or {})
    return trace.all(_decided(frame, part) for frame, part in trace.frames())


class _Trace:
    """A trace as it is read."""

    def __init__(self, path: Path, others: Mapping[str | None, Policy]) -> None:
        self._path = path
        self._others = others
        self._lost = 0
        self._broken: list[str] = []

    def all(self, decisions: Iterator[Decision]) -> Decisions:
        """All decisions, with what is missing among them."""
        return Decisions(list(decisions), self._lost, tuple(self._broken))

    def frames(self) -> Iterator[tuple[Frame, _Part]]:
        """Each frame, and the part that it belongs to."""
        header, lines = read(self._path)
        part = self._part(header, header)
        for line in lines:
            match line:
                case str():
                    self._broken.append(line)
                case Header():
                    part = self._part(line, header)
                case Gap():
                    self._lost += line.lost
                case Remembered():
                    part.views[line.camera] = _View(line.controller, line.last)
                case PolicyChange():
                    part.policies = self._in_force(line)
                case Prepared():
                    part.known = part.known.prepared(line)
                case Frame():
                    self._check(line, part.known)
                    yield line, part

    def _check(self, frame: Frame, known: Knowledge) -> None:
        """Raise InvalidInputError where a frame names what cannot have been."""
        looks = [(frame.branch, frame.chosen_by == "scheduler")]
        looks += [] if frame.second_look is None else [(frame.second_look.branch, False)]
        wrong = [f"branch {branch!r}" for branch, scheduled in looks if not known.has(branch, scheduled=scheduled)]
        if frame.granted is not None and not frame.granted >= known.table.floor:
            wrong.append(f"granted {frame.granted}")
        if wrong:
            what = one_line(f"frame {frame.number} of {frame.camera}: {wrong[0]}", 120)
            raise InvalidInputError(f"trace {self._path}: {what} is not possible with its profile")

    def _part(self, header: Header, first: Header) -> _Part:
        known = Knowledge.read(self._path, header)
        return _Part(known, self._in_force(header), max(0.0, header.recorded_at - first.recorded_at))

    def _in_force(self, line: Header | PolicyChange) -> InForce:
        return InForce.read(self._path, line, self._others)


def _recorded(frame: Frame, part: _Part) -> Decision:
    view, known = part.view(frame.camera), part.known
    if frame.chosen_by != "reuse" or view.last is None:
        view.last = _last_look(frame, known.ran(frame), 1)
    answer, again = view.last.choice, frame.second_look
    looked = None if again is None else (again.budget, known.choices[again.branch])
    if looked is not None:
        view.last = _last_look(frame, looked[1], 1)
    latency = frame.forward_ms + frame.around_ms
    return _decision(frame, part, frame.budget, answer, frame.chosen_by == "reuse", looked, latency)


def _decided(frame: Frame, part: _Part) -> Decision:
    view, known, policy = part.view(frame.camera), part.known, part.policies.of(frame.camera)
    signals, age = _as_seen_now(frame, view)
    asked = wish(view.controller, signals, policy, known.costs, known.table, frame.at).cut(frame.granted, known.table)
    lead = None if view.last is None else frame.lead or 0.0
    last = None if view.last is None else view.last.choice
    ran = None
    if last is not None and stands(signals, policy, last, age, lead, asked.choice):
        answer, reused = last, True
        view.moved += frame.signals.motion or 0.0
    else:
        answer, reused = known.choose(frame, asked.budget, asked.choice), False
        taken = None if frame.chosen_by == "reuse" else _taken(frame, known)
        ran = _run(frame, view, answer, taken, known)
    view.controller = answered(asked.controller, policy, asked.budget, ran)
    latency = frame.around_ms + (0.0 if ran is None else ran.forward_ms)
    looked = _look_again(frame, view, policy, known, latency) if reused and not frame.hurried else None
    return _decision(frame, part, asked.budget, answer, reused, looked, latency)


def _look_again(
    frame: Frame, view: _View, policy: Policy, known: Knowledge, spent_ms: float
) -> tuple[Budget, Choice] | None:
    last = view.last
    if last is None:
        return None
    better = better_look(view.controller, policy, known.costs, known.table, last.choice, last.looks_here, spent_ms)
    if better is not None:
        _, choice = better
        again = frame.second_look
        taken = None
        if again is not None:
            chosen = known.choices[again.branch]
            taken = Ran(chosen, again.forward_ms, frame.own_around_ms, known.costs.expected(chosen.macs_fraction))
        ran = _run(frame, view, choice, taken, known, last.looks_here + 1 if choice == last.choice else 1)
        view.controller = looked_again(view.controller, policy, ran)
    return better


def _taken(frame: Frame, known: Knowledge) -> Ran:
    """The recorded look."""
    choice, expected = known.ran(frame), frame.expected_ms
    if expected is None:  # of a trace of older times, whose frames were each told a part of their own
        expected = known.costs.expected(choice.macs_fraction)
    return Ran(choice, frame.forward_ms, frame.own_around_ms, expected)


def _run(frame: Frame, view: _View, choice: Choice, taken: Ran | None, known: Knowledge, looks_here: int = 1) -> Ran:
    """A look along `choice`, which is the view's last from now on. taken: the recorded look.

    Where another branch ran, or none, it takes what is to be expected at that moment, beside the same others.
    """
    view.last, view.moved = _last_look(frame, choice, looks_here), 0.0
    if taken is not None and taken.expected_ms:
        view.slowdown = taken.forward_ms / taken.expected_ms
    if taken is not None and taken.choice.branch == choice.branch:
        return taken
    expected = own = known.costs.expected(choice.macs_fraction)
    if own is not None and taken is not None and taken.expected_ms is not None:
        others = taken.expected_ms - (known.costs.expected(taken.choice.macs_fraction) or 0.0)
        expected = own + max(0.0, others)
    return Ran(choice, (expected or 0.0) * view.slowdown, frame.own_around_ms, expected)


def _last_look(frame: Frame, choice: Choice, looks_here: int) -> LastLook:
    return LastLook.of(frame.number, frame.at, choice, looks_here)


def _as_seen_now(frame: Frame, view: _View) -> tuple[Signals, float | None]:
    if view.last is None:
        return replace(frame.signals, change=None), None
    if view.last.number == frame.recognised:
        return frame.signals, frame.answer_age
    change = min(1.0, view.moved + (frame.signals.motion or 0.0))
    return replace(frame.signals, change=change), frame.at - view.last.at


def _decision(
    frame: Frame,
    part: _Part,
    budget: Budget,
    answer: Choice,
    reused: bool,
    looked: tuple[Budget, Choice] | None,
    latency_ms: float,
) -> Decision:
    deadline = part.policies.of(frame.camera).deadline
    ran = 0.0 if reused else answer.macs_fraction
    return Decision(
        camera=frame.camera,
        number=frame.number,
        at=part.at(frame),
        budget=budget,
        branch=None if reused else str(answer.branch),
        second_look=None if looked is None else (looked[0], str(looked[1].branch)),
        macs_fraction=ran + (0.0 if looked is None else looked[1].macs_fraction),
        expected_accuracy=answer.expected_accuracy,
        deadline_ms=None if deadline is None else deadline.milliseconds,
        latency_ms=latency_ms,
        load=contention(frame.signals),
    )
