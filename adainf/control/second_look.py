"""A better look at a still picture whose answer is out."""

from adainf.control.controller import Budget, ControllerState, LimitedBy
from adainf.control.costs import Costs, rounded_down
from adainf.control.lateness import quantile_along
from adainf.control.policy import Policy
from adainf.schedulers import Choice

__all__ = ["second_look", "worth_a_second_look"]

# One that runs over makes the next frame late.
_QUANTILE = 0.95
_WAYS_ROUND = 2


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
            costs.dearest(lambda expected: quantile_along(state.outcomes, expected, _QUANTILE) <= left, otherwise=0.0),
            "deadline",
        ),
    )
    fraction, limited_by = min(rules, key=lambda rule: rule[0])
    rounded = rounded_down(fraction)
    return Budget(rounded, limited_by) if rounded >= costs.cheapest else None


def worth_a_second_look(policy: Policy, choice: Choice, last: Choice, looks_here: int) -> bool:
    """Whether `choice` may tell more of a still picture than the branch that looked at it last, `looks_here` times.

    A dearer branch does; the same one where it sees the picture mirrored.
    """
    both_ways = policy.evidence is not None and policy.evidence.mirrored
    return choice.macs_fraction > last.macs_fraction or (choice == last and both_ways and looks_here < _WAYS_ROUND)
