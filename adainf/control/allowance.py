"""The savings account: every frame earns, every branch that runs spends, and the balance is capped.

Under a mean budget a frame earns the mean. Without one it earns what its budget allowed; a still frame spends nothing.
Amounts are shares of the full branch's MACs.
"""

from adainf.control.policy import Budgets, Policy

__all__ = ["allowed_by_mean", "saved_under_mean", "settled"]

# Savings are spent over about this many frames. Spent at once, one frame would get everything and the next ones the
# mean again; spread over many more, the scene that deserved them would be gone.
_SPREAD_OVER_FRAMES = 8


def allowed_by_mean(savings: float, budget: Budgets) -> float | None:
    """Return what the mean budget allows the next frame with these savings; None without a mean budget.

    The allowance never leaves a debt, so any number of frames spend at most that number times the mean, plus
    `mean_slack` once.
    """
    return None if budget.mean is None else max(0.0, budget.mean + savings / _SPREAD_OVER_FRAMES)


def saved_under_mean(savings: float, budget: Budgets, earned: float, taken: float) -> float:
    """Return the savings after a frame earned and spent these shares, within the slack of the mean budget."""
    # Where the cheapest branch exceeds the mean, the debt could never be repaid; the cap stops it from growing.
    return min(budget.mean_slack, max(-budget.mean_slack, savings + earned - taken))


def settled(savings: float, policy: Policy, allowed: float, taken: float) -> float:
    """Return the savings after a frame was allowed and spent these shares. A second look is allowed 0."""
    mean, rule = policy.budget.mean, policy.second_look
    if mean is not None:
        return saved_under_mean(savings, policy.budget, mean if allowed else 0.0, taken)
    if rule is None:
        return 0.0
    return min(rule.savings, max(0.0, savings + allowed - taken))
