"""The controller: signals, what it remembers and the time, in; a budget and the rule that set it, out."""

import bisect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from adainf.schedulers import Choice
from adainfd.control.allowance import allowed_by_mean, settled
from adainfd.control.policy import Policy

__all__ = [
    "BUDGET_STEPS",
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
    "slowdown",
    "spend",
    "worth_a_second_look",
]

LimitedBy = Literal[
    "maximum",
    "motion",
    "contention",
    "power",
    "heat",
    "deadline",
    "share",
    "recovery",
    "minimum",
    "savings",
    "mean",
    "cameras",
]

BUDGET_STEPS = 10_000
"""Budgets are told and compared in ten-thousandths: no branch differs from another by less."""
_ROUNDING = 1e-6
# A ceiling that rises by less than this is noise of its signal, and left where it is.
_DEADBAND = 0.05
# A few slow frames are enough to see a neighbour come. Rare hiccups need more of them to be known; how long frames took
# under another load says nothing of those to come.
_SLOWDOWN_FRAMES = 16
_FEWEST_FRAMES = 48
_REMEMBERED_FRAMES = 96
_OTHER_LOAD = 0.25
# A budget that swings under steady load helps nobody, so what the deadline allows is left where it is until it is
# clearly wrong: a branch is left only when so many times the misses that the policy allows were seen, for one that
# beside others would make the deadline with some of it to spare. A dearer one is tried after so many seconds: on an
# idle box soon, since what made frames late there passes; beside others later and, each time that was too early, later
# still.
_MISSES_TO_LEAVE = 2.0
_SPARE_BESIDE_OTHERS = 0.8
_TRY_AGAIN_SECONDS = 2.0
_TRY_AGAIN_BESIDE_OTHERS = 6.0
_LONGEST_PATIENCE = 60.0
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

    def expected(self, fraction: float) -> float | None:
        """Milliseconds of a branch that takes this share of the full branch's MACs, by those of its neighbours."""
        if not self.milliseconds:
            return None
        right = bisect.bisect_left(self.fractions, fraction)
        if right == len(self.fractions) or right == 0 or self.fractions[right] == fraction:
            return self.milliseconds[min(right, len(self.milliseconds) - 1)]
        (one, other), (first, second) = self.fractions[right - 1 : right + 1], self.milliseconds[right - 1 : right + 1]
        return first + (second - first) * (fraction - one) / (other - one)

    def dearest(self, fits: Callable[[float], bool], otherwise: float | None = None) -> float:
        """The smallest budget for the dearest branch whose time `fits`, as those of all cheaper ones do.

        Where none does, `otherwise`, or the floor.
        """
        fitting = bisect.bisect_left(self.milliseconds, True, key=lambda time: not fits(time))
        if fitting:
            return math.ceil(self.fractions[fitting - 1] * BUDGET_STEPS - _ROUNDING) / BUDGET_STEPS
        return self.floor if otherwise is None else otherwise


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
    MACs. patience: seconds after which a budget that the deadline has cut may rise again.
    """

    ceiling: float = 1.0
    rule: LimitedBy = "maximum"
    at: float | None = None
    above_for: float = 0.0
    outcomes: tuple[Outcome, ...] = ()
    load: float = 0.0
    interval: float | None = None
    savings: float = 0.0
    patience: float = _TRY_AGAIN_SECONDS


def next_budget(
    state: ControllerState, signals: Signals, policy: Policy, costs: Costs, now: float
) -> tuple[Budget, ControllerState]:
    """The budget of the next frame, and the state to come with next time. now: monotonic seconds.

    The lowest rule binds; of equally low ones the first of: maximum, motion, mean, the ceilings. What motion asks
    for is given at once. What a ceiling cuts is cut at once; it comes back after the policy's `hold_seconds`, at
    `rise_per_second`, meanwhile limited by `recovery`. No budget is below the policy's minimum or the cheapest branch.
    """
    elapsed = 0.0 if state.at is None else max(0.0, now - state.at)
    state = _under_load(replace(state, at=now, interval=_smoothed(state, elapsed)), contention(signals) or 0.0)
    state, rule = _with_ceiling(state, _ceilings(state, signals, policy, costs), policy, elapsed)
    rules: list[tuple[float, LimitedBy]] = [(policy.budget.maximum, "maximum")]
    if policy.motion is not None and signals.motion is not None:
        rules.append((policy.motion.at(signals.motion), "motion"))
    if (allowed := allowed_by_mean(state.savings, policy)) is not None:
        rules.append((allowed, "mean"))
    rules.append((state.ceiling, rule))
    fraction, limited_by = min(rules, key=lambda rule: rule[0])
    lowest = max(policy.budget.minimum, costs.floor)
    if fraction < lowest:
        fraction, limited_by = lowest, "minimum"
    steps = max(math.floor(fraction * BUDGET_STEPS + _ROUNDING), math.ceil(costs.floor * BUDGET_STEPS))
    rounded = steps / BUDGET_STEPS
    return Budget(rounded, limited_by), state


def _under_load(state: ControllerState, load: float) -> ControllerState:
    """The state without the times of frames under another load; the budget it was cut to need not wait for long."""
    if load < state.load - _OTHER_LOAD:
        return replace(state, outcomes=(), load=load, rule="recovery", patience=_TRY_AGAIN_SECONDS)
    if load > state.load + _OTHER_LOAD:
        return replace(state, outcomes=(), load=load, patience=_TRY_AGAIN_SECONDS)
    return replace(state, load=max(state.load, load))


def _smoothed(state: ControllerState, elapsed: float) -> float | None:
    if state.at is None:
        return None
    return elapsed if state.interval is None else state.interval + _INTERVAL_SMOOTHING * (elapsed - state.interval)


@dataclass(frozen=True, slots=True)
class _Ceiling:
    """The most that a rule allows; what a higher budget is cut to, and how far a lower one may rise."""

    allows: float
    sets: float
    rule: LimitedBy


def _ceilings(state: ControllerState, signals: Signals, policy: Policy, costs: Costs) -> Iterator[_Ceiling]:
    yield _Ceiling(1.0, 1.0, "maximum")
    measured: tuple[tuple[LimitedBy, float | None], ...] = (
        ("contention", contention(signals)),
        ("power", signals.power_fraction),
        ("heat", signals.temperature_celsius),
    )
    for name, signal in measured:
        rule = getattr(policy, name)
        if rule is not None and signal is not None:
            yield _Ceiling(rule.at(signal), rule.at(signal), name)
    if costs.milliseconds:
        yield from _ceilings_by_time(state, policy, costs)


def _ceilings_by_time(state: ControllerState, policy: Policy, costs: Costs) -> Iterator[_Ceiling]:
    """What the deadline and the granted share allow, by how long the recent frames took."""
    if policy.deadline is not None:
        deadline, misses = policy.deadline.milliseconds, 1 - policy.deadline.quantile
        aim = deadline * (_SPARE_BESIDE_OTHERS if state.load > _OTHER_LOAD else 1.0)
        yield _Ceiling(
            costs.dearest(lambda time: _quantile_along(state, time, 1 - _MISSES_TO_LEAVE * misses) <= deadline),
            costs.dearest(lambda time: _quantile_along(state, time, 1 - misses) <= aim),
            "deadline",
        )
    if policy.share is not None and state.interval:
        quiet = 1000 * state.interval * policy.share.busy / slowdown(state)
        granted = costs.dearest(lambda time: time <= quiet)
        yield _Ceiling(granted, granted, "share")


def slowdown(state: ControllerState) -> float:
    """How many times longer than expected forward passes take, by the recent ones."""
    slowdowns = [outcome.slowdown for outcome in state.outcomes[-_SLOWDOWN_FRAMES:]]
    return _quantile(slowdowns, 0.5, of=_SLOWDOWN_FRAMES, otherwise=1.0)


def _quantile_along(state: ControllerState, expected: float, quantile: float) -> float:
    """Milliseconds within which this share of the recent frames would have been answered along another branch.

    expected: what that branch should take. A hiccup met along a cheap branch would have come along a dear one too, and
    is added to its longer time; one met along a dear branch came of its length, and shrinks with it.
    """
    slower = slowdown(state)
    times = [
        outcome.around
        + (
            outcome.forward * expected / outcome.expected
            if expected <= outcome.expected
            else outcome.forward + slower * (expected - outcome.expected)
        )
        for outcome in state.outcomes
    ]
    return _quantile(times, quantile, of=_FEWEST_FRAMES, otherwise=slower * expected)


def _with_ceiling(
    state: ControllerState, ceilings: Iterable[_Ceiling], policy: Policy, elapsed: float
) -> tuple[ControllerState, LimitedBy]:
    """The state with its ceiling moved towards what is allowed, and the rule that holds it where it is."""
    ceilings = tuple(ceilings)
    exceeded = [ceiling for ceiling in ceilings if ceiling.allows < state.ceiling]
    lowest = min(exceeded or ceilings, key=lambda ceiling: ceiling.sets)
    if exceeded:
        patience = state.patience
        if lowest.rule == "deadline" and state.load > _OTHER_LOAD:
            patience = min(_LONGEST_PATIENCE, max(_TRY_AGAIN_BESIDE_OTHERS, 2 * patience))
        return replace(state, ceiling=lowest.sets, rule=lowest.rule, above_for=0.0, patience=patience), lowest.rule
    rise = lowest.sets - state.ceiling
    if rise <= 0 or (lowest.sets < policy.budget.maximum and rise < _DEADBAND):
        return replace(state, above_for=0.0), state.rule
    above_for = state.above_for + elapsed
    patience = max(policy.budget.hold_seconds, state.patience if state.rule == "deadline" else 0.0)
    rising_for = min(elapsed, max(0.0, above_for - patience))
    ceiling = min(lowest.sets, state.ceiling + policy.budget.rise_per_second * rising_for)
    if ceiling == lowest.sets:
        return replace(state, ceiling=ceiling, rule=lowest.rule, above_for=0.0), lowest.rule
    return replace(state, ceiling=ceiling, above_for=above_for), "recovery"


def _quantile(values: Sequence[float], quantile: float, *, of: int, otherwise: float) -> float:
    """Of at least so many frames; those that have not been yet count `otherwise`, as a frame that takes what it should.

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
    return replace(state, savings=settled(state.savings, policy, allowed, taken))


def second_look(state: ControllerState, policy: Policy, costs: Costs, spent_ms: float) -> Budget | None:
    """What may be spent on a better look at a still picture whose answer is out; None where nothing may.

    spent_ms: since the frame was captured. The other rules were kept when it was answered; a second look is paid by
    what still frames have saved, so that the mean stays within theirs, and is over before the next frame is due.
    """
    if policy.second_look is None or not costs.milliseconds or not state.interval:
        return None
    left = 1000 * state.interval - spent_ms
    rules: tuple[tuple[float, LimitedBy], ...] = (
        (policy.budget.maximum, "maximum"),
        (state.savings, "savings"),
        (
            costs.dearest(
                lambda expected: _quantile_along(state, expected, _SECOND_LOOK_QUANTILE) <= left, otherwise=0.0
            ),
            "deadline",
        ),
    )
    fraction, limited_by = min(rules, key=lambda rule: rule[0])
    rounded = math.floor(fraction * BUDGET_STEPS + _ROUNDING) / BUDGET_STEPS
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
