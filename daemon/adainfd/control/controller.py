"""The controller: signals, what it remembers and the time, in; a budget and the rule that set it, out."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from adainf.schedulers import Choice
from adainfd.control.policy import Policy

__all__ = [
    "Budget",
    "ControllerState",
    "Costs",
    "LimitedBy",
    "Outcome",
    "Signals",
    "contention",
    "may_reuse",
    "next_budget",
    "observe",
    "second_look",
    "spend",
    "worth_a_second_look",
]

LimitedBy = Literal[
    "maximum", "motion", "contention", "power", "heat", "deadline", "share", "recovery", "minimum", "savings"
]

# Budgets are told and compared in ten-thousandths: no branch differs from another by less.
_STEPS = 10_000
# A ceiling that rises by less than this is noise of its signal, and left where it is.
_DEADBAND = 0.05
# A few slow frames are enough to see a neighbour come. Rare hiccups need more of them to be known, and are forgotten
# when the load they were met under has gone.
_SLOWDOWN_FRAMES = 16
_REMEMBERED_FRAMES = 48
_LOAD_GONE = 0.25
# A dearer branch is taken only where it would make the deadline with so much to spare: one that just makes it is cut
# again at the next hiccup, and a budget that swings under steady load helps nobody.
_SPARE_TO_RISE = 0.85
_INTERVAL_SMOOTHING = 0.1
# A second look that runs over makes the next frame late.
_SECOND_LOOK_QUANTILE = 0.95
_WAYS_ROUND = 2
# A clock that stood still is no speed to plan with.
_QUICKEST = 0.01


@dataclass(frozen=True, slots=True)
class Signals:
    """What a policy looks at for one frame; None is unknown.

    motion, change: share (0..1) of the picture that differs from the frame before, and from the last one recognised.
    gpu_utilization, gpu_foreign, cpu_pressure, cpu_foreign: shares of the processors (0..1).
    cpu_queue: others' threads that run or wait to, a processor.
    power_fraction: of the limit. temperature_celsius: of the processor that recognises.
    """

    motion: float | None = None
    change: float | None = None
    gpu_utilization: float | None = None
    gpu_foreign: float | None = None
    cpu_pressure: float | None = None
    cpu_foreign: float | None = None
    power_fraction: float | None = None
    temperature_celsius: float | None = None
    cpu_queue: float | None = None


@dataclass(frozen=True, slots=True)
class Costs:
    """What the branches that may be chosen cost, cheapest first.

    fractions: of the full branch's MACs. milliseconds: median forward time here when nothing else runs; empty where
    it was not measured.
    """

    fractions: tuple[float, ...]
    milliseconds: tuple[float, ...] = ()

    @classmethod
    def of(cls, frontier: Sequence[Choice], times: Mapping[str, float]) -> "Costs":
        """The costs of a lookup table's choices; times: median milliseconds by branch, used where all are known."""
        branches = [str(choice.branch) for choice in frontier]
        known = all(branch in times for branch in branches)
        fractions = tuple(choice.macs_fraction for choice in frontier)
        return cls(fractions, tuple(times[branch] for branch in branches) if known else ())

    @property
    def floor(self) -> float:
        """The smallest budget that a branch fits."""
        return self.fractions[0]

    def dearest_within(self, milliseconds: float, otherwise: float | None = None) -> float:
        """The largest fraction whose time is at most `milliseconds`; where none is, `otherwise` or else the floor."""
        fitting = [f for f, time in zip(self.fractions, self.milliseconds, strict=True) if time <= milliseconds]
        return max(fitting, default=self.floor if otherwise is None else otherwise)


@dataclass(frozen=True, slots=True)
class Budget:
    """The largest fraction of the full branch's MACs allowed for a frame, and the rule that set it."""

    fraction: float
    limited_by: LimitedBy


@dataclass(frozen=True, slots=True)
class Outcome:
    """How long a frame took, in milliseconds: as the profile expected, in truth, and all around the forward pass."""

    expected: float
    forward: float
    around: float

    @property
    def slowdown(self) -> float:
        """How many times longer than expected the forward pass took."""
        return max(_QUICKEST, self.forward / self.expected)


@dataclass(frozen=True, slots=True)
class ControllerState:
    """What the controller remembers of a camera. at: when it last decided, monotonic seconds.

    ceiling, rule: what the ceilings allow, after hysteresis, and which one cut it. above_for: seconds for which they
    have allowed more. outcomes: of the recent frames that a branch ran on; load: the most that others took meanwhile.
    interval: seconds between frames, smoothed. savings: what frames were allowed and did not take, in full branches'
    MACs.
    """

    ceiling: float = 1.0
    rule: LimitedBy = "maximum"
    at: float | None = None
    above_for: float = 0.0
    outcomes: tuple[Outcome, ...] = ()
    load: float = 0.0
    interval: float | None = None
    savings: float = 0.0


