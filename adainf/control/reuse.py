"""Decide whether the last answer is reused for a frame."""

from adainf.control.policy import Policy
from adainf.control.signals import Signals

__all__ = ["may_reuse"]


def may_reuse(
    signals: Signals, policy: Policy, answer_age: float, lead: float, answered: float, affordable: float
) -> bool:
    """Return whether the last answer may be reused for this frame.

    answer_age: seconds since its picture was captured. lead: the margin of its best label over the next; the larger
    the margin, the less a small change overturns it. answered, affordable: shares of the full branch's MACs, of the
    branch that produced it and of the one the budget allows now; a better branch that has become affordable runs.
    """
    rule = policy.reuse
    return (
        rule is not None
        and signals.change is not None
        and signals.change <= rule.change + rule.change_by_lead * lead
        and answer_age <= rule.seconds
        and answered >= affordable
    )
