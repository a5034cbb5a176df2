"""The controller: a pure function from signals, state and time to a budget and the rule that set it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from adainf.control.allowance import allowed_by_mean, settled
from adainf.control.costs import Costs, rounded_down
from adainf.control.lateness import Forecast, Outcome, along, slowdown, telling, too_often_late
from adainf.control.policy import DeadlineRule, Policy
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
# After a change of load beyond this, earlier frames say nothing of the next ones.
_OTHER_LOAD = 0.25
# From fewer frames a forecast is too noisy to tell one branch from the next.
_FEWEST_FRAMES = 16
# The forecast's noise must not make the budget swing: a branch is left when its frames are expected this much beyond
# the deadline, and once the memory is full, a dearer one is risen to when they are expected within so much of it.
_LEAVE_BEYOND, _RISE_WITHIN = 1.1, 0.9
# A branch that was late is tried again: soon on an idle box, where whatever made frames late passes. Beside others an
# attempt that fails makes about three frames late, 0.6 % of those until the next one, and doubles the wait.
_TRY_AGAIN_SECONDS = 2.0
_TRY_AGAIN_BESIDE_OTHERS = 20.0
_LONGEST_PATIENCE = 60.0
_SMOOTHING = 0.1


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
    cut it; settled: the ceiling before it began to rise. above_for: seconds for which the ceilings have allowed more.
    outcomes: of recent frames that ran a branch; load: the contention meanwhile. interval: smoothed seconds between
    frames. savings: what frames were allowed and did not spend, in full branches' MACs. barred_above: branches dearer
    than this budget were late and are not tried again until `barred_until`, monotonic seconds; patience: for so long.
    trying: whether the ceiling has risen to such a branch.
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
    settled: float = 1.0
    barred_above: float = 1.0
    barred_until: float = 0.0
    trying: bool = False


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
    """Return the state; under another load, without what was learned before. A load that has gone allows recovery."""
    if abs(load - state.load) <= _OTHER_LOAD:
        return replace(state, load=state.load + _SMOOTHING * (load - state.load))
    rule = "recovery" if load < state.load else state.rule
    patience = _TRY_AGAIN_BESIDE_OTHERS if load > _OTHER_LOAD else 0.0  # nothing is known of a load that has come
    until = (state.at or 0.0) + patience
    fresh = replace(state, patience=_TRY_AGAIN_SECONDS, barred_above=1.0, barred_until=until, trying=False)
    return replace(fresh, outcomes=(), load=load, rule=rule)


def _smoothed(state: ControllerState, elapsed: float) -> float | None:
    if state.at is None:
        return None
    return elapsed if state.interval is None else state.interval + _SMOOTHING * (elapsed - state.interval)


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
        yield _deadline(state, policy.deadline, costs)
    if policy.share is not None and state.interval:
        quiet = 1000 * state.interval * policy.share.busy / slowdown(state.outcomes)
        granted = costs.dearest(lambda time: time <= quiet)
        yield _Ceiling(granted, granted, "share")


def _deadline(state: ControllerState, rule: DeadlineRule, costs: Costs) -> _Ceiling:
    """Return the deadline's ceiling: a branch's own frames end it, a forecast from all of them leads to the next."""
    deadline, quantile = rule.milliseconds, rule.quantile
    outcomes = telling(state.outcomes, costs.milliseconds[0], deadline)
    forecast = Forecast.of(outcomes, deadline)
    own = along(outcomes, costs.within(state.ceiling))
    proven = len(own) >= _FEWEST_FRAMES and any(outcome.total > deadline for outcome in own)
    known = forecast if proven else Forecast()
    limit = costs.dearest(
        lambda time: (
            known.within(time, quantile) <= _LEAVE_BEYOND * deadline
            and not too_often_late(outcomes, time, deadline, 1 - quantile)
        )
    )
    learning = limit < state.ceiling or len(state.outcomes) < _REMEMBERED_FRAMES
    aim = deadline if learning else _RISE_WITHIN * deadline
    target = costs.dearest(lambda time: forecast.within(time, quantile) <= aim)
    if len(state.outcomes) < _FEWEST_FRAMES and state.load > _OTHER_LOAD:
        target = min(target, state.ceiling)
    if state.barred_above < 1.0 or state.rule == "deadline":
        waiting = state.at is not None and state.at < state.barred_until
        target = min(target, state.barred_above) if waiting else max(target, costs.above(state.settled + _DEADBAND))
    return _Ceiling(limit, min(limit, target), "deadline")


def _with_ceiling(
    state: ControllerState, ceilings: Iterable[_Ceiling], policy: Policy, elapsed: float
) -> tuple[ControllerState, LimitedBy]:
    """Return the state with its ceiling moved towards what the rules allow, and the rule that now holds it."""
    ceilings = tuple(ceilings)
    exceeded = [ceiling for ceiling in ceilings if ceiling.limit < state.ceiling]
    lowest = min(exceeded or ceilings, key=lambda ceiling: ceiling.target)
    if exceeded:
        state = replace(state, ceiling=lowest.target, settled=lowest.target, rule=lowest.rule, above_for=0.0)
        return (_barred(state, lowest.limit) if lowest.rule == "deadline" else state), lowest.rule
    noise = lowest.target < policy.budget.maximum and lowest.target - state.settled < _DEADBAND
    if noise or lowest.target <= state.ceiling:
        return replace(state, settled=state.ceiling, above_for=0.0), state.rule
    above_for = state.above_for + elapsed
    rising_for = min(elapsed, max(0.0, above_for - policy.budget.hold_seconds))
    ceiling = min(lowest.target, state.ceiling + policy.budget.rise_per_second * rising_for)
    if ceiling < lowest.target:
        return replace(state, ceiling=ceiling, above_for=above_for), "recovery"
    state = replace(state, ceiling=ceiling, settled=ceiling, rule=lowest.rule, above_for=0.0)
    if ceiling > state.barred_above:  # the next dearer branch is tried once this one has stood for as long
        until = (state.at or 0.0) + state.patience
        state = replace(state, barred_above=ceiling, barred_until=until, trying=True)
    return state, lowest.rule


def _barred(state: ControllerState, limit: float) -> ControllerState:
    """Return the state after branches dearer than `limit` were late."""
    now, patience = state.at or 0.0, state.patience
    if state.load > _OTHER_LOAD:
        failed = state.trying and now < state.barred_until
        patience = min(_LONGEST_PATIENCE, max(_TRY_AGAIN_BESIDE_OTHERS, 2 * patience if failed else patience))
    return replace(state, barred_above=limit, barred_until=now + patience, patience=patience, trying=False)


def observe(state: ControllerState, outcome: Outcome) -> ControllerState:
    """Return the state with one more frame's outcome; only recent ones are kept."""
    return replace(state, outcomes=(*state.outcomes, outcome)[-_REMEMBERED_FRAMES:])


def spend(state: ControllerState, policy: Policy, allowed: float, taken: float) -> ControllerState:
    """Return the state after a frame was allowed and spent these shares of the full branch's MACs; the rest is saved.

    A second look is allowed 0: the savings pay for it.
    """
    return replace(state, savings=settled(state.savings, policy, allowed, taken))