def next_budget(
    state: ControllerState, signals: Signals, policy: Policy, costs: Costs, now: float
) -> tuple[Budget, ControllerState]:
    """The budget of the next frame, and the state to come with next time. now: monotonic seconds.

    The lowest rule binds; of equally low ones the first of: maximum, motion, the ceilings. What motion asks for is
    given at once. What a ceiling cuts is cut at once; it comes back after the policy's `hold_seconds`, at
    `rise_per_second`, meanwhile limited by `recovery`. No budget is below the policy's minimum or the cheapest branch.
    """
    elapsed = 0.0 if state.at is None else max(0.0, now - state.at)
    state = _under_load(replace(state, at=now, interval=_smoothed(state, elapsed)), contention(signals) or 0.0)
    state, rule = _with_ceiling(state, _lowest_ceiling(state, signals, policy, costs), policy, elapsed)
    rules: list[tuple[float, LimitedBy]] = [(policy.budget.maximum, "maximum")]
    if policy.motion is not None and signals.motion is not None:
        rules.append((policy.motion.at(signals.motion), "motion"))
    rules.append((state.ceiling, rule))
    fraction, limited_by = min(rules, key=lambda rule: rule[0])
    lowest = max(policy.budget.minimum, costs.floor)
    if fraction < lowest:
        fraction, limited_by = lowest, "minimum"
    rounded = max(math.floor(fraction * _STEPS), math.ceil(costs.floor * _STEPS)) / _STEPS
    return Budget(rounded, limited_by), state


def _under_load(state: ControllerState, load: float) -> ControllerState:
    """How long frames took under a load that has gone says nothing of those to come."""
    if load < state.load - _LOAD_GONE:
        return replace(state, outcomes=(), load=load)
    return replace(state, load=max(state.load, load))


def _smoothed(state: ControllerState, elapsed: float) -> float | None:
    if state.at is None:
        return None
    return elapsed if state.interval is None else state.interval + _INTERVAL_SMOOTHING * (elapsed - state.interval)


@dataclass(frozen=True, slots=True)
class _Ceiling:
    """The most that a rule allows, and how far it lets a lower budget rise."""

    now: float
    rise: float
    rule: LimitedBy


def _lowest_ceiling(state: ControllerState, signals: Signals, policy: Policy, costs: Costs) -> _Ceiling:
    ceilings = [_Ceiling(1.0, 1.0, "maximum")]
    measured: tuple[tuple[LimitedBy, float | None], ...] = (
        ("contention", contention(signals)),
        ("power", signals.power_fraction),
        ("heat", signals.temperature_celsius),
    )
    for name, signal in measured:
        rule = getattr(policy, name)
        if rule is not None and signal is not None:
            ceilings.append(_Ceiling(rule.at(signal), rule.at(signal), name))
    if costs.milliseconds:
        ceilings.extend(_ceilings_by_time(state, policy, costs))
    lowest = min(ceilings, key=lambda ceiling: ceiling.now)
    return replace(lowest, rise=min(ceiling.rise for ceiling in ceilings))


def _ceilings_by_time(state: ControllerState, policy: Policy, costs: Costs) -> Iterator[_Ceiling]:
    """What the deadline and the granted share allow, by how long the recent frames took."""
    slowdown = _slowdown(state)
    available: list[tuple[LimitedBy, float]] = []
    if policy.deadline is not None:
        allowance = _allowance(state, slowdown, policy.deadline.quantile)
        available.append(("deadline", policy.deadline.milliseconds - allowance))
    if policy.share is not None and state.interval:
        available.append(("share", 1000 * state.interval * policy.share.busy))
    for rule, milliseconds in available:
        quiet = milliseconds / slowdown  # the time the branch would take if nothing else ran
        yield _Ceiling(costs.dearest_within(quiet), costs.dearest_within(_SPARE_TO_RISE * quiet), rule)


def _slowdown(state: ControllerState) -> float:
    slowdowns = [outcome.slowdown for outcome in state.outcomes[-_SLOWDOWN_FRAMES:]]
    return _quantile(slowdowns, 0.5, of=_SLOWDOWN_FRAMES, otherwise=1.0)


def _allowance(state: ControllerState, slowdown: float, quantile: float) -> float:
    """Milliseconds to allow for besides the expected forward pass times `slowdown`: all around it, and its jitter.

    Jitter adds to a frame's time whatever the branch; to multiply it would make a cheap branch's hiccup look like a
    dear branch's disaster.
    """
    left_over = [outcome.forward + outcome.around - slowdown * outcome.expected for outcome in state.outcomes]
    return max(0.0, _quantile(left_over, quantile, of=_REMEMBERED_FRAMES, otherwise=0.0))


