import functools
import itertools
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adainf.branch import Branch
from adainf.control import (
    ControllerState,
    Costs,
    Outcome,
    Policy,
    Signals,
    may_reuse,
    next_budget,
    observe,
    second_look,
    spend,
    worth_a_second_look,
)
from adainf.control.policy import (
    Budgets,
    CeilingRule,
    DeadlineRule,
    DemandRule,
    EvidenceRule,
    ReuseRule,
    SecondLookRule,
    ShareRule,
)
from adainf.schedulers import Choice

ROUNDING = 1.01e-4
"""Budgets are told in ten-thousandths."""

POLICY = Policy(
    budget=Budgets(maximum=0.9, minimum=0.2, hold_seconds=0, rise_per_second=0.5),
    motion=DemandRule(curve=((0.0, 0.4), (0.1, 1.0))),
    contention=CeilingRule(curve=((0.2, 1.0), (0.6, 0.3))),
    power=CeilingRule(curve=((0.5, 1.0), (1.0, 0.5))),
    heat=CeilingRule(curve=((70, 1.0), (90, 0.25))),
)
COSTS = Costs((0.05, 0.25, 0.5, 1.0), (1.0, 3.0, 5.0, 10.0))
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
        (Signals(cpu_foreign=0.6, cpu_pressure=0.0, cpu_queue=0.5), 0.9, "maximum"),
        (Signals(cpu_foreign=0.6, cpu_pressure=0.1, cpu_queue=1.5), 0.3, "contention"),
        (Signals(cpu_foreign=0.1, cpu_pressure=0.1, cpu_queue=1.5), 0.9, "maximum"),
        (Signals(cpu_foreign=1.0, gpu_foreign=0.0), 0.9, "maximum"),
        (Signals(cpu_foreign=0.4, gpu_utilization=0.9), 0.65, "contention"),
        (Signals(gpu_utilization=0.9), 0.9, "maximum"),
        (Signals(power_fraction=0.9), 0.6, "power"),
        (Signals(temperature_celsius=80), 0.625, "heat"),
        (Signals(temperature_celsius=80, power_fraction=1.0, gpu_foreign=0.5), 0.475, "contention"),
    ],
)
def test_lowest_rule_binds(signals: Signals, fraction: float, limited_by: str) -> None:
    budget, _ = next_budget(FREE, signals, POLICY, COSTS, 10.0)
    assert (budget.fraction, budget.limited_by) == (pytest.approx(fraction, abs=ROUNDING), limited_by)


@pytest.mark.parametrize(("floor", "fraction"), [(0.05, 0.5), (0.5, 0.5), (0.7, 0.7)])
def test_never_below_minimum_or_floor(floor: float, fraction: float) -> None:
    policy = POLICY.model_copy(update={"budget": Budgets(minimum=0.5)})
    budget, _ = next_budget(FREE, Signals(motion=0.0), policy, Costs((floor, 1.0)), 10.0)
    assert (budget.fraction, budget.limited_by) == (pytest.approx(fraction), "minimum")


def told(policy: Policy, load: list[float], every: float = 0.25) -> list[tuple[float, str]]:
    """Budgets and what limited them while others take `load`, a value a frame."""
    state, budgets = FREE, []
    for frame, taken in enumerate(load):
        budget, state = next_budget(state, Signals(gpu_foreign=taken), policy, COSTS, 10 + frame * every)
        budgets.append((round(budget.fraction, 3), budget.limited_by))
    return budgets


def test_cut_at_once_then_recovers_at_its_rate() -> None:
    assert told(POLICY, [1.0, *[0.0] * 6]) == [
        (0.3, "contention"),
        (0.425, "recovery"),
        (0.55, "recovery"),
        (0.675, "recovery"),
        (0.8, "recovery"),
        (0.9, "maximum"),
        (0.9, "maximum"),
    ]


