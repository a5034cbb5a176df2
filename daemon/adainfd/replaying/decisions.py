"""The decisions of a trace, as recorded and as replayed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from adainf.base.errors import InvalidInputError, one_line
from adainf.control import Budget, Decider, Ran, Signals
from adainf.control.policy import Policy
from adainf.control.signals import contention
from adainf.schedulers import Choice
from adainfd.replaying.knowledge import Knowledge, KnownModel
from adainfd.replaying.policies import ReplayedPolicies
from adainfd.tracing.lines import Frame, Header, LostLines, PolicyChange, Prepared, Remembered
from adainfd.tracing.reading import read

__all__ = ["Decision", "Decisions", "recorded", "replayed"]


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision for one view of a frame, and its outcome.

    at: seconds since the trace began. branch: of the answer, None if the last answer was reused. second_look: its
    budget and branch. macs_fraction: of both looks together. deadline_ms: from the view's policy. latency_ms: from
    capture to publishing the answer, measured or expected. load: share of the processor used by other programs, None
    if unknown. expected_accuracy: from the profile, of the branch behind the answer.
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
        """Whether the last answer was reused."""
        return self.branch is None


@dataclass(frozen=True, slots=True)
class Decisions:
    """All decisions of a trace. lost: number of lines not written; broken: where and why the trace breaks off."""

    decisions: list[Decision]
    lost: int
    broken: tuple[str, ...]

    @property
    def cameras(self) -> set[str]:
        """The names that select views: CAMERA and CAMERA/REGION."""
        views = {decision.camera for decision in self.decisions}
        return views | {view.partition("/")[0] for view in views}


@dataclass(slots=True)
class _TraceView:
    """The state of a view during replay.

    number, looked_at: the last frame that a branch ran on, and when. moved: the sum of motion since then. slowdown:
    the ratio of measured to expected time in the last look that was measured.
    """

    decider: Decider
    number: int = 0
    looked_at: float = 0.0
    moved: float = 0.0
    slowdown: float = 1.0

    def looked(self, frame: Frame) -> None:
        """Note that a branch ran on this frame."""
        self.number, self.looked_at, self.moved = frame.number, frame.at, 0.0


@dataclass(slots=True)
class _TracePart:
    """The state within a part of a trace, up to the current frame: model, policies and views.

    begun: seconds from the start of the trace to the start of the part. first: monotonic seconds of its first frame.
    """

    known: KnownModel
    policies: ReplayedPolicies
    begun: float = 0.0
    first: float | None = None
    views: dict[str, _TraceView] = field(default_factory=dict)

    def at(self, frame: Frame) -> float:
        """Return the seconds since the trace began."""
        self.first = frame.at if self.first is None else self.first
        return self.begun + frame.at - self.first

    def view(self, name: str) -> _TraceView:
        """Return the state of a view, with its current policy."""
        view = self.views.setdefault(name, _TraceView(Decider(Policy())))
        view.decider.policy = self.policies.of(name)
        return view


def recorded(path: Path) -> Decisions:
    """Return the decisions as recorded; raises InvalidInputError if `path` is not a readable trace."""
    trace = _Trace(path, {})
    return trace.all(_recorded(frame, part) for frame, part in trace.frames())


def replayed(path: Path, others: Mapping[str | None, Policy] | None) -> Decisions:
    """Return the decisions made again, under the recorded policies or `others`.

    others: replacement policies by camera or view; the key None replaces the general policy, which does not apply to
    cameras with a policy of their own. If another branch runs than the recorded one, its time is the known time of the
    branch multiplied by the last measured slowdown. If another frame was recognised last, the change since then is the
    sum of the motion since. The budget that other cameras left a frame is the recorded one.
    """
    trace = _Trace(path, others or {})
    return trace.all(_decided(frame, part) for frame, part in trace.frames())


class _Trace:
    """A reader of a trace that keeps the state for each part."""

    def __init__(self, path: Path, others: Mapping[str | None, Policy]) -> None:
        self._path = path
        self._others = others
        self._lost = 0
        self._broken: list[str] = []

    def all(self, decisions: Iterator[Decision]) -> Decisions:
        """Collect the decisions, with the losses found while reading."""
        return Decisions(list(decisions), self._lost, tuple(self._broken))

    def frames(self) -> Iterator[tuple[Frame, _TracePart]]:
        """Yield each frame with the part that it belongs to."""
        header, lines = read(self._path)
        part = self._part(header, header)
        for line in lines:
            match line:
                case str():
                    self._broken.append(line)
                case Header():
                    part = self._part(line, header)
                case LostLines():
                    self._lost += line.lost
                case Remembered():
                    self._check_last(line, part.known.of(line.camera))
                    part.views[line.camera] = _remembered(line)
                case PolicyChange():
                    part.policies = self._in_force(line)
                    part.known = part.known.asked(self._path, line)
                case Prepared():
                    part.known = part.known.prepared(line)
                case Frame():
                    self._check(line, part.known.of(line.camera))
                    yield line, part

    def _check(self, frame: Frame, known: Knowledge) -> None:
        """Raise InvalidInputError if a frame has a branch or grant that is impossible with its profile."""
        looks = [(frame.branch, frame.chosen_by == "scheduler")]
        looks += [] if frame.second_look is None else [(frame.second_look.branch, False)]
        wrong = [f"branch {branch!r}" for branch, scheduled in looks if not known.has(branch, scheduled=scheduled)]
        if frame.granted is not None and not frame.granted >= known.table.floor:
            wrong.append(f"granted {frame.granted}")
        if wrong:
            self._refuse(f"frame {frame.number} of {frame.camera}: {wrong[0]}")

    def _check_last(self, view: Remembered, known: Knowledge) -> None:
        """Raise InvalidInputError if the last look at a view ran a branch that is impossible with its profile."""
        if view.last is not None and not known.has(view.last.branch, scheduled=True):
            self._refuse(f"last look at {view.camera}: branch {view.last.branch!r}")

    def _refuse(self, what: str) -> NoReturn:
        raise InvalidInputError(f"trace {self._path}: {one_line(what, 120)} is not possible with its profile")

    def _part(self, header: Header, first: Header) -> _TracePart:
        known = KnownModel.read(self._path, header)
        return _TracePart(known, self._in_force(header), max(0.0, header.recorded_at - first.recorded_at))

    def _in_force(self, line: Header | PolicyChange) -> ReplayedPolicies:
        return ReplayedPolicies.read(self._path, line, self._others)


def _remembered(line: Remembered) -> _TraceView:
    last, decider = line.last, Decider(Policy(), line.controller)
    if last is None:
        return _TraceView(decider)
    decider.last, decider.looks_here = last.choice, last.looks_here
    return _TraceView(decider, last.number, last.at)


def _recorded(frame: Frame, part: _TracePart) -> Decision:
    view, known = part.view(frame.camera), part.known.of(frame.camera)
    if frame.chosen_by != "reuse" or view.decider.last is None:
        view.decider.last = known.ran(frame)
    answer, again = view.decider.last, frame.second_look
    looked = None if again is None else (again.budget, known.choices[again.branch])
    if looked is not None:
        view.decider.last = looked[1]
    latency = frame.forward_ms + frame.around_ms
    return _decision(frame, part, frame.budget, answer, frame.chosen_by == "reuse", looked, latency)


def _decided(frame: Frame, part: _TracePart) -> Decision:
    view, known = part.view(frame.camera), part.known.of(frame.camera)
    decider, (signals, age) = view.decider, _as_seen_now(frame, view)
    lead = None if decider.last is None else frame.lead or 0.0
    request = decider.request(signals, age, lead, known.table, known.costs, frame.at)
    request = decider.cut(request, frame.granted, known.table)
    ran = None
    if request.reuses and decider.last is not None:
        answer = decider.last
        view.moved += frame.signals.motion or 0.0
    else:
        answer = known.choose(frame, request.budget, request.choice)
        ran = _run(frame, view, answer, None if frame.chosen_by == "reuse" else _taken(frame, known), known)
    decider.settle(request, ran)
    latency = frame.around_ms + (0.0 if ran is None else ran.forward_ms)
    looked = _look_again(frame, view, known, latency) if ran is None and not frame.hurried else None
    return _decision(frame, part, request.budget, answer, ran is None, looked, latency)


def _look_again(frame: Frame, view: _TraceView, known: Knowledge, spent_ms: float) -> tuple[Budget, Choice] | None:
    better = view.decider.better_look(known.table, known.costs, spent_ms)
    if better is not None:
        again, recorded_run = frame.second_look, None
        if again is not None:
            chosen = known.choices[again.branch]
            recorded_run = Ran(
                chosen, again.forward_ms, frame.own_around_ms, known.costs.expected(chosen.macs_fraction)
            )
        view.decider.settle_better_look(_run(frame, view, better[1], recorded_run, known))
    return better


def _taken(frame: Frame, known: Knowledge) -> Ran:
    """Return the recorded look."""
    choice, expected = known.ran(frame), frame.expected_ms
    if expected is None:  # an older trace, in which each frame has only its own part of the batch's time
        expected = known.costs.expected(choice.macs_fraction)
    return Ran(choice, frame.forward_ms, frame.own_around_ms, expected)


def _run(frame: Frame, view: _TraceView, choice: Choice, recorded_run: Ran | None, known: Knowledge) -> Ran:
    """Return a look along `choice`; recorded_run: the recorded look.

    If another branch ran, or none, its time is the one expected at that moment with the same batch.
    """
    view.looked(frame)
    if recorded_run is not None and recorded_run.expected_ms:
        view.slowdown = recorded_run.forward_ms / recorded_run.expected_ms
    if recorded_run is not None and recorded_run.choice.branch == choice.branch:
        return recorded_run
    expected = own = known.costs.expected(choice.macs_fraction)
    if own is not None and recorded_run is not None and recorded_run.expected_ms is not None:
        others = recorded_run.expected_ms - (known.costs.expected(recorded_run.choice.macs_fraction) or 0.0)
        expected = own + max(0.0, others)
    return Ran(choice, (expected or 0.0) * view.slowdown, frame.own_around_ms, expected)


def _as_seen_now(frame: Frame, view: _TraceView) -> tuple[Signals, float | None]:
    if view.decider.last is None:
        return replace(frame.signals, change=None), None
    if view.number == frame.recognised:
        return frame.signals, frame.answer_age
    change = min(1.0, view.moved + (frame.signals.motion or 0.0))
    return replace(frame.signals, change=change), frame.at - view.looked_at


def _decision(
    frame: Frame,
    part: _TracePart,
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
