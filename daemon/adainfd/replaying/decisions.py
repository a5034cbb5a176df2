"""The decisions of a trace: as they were recorded, and as they come out when they are made again."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from adainf.branch import Branch
from adainf.errors import InvalidInputError, one_line
from adainf.profile import Profile
from adainf.schedulers import Choice, LookupTable
from adainf.schedulers.content_aware import better_at
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
from adainfd.control.signals import contention
from adainfd.control.trace import Frame, Header, PolicyChange, Prepared, read

__all__ = ["Decision", "Decisions", "recorded", "replayed"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one frame, and what followed.

    at: seconds since the trace began. macs_fraction: of the frame, with its second look. latency_ms: from capture to
    publishing the answer, measured or expected. load: share of the processor that other programs took, None if unknown.
    expected_accuracy: the profile's, of the branch answered from.
    """

    camera: str
    number: int
    at: float
    budget: Budget
    macs_fraction: float
    reused: bool
    looked_again: bool
    expected_accuracy: float
    latency_ms: float
    load: float | None


@dataclass(frozen=True, slots=True)
class Decisions:
    """All decisions of a trace. deadline_ms: of the policy in force; broken: where and why the trace breaks off."""

    decisions: list[Decision]
    deadline_ms: float | None
    broken: str | None


@dataclass(slots=True)
class _Recognised:
    """The last frame of a camera that a branch ran on. moved: motion since, summed, where that is all there is.

    looks_here: how often this branch has looked at this very picture.
    """

    number: int
    at: float
    choice: Choice
    looks_here: int = 1
    moved: float = 0.0


@dataclass(slots=True)
class _Camera:
    controller: ControllerState = field(default_factory=ControllerState)
    recognised: _Recognised | None = None
    slowdown: float = 1.0


@dataclass(frozen=True, slots=True)
class _Knowledge:
    """What a trace says of the model."""

    table: LookupTable
    costs: Costs
    profile: Profile
    scheduler_macs: int
    choices: dict[str, Choice]

    @classmethod
    def of(cls, profile: Profile, line: Header | Prepared) -> "_Knowledge":
        """What is known of the profile's model where these branches are ready."""
        table = LookupTable(profile, allowed=lambda branch: str(branch) in line.branches)
        full_macs = profile.space.macs(profile.space.full)
        choices = {measured.branch: Choice.of(measured, full_macs) for measured in profile.branches}
        return cls(table, Costs.of(table.frontier, line.times), profile, line.scheduler_macs, choices)

    def prepared(self, line: Prepared) -> "_Knowledge":
        """What is known once more branches are ready."""
        return self.of(self.profile, line)

    def ran(self, frame: Frame) -> Choice:
        """The branch that was recorded, as it ran."""
        if frame.chosen_by != "scheduler":
            return self.choices[frame.branch]
        space, branch = self.profile.space, Branch.parse(frame.branch)
        macs = space.macs(branch) + self.scheduler_macs
        level = better_at(self.profile.scheduled, frame.budget.fraction)
        return Choice(branch, macs, macs / space.macs(space.full), 0.0 if level is None else level.accuracy)

    def choose(self, frame: Frame, budget: Budget) -> Choice:
        """What runs under a budget. What a picture shows is known by what was chosen for it, under that budget only."""
        if frame.chosen_by == "scheduler" and budget.fraction == frame.budget.fraction:
            return self.ran(frame)
        return self.table.choose(budget.fraction)


@dataclass(frozen=True, slots=True)
class _InForce:
    """The policies in force: one for all, and those of the views that have their own."""

    general: Policy
    own: dict[str, Policy]

    def of(self, view: str) -> Policy:
        return self.own.get(view, self.general)

    @property
    def deadline_ms(self) -> float | None:
        return self.general.deadline.milliseconds if self.general.deadline else None


def recorded(path: Path) -> Decisions:
    """The decisions as they were made; raises InvalidInputError where `path` is no trace that can be read."""
    header, lines = read(path)
    known = _knowledge(path, header)
    policies = _in_force(path, header)
    answered: dict[str, Choice] = {}
    decisions: list[Decision] = []
    broken, start = None, None
    for line in lines:
        if isinstance(line, str):
            broken = line
        elif isinstance(line, PolicyChange):
            policies = _in_force(path, line)
        elif isinstance(line, Prepared):
            known = known.prepared(line)
        else:
            start = line.at if start is None else start
            reused = line.chosen_by == "reuse"
            if not reused:
                answered[line.camera] = known.ran(line)
            answer = answered[line.camera]
            looked = None if line.second_look is None else known.choices[line.second_look.branch]
            latency = line.forward_ms + line.around_ms
            decisions.append(_decision(line, start, line.budget, answer, reused, looked, latency))
            answered[line.camera] = looked or answer
    return Decisions(decisions, policies.deadline_ms, broken)


