"""The controller: signals, what it remembers and the time, in; a budget and the rule that set it, out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from adainf.control.allowance import allowed_by_mean, settled
from adainf.control.costs import Costs, rounded_down
from adainf.control.lateness import Outcome, quantile_along, slowdown
from adainf.control.policy import Policy
from adainf.control.signals import Signals, contention

__all__ = ["Budget", "ControllerState", "LimitedBy", "next_budget", "observe", "spend"]

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

# A ceiling that rises by less than this is noise of its signal, and left where it is.
_DEADBAND = 0.05
_REMEMBERED_FRAMES = 96
# How long frames took under another load says nothing of those to come.
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


@dataclass(frozen=True, slots=True)
class Budget:
    """The largest fraction of the full branch's MACs allowed for a frame, and the rule that set it."""

    fraction: float
    limited_by: LimitedBy


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
    if (allowed := allowed_by_mean(state.savings, policy.budget)) is not None:
        rules.append((allowed, "mean"))
    rules.append((state.ceiling, rule))
    fraction, limited_by = min(rules, key=lambda rule: rule[0])
    lowest = max(policy.budget.minimum, costs.cheapest)
    if fraction < lowest:
        fraction, limited_by = lowest, "minimum"
    return Budget(max(rounded_down(fraction), costs.smallest_budget), limited_by), state


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
            costs.dearest(lambda time: quantile_along(state.outcomes, time, 1 - _MISSES_TO_LEAVE * misses) <= deadline),
            costs.dearest(lambda time: quantile_along(state.outcomes, time, 1 - misses) <= aim),
            "deadline",
        )
    if policy.share is not None and state.interval:
        quiet = 1000 * state.interval * policy.share.busy / slowdown(state.outcomes)
        granted = costs.dearest(lambda time: time <= quiet)
        yield _Ceiling(granted, granted, "share")


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


def observe(state: ControllerState, outcome: Outcome) -> ControllerState:
    """The state after a branch took as long on a frame as `outcome` says."""
    return replace(state, outcomes=(*state.outcomes, outcome)[-_REMEMBERED_FRAMES:])


def spend(state: ControllerState, policy: Policy, allowed: float, taken: float) -> ControllerState:
    """The state after a frame was allowed and took these shares of the full branch's MACs; what is left is saved.

    A second look is allowed nothing more: what it takes comes from the savings.
    """
    return replace(state, savings=settled(state.savings, policy, allowed, taken))
