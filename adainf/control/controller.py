"""The controller: a pure function from signals, state and time to a budget and the rule that set it."""

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

# A ceiling that would rise by less than this stays put: the difference is signal noise.
_DEADBAND = 0.05
_REMEMBERED_FRAMES = 96
# A change of load beyond this makes the recorded frame times useless for predicting the next ones.
_OTHER_LOAD = 0.25
# A budget that oscillates under steady load is useless, so the deadline's ceiling has hysteresis. A branch is left only
# after this many times the misses that the policy tolerates; under contention, the next one must be expected to meet
# the deadline with some of it to spare. A dearer branch is tried again after a delay: soon on an idle box, where
# whatever made frames late passes; later under contention, and twice as late after each attempt that was too early.
_MISSES_TO_LEAVE = 2.0
_SPARE_BESIDE_OTHERS = 0.8
_TRY_AGAIN_SECONDS = 2.0
_TRY_AGAIN_BESIDE_OTHERS = 6.0
_LONGEST_PATIENCE = 60.0
_INTERVAL_SMOOTHING = 0.1


@dataclass(frozen=True, slots=True)
class Budget:
    """The largest fraction of the full branch's MACs that a frame may spend, and the rule that set it.

    >>> answer = model(picture)
    >>> if answer.budget.limited_by == "contention":
    ...     print(f"another program leaves {answer.budget.fraction:.0%} of the compute")
    """

    fraction: float
    limited_by: LimitedBy


@dataclass(frozen=True, slots=True)
class ControllerState:
    """The controller's state for one camera.

    at: time of the last decision, monotonic seconds. ceiling, rule: the ceiling after hysteresis, and the rule that
    cut it. above_for: seconds for which the ceilings have allowed more. outcomes: of recent frames that ran a branch;
    load: the highest contention meanwhile. interval: smoothed seconds between frames. savings: what frames were
    allowed and did not spend, in full branches' MACs. patience: seconds before a budget cut by the deadline may rise.
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
    """Return the budget of the next frame and the state to pass in next time. now: monotonic seconds.

    The lowest rule binds; among equals, the first of maximum, motion, mean, the ceilings. Motion's demand is granted
    at once. A ceiling's cut takes effect at once; the budget recovers after the policy's `hold_seconds`, at
    `rise_per_second`, limited by `recovery` meanwhile. No budget is below the policy's minimum or the cheapest branch.
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
    """Return the state without frame times from another load; a budget cut under that load soon recovers."""
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
    """A rule's ceiling. limit: budgets above it are cut. target: what they are cut to, and how far lower ones rise."""

    limit: float
    target: float
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
    """Yield the ceilings of the deadline and the granted share, from how long recent frames took."""
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
    """Return the state with its ceiling moved towards what the rules allow, and the rule that now holds it."""
    ceilings = tuple(ceilings)
    exceeded = [ceiling for ceiling in ceilings if ceiling.limit < state.ceiling]
    lowest = min(exceeded or ceilings, key=lambda ceiling: ceiling.target)
    if exceeded:
        patience = state.patience
        if lowest.rule == "deadline" and state.load > _OTHER_LOAD:
            patience = min(_LONGEST_PATIENCE, max(_TRY_AGAIN_BESIDE_OTHERS, 2 * patience))
        return replace(state, ceiling=lowest.target, rule=lowest.rule, above_for=0.0, patience=patience), lowest.rule
    rise = lowest.target - state.ceiling
    if rise <= 0 or (lowest.target < policy.budget.maximum and rise < _DEADBAND):
        return replace(state, above_for=0.0), state.rule
    above_for = state.above_for + elapsed
    patience = max(policy.budget.hold_seconds, state.patience if state.rule == "deadline" else 0.0)
    rising_for = min(elapsed, max(0.0, above_for - patience))
    ceiling = min(lowest.target, state.ceiling + policy.budget.rise_per_second * rising_for)
    if ceiling == lowest.target:
        return replace(state, ceiling=ceiling, rule=lowest.rule, above_for=0.0), lowest.rule
    return replace(state, ceiling=ceiling, above_for=above_for), "recovery"


def observe(state: ControllerState, outcome: Outcome) -> ControllerState:
    """Return the state with one more frame's outcome; only recent ones are kept."""
    return replace(state, outcomes=(*state.outcomes, outcome)[-_REMEMBERED_FRAMES:])


def spend(state: ControllerState, policy: Policy, allowed: float, taken: float) -> ControllerState:
    """Return the state after a frame was allowed and spent these shares of the full branch's MACs; the rest is saved.

    A second look is allowed 0: the savings pay for it.
    """
    return replace(state, savings=settled(state.savings, policy, allowed, taken))
