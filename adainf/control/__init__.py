"""Turn signals into budgets: a policy is data, and the controller is a pure function of it."""

from adainf.control.controller import Budget, ControllerState, next_budget, observe, spend
from adainf.control.costs import Costs
from adainf.control.decider import Decider, Ran, Request
from adainf.control.lateness import Outcome
from adainf.control.policy import Policy
from adainf.control.reuse import may_reuse
from adainf.control.second_look import second_look, worth_a_second_look
from adainf.control.signals import Signals

__all__ = [
    "Budget",
    "ControllerState",
    "Costs",
    "Decider",
    "Outcome",
    "Policy",
    "Ran",
    "Request",
    "Signals",
    "may_reuse",
    "next_budget",
    "observe",
    "second_look",
    "spend",
    "worth_a_second_look",
]
