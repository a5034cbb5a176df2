"""From signals to budgets: a policy is data, the controller is a pure function of it."""

from adainfd.control.controller import Budget, ControllerState, Signals, next_budget
from adainfd.control.policy import Policy

__all__ = ["Budget", "ControllerState", "Policy", "Signals", "next_budget"]
