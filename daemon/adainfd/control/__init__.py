"""From signals to budgets: a policy is data, the controller is a pure function of it."""

from adainfd.control.controller import (
    Budget,
    ControllerState,
    Costs,
    Outcome,
    Signals,
    may_reuse,
    next_budget,
    observe,
    second_look,
    spend,
    worth_a_second_look,
)
from adainfd.control.policy import Policy

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
