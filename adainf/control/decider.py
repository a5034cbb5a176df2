"""One view's decisions, from a frame that is due until its outcome is known.

The daemon, `adainfd replay` and `adainf.AdaptiveModel` all decide through `Decider`, so a new rule is a single edit.

>>> decider = Decider(policy)
>>> request = decider.request(signals, None, None, table, costs, now=0.0)
>>> request = decider.cut(request, 0.5, table)       # other views need the rest
>>> if not request.reuses: ...                        # run request.choice, and time it
>>> decider.settle(request, Ran(request.choice, forward_ms=12.0, around_ms=1.5, expected_ms=11.0))
"""

from dataclasses import dataclass, field, replace

from adainf.control.controller import Budget, ControllerState, next_budget, observe, spend
from adainf.control.costs import Costs
from adainf.control.lateness import Outcome
from adainf.control.policy import Policy
from adainf.control.reuse import may_reuse
from adainf.control.second_look import second_look, worth_a_second_look
from adainf.control.signals import Signals
from adainf.schedulers import Choice, LookupTable

__all__ = ["Decider", "Ran", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """The decision about a frame before anything runs.

    choice: the lookup table's branch within `budget`. reuses: whether the last answer stands for the frame. age, lead:
    seconds since the last answer's picture was captured, and that answer's margin between its best two labels; None
    before the first answer. granted: the budget left by other views; None where they imposed no limit. controller: the
    state that takes effect when the request is settled.
    """

    signals: Signals
    budget: Budget
    choice: Choice
    reuses: bool
    age: float | None
    lead: float | None
    controller: ControllerState
    granted: float | None = None


@dataclass(frozen=True, slots=True)
class Ran:
    """A branch that ran: milliseconds of its forward pass, and of everything else from capture to publishing.

    expected_ms: the measured time of all branches that ran in the same round; None where times are unknown.
    """

    choice: Choice
    forward_ms: float
    around_ms: float
    expected_ms: float | None


@dataclass(slots=True)
class Decider:
    """Decisions about the frames of one view, in sequence.

    last: the branch that ran last; looks_here: how often it has run on the current picture.
    """

    policy: Policy
    controller: ControllerState = field(default_factory=ControllerState)
    last: Choice | None = None
    looks_here: int = 0

    def request(
        self, signals: Signals, age: float | None, lead: float | None, table: LookupTable, costs: Costs, now: float
    ) -> Request:
        """Return a frame's budget, as if its view were alone, and how to spend it. now: monotonic seconds.

        age, lead: of the last answer, as in `Request`. Nothing changes until the request is settled.
        """
        budget, controller = next_budget(self.controller, signals, self.policy, costs, now)
        choice = table.choose(budget.fraction)
        reuses = self._reuses(signals, age, lead, choice)
        return Request(signals, budget, choice, reuses, age, lead, controller)

    def cut(self, request: Request, granted: float | None, table: LookupTable) -> Request:
        """Return the request cut to the budget that other views leave; None or a higher budget changes nothing."""
        if granted is None or granted >= request.budget.fraction:
            return request
        choice = table.choose(granted)
        reuses = self._reuses(request.signals, request.age, request.lead, choice)
        return replace(request, budget=Budget(granted, "cameras"), choice=choice, reuses=reuses, granted=granted)

    def settle(self, request: Request, ran: Ran | None) -> None:
        """Record how a frame was answered; ran: None where the last answer was reused."""
        spent = 0.0 if ran is None else ran.choice.macs_fraction
        self.controller = spend(_observed(request.controller, ran), self.policy, request.budget.fraction, spent)
        if ran is not None:
            self.last, self.looks_here = ran.choice, 1

    def better_look(self, table: LookupTable, costs: Costs, spent_ms: float) -> tuple[Budget, Choice] | None:
        """Return the second look for a still picture whose answer is published; None where it deserves none.

        spent_ms: since the frame was captured.
        """
        if self.last is None:
            return None
        budget = second_look(self.controller, self.policy, costs, spent_ms)
        if budget is None:
            return None
        choice = table.choose(budget.fraction)
        worth_it = worth_a_second_look(self.policy, choice, self.last, self.looks_here)
        return (budget, choice) if worth_it else None

    def settle_better_look(self, ran: Ran) -> None:
        """Record a second look. It is allowed 0: the savings pay for it."""
        self.controller = spend(_observed(self.controller, ran), self.policy, 0.0, ran.choice.macs_fraction)
        self.looks_here = self.looks_here + 1 if ran.choice == self.last else 1
        self.last = ran.choice

    def _reuses(self, signals: Signals, age: float | None, lead: float | None, choice: Choice) -> bool:
        if self.last is None or age is None or lead is None:
            return False
        return may_reuse(signals, self.policy, age, lead, self.last.macs_fraction, choice.macs_fraction)


def _observed(controller: ControllerState, ran: Ran | None) -> ControllerState:
    if ran is None or ran.expected_ms is None:
        return controller
    return observe(controller, Outcome(ran.expected_ms, ran.forward_ms, ran.around_ms))
