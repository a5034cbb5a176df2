import itertools
import random
import time

import pytest
from adainfd.control import ControllerState, Policy, Signals, next_budget
from adainfd.control.policy import Budgets, ContentionRule, MotionRule
from hypothesis import given
from hypothesis import strategies as st

ROUNDING = 1.01e-4
"""Budgets are told in ten-thousandths."""

POLICY = Policy(
    budget=Budgets(maximum=0.9, minimum=0.2, rise_per_second=0.5),
    motion=MotionRule(curve=((0.0, 0.4), (0.1, 1.0))),
    contention=ContentionRule(curve=((0.2, 1.0), (0.6, 0.3))),
)
FREE = ControllerState()


@pytest.mark.parametrize(
    ("signals", "fraction", "limited_by"),
    [
        (Signals(), 0.9, "maximum"),
        (Signals(motion=0.0), 0.4, "motion"),
        (Signals(motion=0.05), 0.7, "motion"),
        (Signals(motion=0.5), 0.9, "maximum"),
        (Signals(motion=0.5, gpu_foreign=0.4), 0.65, "contention"),
        (Signals(motion=0.0, gpu_foreign=0.4), 0.4, "motion"),
        (Signals(gpu_foreign=1.0), 0.3, "contention"),
        (Signals(cpu_foreign=1.0, cpu_pressure=0.4), 0.65, "contention"),
        (Signals(cpu_foreign=0.4, cpu_pressure=1.0), 0.65, "contention"),
        (Signals(cpu_foreign=0.4), 0.65, "contention"),
        (Signals(cpu_pressure=1.0), 0.9, "maximum"),
        (Signals(cpu_foreign=1.0, cpu_pressure=0.0), 0.9, "maximum"),
        (Signals(cpu_foreign=1.0, gpu_foreign=0.0), 0.9, "maximum"),
        (Signals(cpu_foreign=1.0, gpu_utilization=0.1), 0.9, "maximum"),
    ],
)
def test_lowest_rule_binds(signals: Signals, fraction: float, limited_by: str) -> None:
    budget, _ = next_budget(FREE, signals, POLICY, 0.05, 10.0)
    assert (budget.fraction, budget.limited_by) == (pytest.approx(fraction, abs=ROUNDING), limited_by)


@pytest.mark.parametrize(("floor", "fraction"), [(0.05, 0.5), (0.5, 0.5), (0.7, 0.7)])
def test_never_below_minimum_or_floor(floor: float, fraction: float) -> None:
    policy = POLICY.model_copy(update={"budget": Budgets(minimum=0.5)})
    budget, _ = next_budget(FREE, Signals(motion=0.0), policy, floor, 10.0)
    assert (budget.fraction, budget.limited_by) == (pytest.approx(fraction), "minimum")


def test_cut_at_once_then_recovers_at_its_rate() -> None:
    state = FREE
    cut, state = next_budget(state, Signals(gpu_foreign=1.0), POLICY, 0.05, 10.0)
    assert (cut.fraction, cut.limited_by) == (0.3, "contention")
    told = []
    for quarter in range(1, 7):
        budget, state = next_budget(state, Signals(gpu_foreign=0.0), POLICY, 0.05, 10.0 + quarter / 4)
        told.append((round(budget.fraction, 3), budget.limited_by))
    assert told == [
        (0.425, "recovery"),
        (0.55, "recovery"),
        (0.675, "recovery"),
        (0.8, "recovery"),
        (0.9, "maximum"),
        (0.9, "maximum"),
    ]


def test_motion_is_answered_at_once_both_ways() -> None:
    state = FREE
    told = []
    for now, motion in enumerate([0.0, 0.1, 0.0, 0.1]):
        budget, state = next_budget(state, Signals(motion=motion), POLICY, 0.05, now / 25)
        told.append(budget.fraction)
    assert told == [0.4, 0.9, 0.4, 0.9]


shares = st.floats(0, 1)
signals = st.builds(Signals, *[st.none() | shares] * 5)
floors = st.integers(1, 100).flatmap(lambda whole: st.integers(1, whole).map(lambda part: part / whole))
states = st.builds(ControllerState, st.floats(0.01, 1), st.floats(0, 100))


