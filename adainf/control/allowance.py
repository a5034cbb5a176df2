"""The one account of what frames may take: it earns with every frame, pays for every branch, and holds so much at most.

Under a mean budget a frame earns the mean; without one, what its budget allowed, of which still frames take nothing.
Shares are of the full branch's MACs.
"""

from adainf.control.policy import Policy

__all__ = ["allowed_by_mean", "settled"]

# What is saved is spent over about so many frames: at once, one frame would have it all and the next ones the mean
# again; over many more, the scene that it was saved for has gone.
_SPREAD_OVER_FRAMES = 8


def allowed_by_mean(savings: float, policy: Policy) -> float | None:
    """What the mean budget allows the next frame, given these savings; None where the policy has no mean.

    Never more than would leave a debt, so that over any number of frames at most the mean times their number, and
    `mean_slack` once, is taken.
    """
    mean = policy.budget.mean
    return None if mean is None else max(0.0, mean + savings / _SPREAD_OVER_FRAMES)


def settled(savings: float, policy: Policy, allowed: float, taken: float) -> float:
    """The savings after a frame that was allowed and took so much; a second look is allowed nothing of its own."""
    mean, rule = policy.budget.mean, policy.second_look
    if mean is not None:
        # A cheapest branch above the mean makes a debt that nothing can pay; it is not held against later frames.
        slack = policy.budget.mean_slack
        return min(slack, max(-slack, savings + (mean if allowed else 0.0) - taken))
    if rule is None:
        return 0.0
    return min(rule.savings, max(0.0, savings + allowed - taken))
