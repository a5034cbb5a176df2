"""The one account of what frames may take: it earns with every frame, pays for every branch, and holds so much at most.

Under a mean budget a frame earns the mean; without one, what its budget allowed, of which still frames take nothing.
Shares are of the full branch's MACs.
"""

from adainf.control.policy import Budgets, Policy

__all__ = ["allowed_by_mean", "saved_under_mean", "settled"]

# What is saved is spent over about so many frames: at once, one frame would have it all and the next ones the mean
# again; over many more, the scene that it was saved for has gone.
_SPREAD_OVER_FRAMES = 8


def allowed_by_mean(savings: float, budget: Budgets) -> float | None:
    """What the mean budget allows the next frame, given these savings; None where there is no mean.

    Never more than would leave a debt, so that over any number of frames at most the mean times their number, and
    `mean_slack` once, is taken.
    """
    return None if budget.mean is None else max(0.0, budget.mean + savings / _SPREAD_OVER_FRAMES)


def saved_under_mean(savings: float, budget: Budgets, earned: float, taken: float) -> float:
    """The savings after a frame earned and took so much, within the slack of a mean budget."""
    # A cheapest branch above the mean makes a debt that nothing can pay; it is not held against later frames.
    return min(budget.mean_slack, max(-budget.mean_slack, savings + earned - taken))


def settled(savings: float, policy: Policy, allowed: float, taken: float) -> float:
    """The savings after a frame that was allowed and took so much; a second look is allowed nothing of its own."""
    mean, rule = policy.budget.mean, policy.second_look
    if mean is not None:
        return saved_under_mean(savings, policy.budget, mean if allowed else 0.0, taken)
    if rule is None:
        return 0.0
    return min(rule.savings, max(0.0, savings + allowed - taken))