def test_held_until_it_has_been_free_long_enough() -> None:
    policy = POLICY.model_copy(update={"budget": Budgets(hold_seconds=1, rise_per_second=1)})
    held = told(policy, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert [fraction for fraction, _ in held] == [0.3, 0.3, 0.3, 0.3, 0.3, 0.55, 0.8]


def test_bursts_shorter_than_the_hold_do_not_let_it_up() -> None:
    policy = POLICY.model_copy(update={"budget": Budgets(hold_seconds=1, rise_per_second=1)})
    assert {fraction for fraction, _ in told(policy, [1.0, 0.0, 0.0] * 10)} == {0.3}


def test_noise_of_a_signal_does_not_make_the_budget_oscillate() -> None:
    chance = random.Random(1)
    noisy = [0.5 + chance.uniform(-0.01, 0.01) for _ in range(400)]
    settled = [fraction for fraction, _ in told(POLICY, noisy, every=0.04)[100:]]
    assert max(settled) - min(settled) <= 0.01


def test_motion_is_answered_at_once_both_ways() -> None:
    state, fractions = FREE, []
    for now, motion in enumerate([0.0, 0.1, 0.0, 0.1]):
        budget, state = next_budget(state, Signals(motion=motion), POLICY, COSTS, now / 25)
        fractions.append(budget.fraction)
    assert fractions == [0.4, 0.9, 0.4, 0.9]


@pytest.mark.parametrize(
    ("change", "age", "lead", "affordable", "reused"),
    [
        (0.0, 0.5, 0.0, 0.8, True),
        (0.01, 1.0, 0.0, 0.8, True),
        (0.011, 0.5, 0.0, 0.8, False),
        (0.05, 0.5, 0.4, 0.8, True),
        (0.051, 0.5, 0.39, 0.8, False),
        (0.0, 1.1, 1.0, 0.8, False),
        (0.0, 0.5, 1.0, 0.81, False),
        (None, 0.5, 1.0, 0.8, False),
    ],
)
def test_reuse_is_bounded(change: float | None, age: float, lead: float, affordable: float, reused: bool) -> None:
    policy = Policy(reuse=ReuseRule(change=0.01, change_by_lead=0.1, seconds=1.0))
    assert may_reuse(Signals(change=change), policy, age, lead, 0.8, affordable) is reused
    assert not may_reuse(Signals(change=change), Policy(), age, lead, 0.8, affordable)


CHEAP, DEAR = (Choice(Branch(8, (True, keep)), macs, macs / 100, 0.5) for keep, macs in ((False, 40), (True, 90)))
BOTH_WAYS = Policy(evidence=EvidenceRule(curve=((0.5, 1.0),), mirrored=True))


@pytest.mark.parametrize(
    ("policy", "choice", "last", "looks_here", "worth"),
    [
        (Policy(), DEAR, CHEAP, 1, True),
        (Policy(), DEAR, DEAR, 1, False),
        (Policy(), CHEAP, DEAR, 1, False),
        (BOTH_WAYS, DEAR, DEAR, 1, True),
        (BOTH_WAYS, DEAR, DEAR, 2, False),
        (BOTH_WAYS, CHEAP, DEAR, 1, False),
    ],
)
def test_a_second_look_is_by_a_better_branch_or_the_other_way_round(
    policy: Policy, choice: Choice, last: Choice, looks_here: int, worth: bool
) -> None:
    assert worth_a_second_look(policy, choice, last, looks_here) is worth


SAVING = Policy(budget=Budgets(maximum=0.9, minimum=0.01), second_look=SecondLookRule(savings=2.0))


def still(frames: int, policy: Policy = SAVING) -> ControllerState:
    """What is remembered after so many frames, 25 ms apart, each allowed 0.3 and answered for nothing."""
    state = FREE
    for frame in range(frames):
        _, state = next_budget(state, Signals(), policy, COSTS, frame * 0.025)
        state = spend(state, policy, 0.3, 0.0)
    return state


@pytest.mark.parametrize(
    ("frames", "spent_ms", "allowed"),
    [
        (2, 2.0, (0.6, "savings")),
        (20, 2.0, (0.9, "maximum")),
        (20, 17.0, (0.5, "deadline")),
        (20, 24.5, None),
        (1, 2.0, None),  # how often frames come is not known yet
    ],
)
def test_a_second_look_is_paid_by_what_still_frames_saved_and_over_before_the_next_frame(
    frames: int, spent_ms: float, allowed: tuple[float, str] | None
) -> None:
    budget = second_look(still(frames), SAVING, COSTS, spent_ms)
    assert (budget and (budget.fraction, budget.limited_by)) == allowed


def test_no_second_look_without_its_rule_or_times() -> None:
    assert second_look(still(20), Policy(), COSTS, 2.0) is None
    assert second_look(still(20), SAVING, Costs(COSTS.fractions), 2.0) is None
    assert spend(still(20), Policy(), 0.3, 0.0).savings == 0


shares = st.floats(0, 1)


@given(st.lists(st.tuples(shares, shares, st.booleans()), max_size=60), st.floats(0.1, 5))
def test_second_looks_keep_the_mean_of_the_budgets(frames: list[tuple[float, float, bool]], most: float) -> None:
    """However frames come, what was taken is within what was allowed, and the savings within their bound."""
    policy = SAVING.model_copy(update={"second_look": SecondLookRule(savings=most)})
    state = ControllerState(interval=1.0)
    allowed_in_all = taken_in_all = 0.0
    for allowed, of_it, looks in frames:
        taken = allowed * of_it
        state = spend(state, policy, allowed, taken)
        allowed_in_all += allowed
        taken_in_all += taken
        if looks and (budget := second_look(state, policy, COSTS, 1.0)) is not None:
            assert budget.fraction >= COSTS.cheapest
            state = spend(state, policy, 0.0, budget.fraction)
            taken_in_all += budget.fraction
        assert taken_in_all <= allowed_in_all + 1e-9
        assert 0 <= state.savings <= most


signals = st.builds(Signals, *[st.none() | shares] * 7, st.none() | st.floats(-20, 120), st.none() | st.floats(0, 8))
costs = st.lists(st.integers(1, 1000), min_size=1, max_size=6, unique=True).map(
    lambda steps: Costs(tuple(sorted(step / max(steps) for step in steps)), tuple(float(ms) for ms in sorted(steps)))
)
outcomes = st.builds(Outcome, st.floats(0.1, 100), st.floats(0, 500), st.floats(0, 500))
states = st.lists(outcomes, max_size=30).map(lambda seen: functools.reduce(observe, seen, FREE))


def curves(*, rising: bool) -> st.SearchStrategy[tuple[tuple[float, float], ...]]:
    def ordered(points: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
        inputs = sorted({x for x, _ in points})
        outputs = sorted((y for _, y in points[: len(inputs)]), reverse=not rising)
        return tuple(zip(inputs, outputs, strict=True))

    return st.lists(st.tuples(shares, st.floats(0.01, 1)), min_size=1, max_size=5).map(ordered)


def ceilings() -> st.SearchStrategy[CeilingRule | None]:
    return st.none() | st.builds(CeilingRule, curve=curves(rising=False))


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    minimum, maximum = sorted((draw(st.floats(0.01, 1)), draw(st.floats(0.01, 1))))
    return Policy(
        budget=Budgets(
            maximum=maximum,
            minimum=minimum,
            hold_seconds=draw(st.floats(0, 2)),
            rise_per_second=draw(st.floats(0.01, 10)),
        ),
        motion=draw(st.none() | st.builds(DemandRule, curve=curves(rising=True))),
        contention=draw(ceilings()),
        power=draw(ceilings()),
        heat=draw(ceilings()),
        deadline=draw(st.none() | st.builds(DeadlineRule, milliseconds=st.floats(0.1, 100))),
        share=draw(st.none() | st.builds(ShareRule, busy=st.floats(0.01, 1))),
    )


def load(seen: Signals) -> float | None:
    """What other programs take, said again in other words than the controller's."""
    if seen.gpu_foreign is not None:
        return seen.gpu_foreign
    if seen.cpu_foreign is None:
        return None
    waits = [seen.cpu_pressure, None if seen.cpu_queue is None else min(1.0, max(0.0, 2 * seen.cpu_queue - 1))]
    return min(seen.cpu_foreign, max((share for share in waits if share is not None), default=1.0))


@given(policies(), states, st.lists(st.tuples(signals, st.floats(0, 5)), min_size=1, max_size=10), costs)
def test_budget_is_above_no_rule_and_within_bounds(
    policy: Policy, state: ControllerState, steps: list[tuple[Signals, float]], known: Costs
) -> None:
    now = 0.0
    for seen, later in steps:
        now += later
        budget, after_it = next_budget(state, seen, policy, known, now)
        assert next_budget(state, seen, policy, known, now) == (budget, after_it)
        state = after_it
        lowest = max(known.cheapest, policy.budget.minimum)
        rules = [policy.budget.maximum]
        for rule, signal in (
            (policy.motion, seen.motion),
            (policy.contention, load(seen)),
            (policy.power, seen.power_fraction),
            (policy.heat, seen.temperature_celsius),
        ):
            if rule is not None and signal is not None:
                rules.append(rule.at(signal))
        assert known.cheapest <= budget.fraction <= 1
        assert budget.fraction >= policy.budget.minimum - ROUNDING
        assert budget.fraction <= max(lowest, min(rules)) + ROUNDING
        if budget.limited_by in ("maximum", "motion"):
            assert budget.fraction == pytest.approx(min(rules), abs=ROUNDING)


@given(policies(), st.lists(st.tuples(st.floats(0.001, 2), shares), min_size=2, max_size=20), costs)
def test_falls_at_once_and_rises_at_most_at_its_rate(
    policy: Policy, steps: list[tuple[float, float]], known: Costs
) -> None:
    policy = policy.model_copy(update={"share": None, "deadline": None})
    state, now, budgets = FREE, 0.0, []
    for seconds, taken in steps:
        now += seconds
        budget, state = next_budget(state, Signals(gpu_foreign=taken), policy, known, now)
        budgets.append((now, budget.fraction))
    for (before, low), (later, high) in itertools.pairwise(budgets):
        assert high - low <= policy.budget.rise_per_second * (later - before) + ROUNDING


def test_a_decision_costs_far_less_than_a_frame() -> None:
    policy = Policy.read("low-latency")
    chance = random.Random(0)
    state = FREE
    start = time.process_time()
    for now in range(2_000):
        seen = Signals(chance.random(), None, None, None, chance.random(), chance.random())
        _, state = next_budget(state, seen, policy, COSTS, now / 30)
        state = observe(state, Outcome(10.0, chance.uniform(8, 30), chance.uniform(1, 3)))
    assert time.process_time() - start < 2_000 * 0.0002