def curves(*, rising: bool) -> st.SearchStrategy[tuple[tuple[float, float], ...]]:
    def ordered(points: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
        inputs = sorted({x for x, _ in points})
        outputs = sorted((y for _, y in points[: len(inputs)]), reverse=not rising)
        return tuple(zip(inputs, outputs, strict=True))

    return st.lists(st.tuples(shares, st.floats(0.01, 1)), min_size=1, max_size=5).map(ordered)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    minimum, maximum = sorted((draw(st.floats(0.01, 1)), draw(st.floats(0.01, 1))))
    return Policy(
        budget=Budgets(maximum=maximum, minimum=minimum, rise_per_second=draw(st.floats(0.01, 10))),
        motion=MotionRule(curve=draw(curves(rising=True))),
        contention=ContentionRule(curve=draw(curves(rising=False))),
    )


def load(seen: Signals) -> float | None:
    """What other programs take, said again in other words than the controller's."""
    if seen.gpu_foreign is not None:
        return seen.gpu_foreign
    if seen.gpu_utilization is not None or seen.cpu_foreign is None:
        return None
    return min(seen.cpu_foreign, 1.0 if seen.cpu_pressure is None else seen.cpu_pressure)


@given(policies(), states, signals, floors, st.floats(0, 50))
def test_budget_is_what_its_rule_says_and_above_no_other(
    policy: Policy, state: ControllerState, seen: Signals, floor: float, later: float
) -> None:
    now = state.at + later
    budget, after = next_budget(state, seen, policy, floor, now)
    taken = load(seen)
    lowest = max(floor, policy.budget.minimum)
    rules = {
        "maximum": policy.budget.maximum,
        "motion": 1.0 if seen.motion is None else policy.motion.at(seen.motion),
        "contention": 1.0 if taken is None else policy.contention.at(taken),
        "recovery": state.ceiling + policy.budget.rise_per_second * later,
        "minimum": lowest,
    }
    assert budget.fraction == pytest.approx(rules[budget.limited_by], abs=ROUNDING)
    assert floor <= budget.fraction <= 1
    assert budget.fraction >= policy.budget.minimum - ROUNDING
    for rule in ("maximum", "motion", "contention", "recovery"):
        assert budget.fraction <= max(lowest, rules[rule]) + ROUNDING
    assert next_budget(state, seen, policy, floor, now) == (budget, after)


@given(policies(), states, signals, floors)
def test_unknown_signals_never_lower_it(policy: Policy, state: ControllerState, seen: Signals, floor: float) -> None:
    def fraction(some: Signals) -> float:
        return next_budget(state, some, policy, floor, state.at + 1)[0].fraction

    blind = Signals(None, seen.gpu_utilization, seen.gpu_foreign, seen.cpu_pressure, seen.cpu_foreign)
    assert fraction(seen) <= fraction(blind) <= fraction(Signals())


@given(policies(), st.lists(st.tuples(st.floats(0.001, 2), shares), min_size=2, max_size=20), floors)
def test_falls_at_once_and_rises_at_most_at_its_rate(
    policy: Policy, steps: list[tuple[float, float]], floor: float
) -> None:
    state, now, told = FREE, 0.0, []
    for seconds, taken in steps:
        now += seconds
        budget, state = next_budget(state, Signals(gpu_foreign=taken), policy, floor, now)
        assert budget.fraction <= max(policy.contention.at(taken), policy.budget.minimum, floor) + ROUNDING
        told.append((now, budget.fraction))
    for (before, low), (after, high) in itertools.pairwise(told):
        assert high - low <= policy.budget.rise_per_second * (after - before) + ROUNDING


def test_ten_thousand_calls_take_no_time_to_speak_of() -> None:
    chance = random.Random(0)
    state = FREE
    start = time.process_time()
    for now in range(10_000):
        seen = Signals(chance.random(), None, None, chance.random(), chance.random())
        _, state = next_budget(state, seen, POLICY, 0.05, now / 30)
    assert time.process_time() - start < 2.0
