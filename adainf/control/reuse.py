"""Whether the last answer may stand for a frame."""

from adainf.control.policy import Policy
from adainf.control.signals import Signals

__all__ = ["may_reuse"]


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
