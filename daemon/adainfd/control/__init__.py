"""From signals to budgets: a policy is data, the controller is a pure function of it."""

from adainfd.control.controller import Budget, ControllerState, next_budget, observe, spend
from adainfd.control.costs import Costs
from adainfd.control.lateness import Outcome
from adainfd.control.policy import Policy
from adainfd.control.reuse import may_reuse
from adainfd.control.second_look import second_look, worth_a_second_look
from adainfd.control.signals import Signals

__all__ = [
    "Budget",
    "ControllerState",
    "Costs",
    "Outcome",
    "Policy",
    "Signals",
    "may_reuse",
    "next_budget",
    "observe",
    "second_look",
    "spend",
    "worth_a_second_look",
]
