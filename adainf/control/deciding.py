"""The decisions about one frame of a view. The pipeline and replay both decide by these functions, and by no others."""

from dataclasses import dataclass, replace

from adainf.control.controller import Budget, ControllerState, next_budget, observe, spend
from adainf.control.costs import Costs
from adainf.control.lateness import Outcome
from adainf.control.policy import Policy
from adainf.control.reuse import may_reuse
from adainf.control.second_look import second_look, worth_a_second_look
from adainf.control.signals import Signals
from adainf.schedulers import Choice, LookupTable

__all__ = ["Ran", "Wish", "answered", "better_look", "looked_again", "stands", "wish"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a frame asks for: its budget, the lookup table's branch within it, and the controller's next state."""

    budget: Budget
    choice: Choice
    controller: ControllerState

    def cut(self, granted: float | None, table: LookupTable) -> "Wish":
        """The wish within what other cameras leave; None is all that was asked for."""
        if granted is None or granted >= self.budget.fraction:
            return self
        return replace(self, budget=Budget(granted, "cameras"), choice=table.choose(granted))


@dataclass(frozen=True, slots=True)
class Ran:
    """A look: along which branch, the milliseconds of its forward pass, and those from capture to publishing beside.

    expected_ms: what the forward pass should have taken, with all that ran together with it; None where unknown.
    """

    choice: Choice
    forward_ms: float
    around_ms: float
    expected_ms: float | None


def wish(
    controller: ControllerState, signals: Signals, policy: Policy, costs: Costs, table: LookupTable, now: float
) -> Wish:
    """What a frame asks for as if it were alone. now: monotonic seconds."""
    budget, controller = next_budget(controller, signals, policy, costs, now)
    return Wish(budget, table.choose(budget.fraction), controller)


def stands(
    signals: Signals, policy: Policy, last: Choice | None, age: float | None, lead: float | None, choice: Choice
) -> bool:
    """Whether the last answer stands for a frame that may run `choice`. last, age, lead: None before the first look."""
    if last is None or age is None or lead is None:
        return False
    return may_reuse(signals, policy, age, lead, last.macs_fraction, choice.macs_fraction)


def answered(controller: ControllerState, policy: Policy, budget: Budget, ran: Ran | None) -> ControllerState:
    """The state after a frame was answered within `budget`; ran: None where the last answer stood for it."""
    taken = 0.0 if ran is None else ran.choice.macs_fraction
    return spend(_observed(controller, ran), policy, budget.fraction, taken)


def better_look(
    controller: ControllerState,
    policy: Policy,
    costs: Costs,
    table: LookupTable,
    last: Choice,
    looks_here: int,
    spent_ms: float,
) -> tuple[Budget, Choice] | None:
    """The second look that a still picture deserves once its answer is out, None where none does.

    last: the branch that looked at it, `looks_here` times. spent_ms: since the frame was captured.
    """
    budget = second_look(controller, policy, costs, spent_ms)
    if budget is None:
        return None
    choice = table.choose(budget.fraction)
    return (budget, choice) if worth_a_second_look(policy, choice, last, looks_here) else None


def looked_again(controller: ControllerState, policy: Policy, ran: Ran) -> ControllerState:
    """The state after a second look, which is allowed nothing of its own: the savings pay for it."""
    return spend(_observed(controller, ran), policy, 0.0, ran.choice.macs_fraction)


def _observed(controller: ControllerState, ran: Ran | None) -> ControllerState:
    if ran is None or ran.expected_ms is None:
        return controller
    return observe(controller, Outcome(ran.expected_ms, ran.forward_ms, ran.around_ms))
