"""A mean budget: what frames leave is saved for others, and no number of them takes more than mean and slack."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adainf.control import ControllerState, Costs, Policy, Signals, next_budget, second_look, spend
from adainf.control.policy import Budgets, SecondLookRule

COSTS = Costs((0.1, 0.3, 0.5, 0.9), (1.0, 3.0, 5.0, 9.0))


def policy(mean: float, slack: float = 4.0, **rules: object) -> Policy:
    return Policy.model_validate({"budget": {"minimum": 0.1, "mean": mean, "mean_slack": slack}, **rules})


def branch(budget: float) -> float:
    """What the dearest branch within `budget` takes."""
    return max(fraction for fraction in COSTS.fractions if fraction <= budget)


frames = st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["run", "reuse", "reuse and look again"])), max_size=120)


@given(frames, st.floats(0.1, 1), st.floats(0.1, 6))
def test_no_number_of_frames_takes_more_than_the_mean_and_the_slack(
    seen: list[tuple[float, str]], mean: float, slack: float
) -> None:
    rules = policy(mean, slack, motion={"curve": [[0.0, 0.3], [0.5, 1.0]]}, second_look={"savings": 2.0})
    state = ControllerState()
    taken = []
    for number, (motion, what) in enumerate(seen):
        budget, state = next_budget(state, Signals(motion=motion), rules, COSTS, number * 0.1)
        share = branch(budget.fraction) if what == "run" else 0.0
        state = spend(state, rules, budget.fraction, share)
        if what == "reuse and look again" and (better := second_look(state, rules, COSTS, 1.0)) is not None:
            state = spend(state, rules, 0.0, branch(better.fraction))
            share += branch(better.fraction)
        taken.append(share)
        assert state.savings >= -1e-9
    sums = [0.0, *itertools.accumulate(taken)]
    for start, end in itertools.combinations(range(len(sums)), 2):
        assert sums[end] - sums[start] <= mean * (end - start) + slack + 1e-9


@pytest.mark.parametrize("mean", [0.15, 0.4, 0.62, 0.85])
def test_what_is_allowed_on_average_is_used(mean: float) -> None:
    """Between two branches they are mixed, and the message says why."""
    state, rules, taken, reasons = ControllerState(), policy(mean), 0.0, set()
    for number in range(400):
        budget, state = next_budget(state, Signals(), rules, COSTS, number * 0.1)
        state = spend(state, rules, budget.fraction, branch(budget.fraction))
        taken += branch(budget.fraction)
        reasons.add(budget.limited_by)
    assert taken / 400 == pytest.approx(mean, abs=0.02)
    assert reasons == {"mean"}


def test_still_frames_pay_for_those_that_move() -> None:
    state, rules = ControllerState(), policy(0.3)
    for number in range(30):
        budget, state = next_budget(state, Signals(), rules, COSTS, number * 0.1)
        state = spend(state, rules, budget.fraction, 0.0)
    budget, _ = next_budget(state, Signals(), rules, COSTS, 3.0)
    assert budget.fraction > 0.75


def test_ceilings_hold_beside_the_mean() -> None:
    rules = policy(0.5, contention={"curve": [[0.0, 1.0], [0.5, 0.2]]})
    state = ControllerState(savings=4.0)
    busy = Signals(cpu_foreign=0.9)
    budget, _ = next_budget(state, busy, rules, COSTS, 0.0)
    assert (budget.fraction, budget.limited_by) == (0.2, "contention")


def test_a_mean_that_the_cheapest_branch_exceeds_is_not_held_against_later_frames() -> None:
    rules = policy(0.1)
    dear = Costs((0.4, 0.9))
    state = ControllerState()
    for number in range(500):
        budget, state = next_budget(state, Signals(), rules, dear, number * 0.1)
        state = spend(state, rules, budget.fraction, 0.4)
        assert (budget.fraction, budget.limited_by) == (0.4, "minimum")
    assert state.savings >= -4


def test_a_mean_below_the_minimum_is_refused() -> None:
    with pytest.raises(ValidationError, match="must not be above mean"):
        Budgets(minimum=0.4, mean=0.3)
    assert Budgets(minimum=0.3, mean=0.3).mean == 0.3


def test_savings_without_a_mean_are_as_they_were() -> None:
    rules = Policy(second_look=SecondLookRule(savings=2.0))
    assert spend(ControllerState(savings=1.9), rules, 0.5, 0.1).savings == 2.0
    assert spend(ControllerState(savings=1.9), Policy(), 0.5, 0.1).savings == 0.0