def replayed(path: Path, other: str | None) -> Decisions:
    """The decisions made again, under the recorded policy or the `other` one.

    Where another branch runs than the recorded one, its time is the profile's times the slow-down that was measured
    last. Where another frame was recognised last, what changed since is taken as the sum of the motion since. What the
    other cameras left a frame is taken as it was.
    """
    header, lines = read(path)
    known = _knowledge(path, header)
    policies = _in_force(path, header) if other is None else _InForce(Policy.read(other), {})
    cameras: dict[str, _Camera] = {}
    decisions: list[Decision] = []
    broken, start = None, None
    for line in lines:
        if isinstance(line, str):
            broken = line
        elif isinstance(line, PolicyChange):
            policies = _in_force(path, line) if other is None else policies
        elif isinstance(line, Prepared):
            known = known.prepared(line)
        else:
            start = line.at if start is None else start
            camera = cameras.setdefault(line.camera, _Camera())
            decisions.append(_decide(line, start, camera, policies.of(line.camera), known))
    return Decisions(decisions, policies.deadline_ms, broken)


def _decide(frame: Frame, start: float, camera: _Camera, policy: Policy, known: _Knowledge) -> Decision:
    last = camera.recognised
    signals, age = _as_seen_now(frame, last)
    budget, camera.controller = next_budget(camera.controller, signals, policy, known.costs, frame.at)
    if frame.granted is not None and frame.granted < budget.fraction:
        budget = Budget(frame.granted, "cameras")
    choice = known.choose(frame, budget)
    reused = (
        last is not None
        and age is not None
        and may_reuse(signals, policy, age, frame.lead or 0.0, last.choice.macs_fraction, choice.macs_fraction)
    )
    if last is not None and reused:
        last.moved += frame.signals.motion or 0.0
        answered, forward = last.choice, 0.0
    else:
        taken = None if frame.chosen_by == "reuse" else (known.ran(frame), frame.forward_ms)
        answered, forward = choice, _run(frame, camera, choice, taken, known)
    camera.controller = spend(camera.controller, policy, budget.fraction, 0.0 if reused else choice.macs_fraction)
    looked = _look_again(frame, camera, policy, known, forward) if reused and not frame.hurried else None
    return _decision(frame, start, budget, answered, reused, looked, forward + frame.around_ms)


def _look_again(frame: Frame, camera: _Camera, policy: Policy, known: _Knowledge, forward: float) -> Choice | None:
    budget = second_look(camera.controller, policy, known.costs, forward + frame.around_ms)
    choice = None if budget is None else known.table.choose(budget.fraction)
    last = camera.recognised
    if choice is None or last is None or not worth_a_second_look(policy, choice, last.choice, last.looks_here):
        return None
    looked = frame.second_look
    taken = None if looked is None else (known.choices[looked.branch], looked.forward_ms)
    _run(frame, camera, choice, taken, known, last.looks_here + 1 if choice == last.choice else 1)
    camera.controller = spend(camera.controller, policy, 0.0, choice.macs_fraction)
    return choice


def _run(
    frame: Frame,
    camera: _Camera,
    choice: Choice,
    taken: tuple[Choice, float] | None,
    known: _Knowledge,
    looks_here: int = 1,
) -> float:
    """Milliseconds of a look along `choice`, which the controller then has seen. taken: the branch recorded, its time.

    Where another branch ran, or none, it is what is to be expected at that moment.
    """
    expected = known.costs.expected(choice.macs_fraction)
    if taken is not None and (recorded_expected := known.costs.expected(taken[0].macs_fraction)):
        camera.slowdown = taken[1] / recorded_expected
    same = taken is not None and taken[0].branch == choice.branch
    forward = taken[1] if taken is not None and same else (expected or 0.0) * camera.slowdown
    if expected is not None:
        camera.controller = observe(camera.controller, Outcome(expected, forward, frame.own_around_ms))
    camera.recognised = _Recognised(frame.number, frame.at, choice, looks_here)
    return forward


def _as_seen_now(frame: Frame, last: _Recognised | None) -> tuple[Signals, float | None]:
    if last is None:
        return replace(frame.signals, change=None), None
    if last.number == frame.recognised:
        return frame.signals, frame.answer_age
    change = min(1.0, last.moved + (frame.signals.motion or 0.0))
    return replace(frame.signals, change=change), frame.at - last.at


def _decision(
    frame: Frame,
    start: float,
    budget: Budget,
    answered: Choice,
    reused: bool,
    looked: Choice | None,
    latency_ms: float,
) -> Decision:
    ran = 0.0 if reused else answered.macs_fraction
    return Decision(
        camera=frame.camera,
        number=frame.number,
        at=frame.at - start,
        budget=budget,
        macs_fraction=ran + (looked.macs_fraction if looked is not None else 0.0),
        reused=reused,
        looked_again=looked is not None,
        expected_accuracy=answered.expected_accuracy,
        latency_ms=latency_ms,
        load=contention(frame.signals),
    )


def _knowledge(path: Path, header: Header) -> _Knowledge:
    try:
        profile = Profile.model_validate(header.profile)
    except ValidationError as error:
        raise InvalidInputError(f"trace {path}: its profile is damaged ({one_line(error, 120)})") from None
    return _Knowledge.of(profile, header)


def _in_force(path: Path, line: Header | PolicyChange) -> _InForce:
    own = {view: _policy(path, policy) for view, policy in line.policies.items()}
    return _InForce(_policy(path, line.policy), own)


def _policy(path: Path, recorded_policy: dict[str, object]) -> Policy:
    try:
        return Policy.model_validate(recorded_policy)
    except ValidationError as error:
        raise InvalidInputError(f"trace {path}: its policy is damaged ({one_line(error, 120)})") from None