def _with_ceiling(
    state: ControllerState, lowest: _Ceiling, policy: Policy, elapsed: float
) -> tuple[ControllerState, LimitedBy]:
    """The state with its ceiling moved towards what is allowed, and the rule that holds it where it is."""
    if lowest.now <= state.ceiling:
        return replace(state, ceiling=lowest.now, rule=lowest.rule, above_for=0.0), lowest.rule
    if lowest.rise <= state.ceiling or (
        lowest.rise < policy.budget.maximum and lowest.rise - state.ceiling < _DEADBAND
    ):
        return replace(state, above_for=0.0), state.rule
    above_for = state.above_for + elapsed
    rising_for = min(elapsed, max(0.0, above_for - policy.budget.hold_seconds))
    ceiling = min(lowest.rise, state.ceiling + policy.budget.rise_per_second * rising_for)
    if ceiling == lowest.rise:
        return replace(state, ceiling=ceiling, rule=lowest.rule, above_for=0.0), lowest.rule
    return replace(state, ceiling=ceiling, above_for=above_for), "recovery"


def _quantile(values: Sequence[float], quantile: float, *, of: int, otherwise: float) -> float:
    """Of so many frames; those that have not been yet count `otherwise`, as a frame that takes what it should.

    So a first slow frame is one of many, and does not speak for all.
    """
    ordered = sorted([*values, *[otherwise] * (of - len(values))])
    return ordered[min(len(ordered) - 1, math.ceil(quantile * len(ordered)) - 1)]


def contention(signals: Signals) -> float | None:
    """The share of the processor that other programs take from us; None where nothing tells.

    Where a GPU does not tell whose its load is (a Jetson's, or one seen from a container), the CPU's stands for it: our
    own load, which `gpu_utilization` holds too, must not cut our budget. On the CPU others must be busy and somebody
    must wait, or others must have threads for all processors: busy others on idle processors take nothing away, and our
    own threads waiting for each other are no contention.
    """
    if signals.gpu_foreign is not None:
        return signals.gpu_foreign
    if signals.cpu_foreign is None:
        return None
    # Up to a thread for every second processor leaves us a free one.
    crowded = None if signals.cpu_queue is None else min(1.0, max(0.0, 2 * signals.cpu_queue - 1))
    told = [share for share in (signals.cpu_pressure, crowded) if share is not None]
    return min(signals.cpu_foreign, max(told)) if told else signals.cpu_foreign


def observe(state: ControllerState, outcome: Outcome) -> ControllerState:
    """The state after a branch took as long on a frame as `outcome` says."""
    return replace(state, outcomes=(*state.outcomes, outcome)[-_REMEMBERED_FRAMES:])


def spend(state: ControllerState, policy: Policy, allowed: float, taken: float) -> ControllerState:
    """The state after a frame was allowed and took these shares of the full branch's MACs; what is left is saved.

    A second look is allowed nothing more: what it takes comes from the savings.
    """
    if policy.second_look is None:
        return replace(state, savings=0.0)
    return replace(state, savings=min(policy.second_look.savings, max(0.0, state.savings + allowed - taken)))


def second_look(state: ControllerState, policy: Policy, costs: Costs, spent_ms: float) -> Budget | None:
    """What may be spent on a better look at a still picture whose answer is out; None where nothing may.

    spent_ms: since the frame was captured. The other rules were kept when it was answered; a second look is paid by
    what still frames have saved, so that the mean stays within theirs, and is over before the next frame is due.
    """
    if policy.second_look is None or not costs.milliseconds or not state.interval:
        return None
    left = 1000 * state.interval - spent_ms - _allowance(state, _slowdown(state), _SECOND_LOOK_QUANTILE)
    rules: tuple[tuple[float, LimitedBy], ...] = (
        (policy.budget.maximum, "maximum"),
        (state.savings, "savings"),
        (costs.dearest_within(left / _slowdown(state), otherwise=0.0), "deadline"),
    )
    fraction, limited_by = min(rules, key=lambda rule: rule[0])
    rounded = math.floor(fraction * _STEPS) / _STEPS
    return Budget(rounded, limited_by) if rounded >= costs.floor else None


def worth_a_second_look(policy: Policy, choice: Choice, last: Choice, looks_here: int) -> bool:
    """Whether `choice` may tell more of a still picture than the branch that looked at it last, `looks_here` times.

    A dearer branch does; the same one where it sees the picture mirrored.
    """
    both_ways = policy.evidence is not None and policy.evidence.mirrored
    return choice.macs_fraction > last.macs_fraction or (choice == last and both_ways and looks_here < _WAYS_ROUND)


def may_reuse(
    signals: Signals, policy: Policy, answer_age: float, lead: float, answered: float, affordable: float
) -> bool:
    """Whether the last answer may stand for this frame.

    answer_age: seconds since the picture it was made from. lead: of its best label over the next; the clearer an
    answer, the less a small change overturns it. answered, affordable: share of the full branch's MACs of the branch
    that made it, and of the one the budget allows now; a better one that has become affordable is run.
    """
    rule = policy.reuse
    return (
        rule is not None
        and signals.change is not None
        and signals.change <= rule.change + rule.change_by_lead * lead
        and answer_age <= rule.seconds
        and answered >= affordable
    )
