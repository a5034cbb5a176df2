"""Second looks: better answers for a still picture whose first answer is published."""

from adainf.control.controller import Budget, ControllerState, LimitedBy
from adainf.control.costs import Costs, rounded_down
from adainf.control.lateness import Forecast
from adainf.control.policy import Policy
from adainf.schedulers import Choice

__all__ = ["second_look", "worth_a_second_look"]

# A second look that overruns makes the next frame late.
_QUANTILE = 0.95
_WAYS_ROUND = 2


def second_look(state: ControllerState, policy: Policy, costs: Costs, spent_ms: float) -> Budget | None:
    """Return the budget of a second look at a still picture whose answer is published; None where none is affordable.

    spent_ms: since the frame was captured. The other rules were applied to the first answer. A second look is paid for
    by what still frames have saved, so the mean stays within those rules, and ends before the next frame is due.
    """
    if policy.second_look is None or not costs.milliseconds or not state.interval:
        return None
    left = 1000 * state.interval - spent_ms
    forecast = Forecast.of(state.outcomes, 1000 * state.interval)
    rules: tuple[tuple[float, LimitedBy], ...] = (
        (policy.budget.maximum, "maximum"),
        (state.savings, "savings"),
        (costs.dearest(lambda expected: forecast.within(expected, _QUANTILE) <= left, otherwise=0.0), "deadline"),
    )
    fraction, limited_by = min(rules, key=lambda rule: rule[0])
    rounded = rounded_down(fraction)
    return Budget(rounded, limited_by) if rounded >= costs.cheapest else None


def worth_a_second_look(policy: Policy, choice: Choice, last: Choice, looks_here: int) -> bool:
    """Return whether `choice` may improve on the branch that ran last on a still picture, `looks_here` times so far.

    A dearer branch may, and so may the same branch once it sees the picture mirrored.
    """
    both_ways = policy.evidence is not None and policy.evidence.mirrored
    return choice.macs_fraction > last.macs_fraction or (choice == last and both_ways and looks_here < _WAYS_ROUND)
