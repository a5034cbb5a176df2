"""What the deadline and the granted share allow, by how long the recent frames took."""

import random
from dataclasses import replace

import pytest

from adainf.control import ControllerState, Costs, Outcome, Policy, Signals, next_budget, observe
from adainf.control.policy import Budgets, DeadlineRule, ShareRule

COSTS = Costs((0.05, 0.25, 0.5, 1.0), (1.0, 3.0, 5.0, 10.0))
FREE = ControllerState()


def after(frames: int, *, slowdown: float, around: float = 2.0) -> ControllerState:
    """What is remembered after so many frames of a branch that should take 10 ms."""
    state = FREE
    for _ in range(frames):
        state = observe(state, Outcome(10.0, 10.0 * slowdown, around))
    return state


@pytest.mark.parametrize(
    ("milliseconds", "slowdown", "fraction", "limited_by"),
    [
        (13, 1.0, 1.0, "maximum"),
        (11, 1.0, 0.5, "deadline"),
        (14, 2.0, 0.5, "deadline"),
        (13, 3.0, 0.25, "deadline"),
        (13, 50.0, 0.05, "deadline"),
        (1, 1.0, 0.05, "deadline"),
    ],
)
def test_deadline_allows_the_dearest_branch_that_makes_it(
    milliseconds: float, slowdown: float, fraction: float, limited_by: str
) -> None:
    policy = Policy(budget=Budgets(minimum=0.01), deadline=DeadlineRule(milliseconds=milliseconds))
    budget, _ = next_budget(after(24, slowdown=slowdown), Signals(), policy, COSTS, 1.0)
    assert (budget.fraction, budget.limited_by) == (fraction, limited_by)


def test_a_branch_is_left_after_a_few_late_frames_and_they_are_forgotten() -> None:
    policy = Policy(deadline=DeadlineRule(milliseconds=13, quantile=0.9))
    state = after(48, slowdown=1.0)
    fractions = []
    for slowdown in [1.5] * 13 + [1.0] * 96:
        state = observe(state, Outcome(10.0, 10.0 * slowdown, 2.0))
        budget, _ = next_budget(state, Signals(), policy, COSTS, 1.0)
        fractions.append(budget.fraction)
    assert fractions[2:4] == [1.0, 0.5]
    assert fractions[-1] == 1.0


def test_slow_frames_are_forgotten_when_the_load_they_were_met_under_has_gone() -> None:
    policy = Policy(budget=Budgets(hold_seconds=0, rise_per_second=100), deadline=DeadlineRule(milliseconds=15))
    _, state = next_budget(FREE, Signals(gpu_foreign=0.9), policy, COSTS, 0.0)
    for _ in range(48):
        state = observe(state, Outcome(10.0, 20.0, 2.0))
    fractions = []
    for now, load in enumerate([0.9, 0.7, 0.5, 0.0], start=1):
        budget, state = next_budget(state, Signals(gpu_foreign=load), policy, COSTS, now / 25)
        fractions.append(budget.fraction)
    assert fractions == [0.5, 0.5, 0.5, 1.0]


def test_a_hiccup_of_a_cheap_branch_is_no_disaster_of_a_dear_one() -> None:
    policy = Policy(deadline=DeadlineRule(milliseconds=16, quantile=0.9))
    state = FREE
    for forward in [1.0] * 40 + [4.0] * 8:
        state = observe(state, Outcome(1.0, forward, 2.0))
    budget, _ = next_budget(state, Signals(), policy, COSTS, 1.0)
    assert budget.fraction == 1.0


def test_a_slow_first_frame_is_one_of_many_and_no_disaster() -> None:
    policy = Policy(deadline=DeadlineRule(milliseconds=20, quantile=0.9))
    budget, _ = next_budget(after(1, slowdown=6.0, around=30.0), Signals(), policy, COSTS, 1.0)
    assert budget.fraction == 1.0


def test_a_branch_that_would_just_make_the_deadline_is_kept_but_not_risen_to() -> None:
    """Its frames take 13.9 of 13 ms at most, and so few are late that the budget stays; a cheaper one keeps it out."""
    policy = Policy(deadline=DeadlineRule(milliseconds=13, quantile=0.9))
    beside_others = Signals(gpu_foreign=0.9)

    def watched(state: ControllerState, branch: float, times: list[float]) -> tuple[float, ControllerState]:
        for took in times:
            budget, state = next_budget(state, beside_others, policy, COSTS, (state.at or 0.0) + 0.04)
            state = observe(state, Outcome(branch, took, 2.0))
        return budget.fraction, state

    times = [*[10.6] * 19, 11.9] * 5
    assert watched(FREE, 10.0, times)[0] == 1.0
    below, state = watched(replace(FREE, ceiling=0.5, settled=0.5), 5.0, [took / 2 + 0.6 for took in times])
    assert below == 0.5
    roomy = policy.model_copy(update={"deadline": DeadlineRule(milliseconds=16)})
    fractions = []
    for _ in range(50):
        budget, state = next_budget(state, beside_others, roomy, COSTS, (state.at or 0.0) + 0.04)
        state = observe(state, Outcome(5.0, 5.9, 2.0))
        fractions.append(budget.fraction)
    assert fractions[-1] == 1.0


def test_ordinary_jitter_does_not_make_the_budget_swing() -> None:
    policy = Policy(deadline=DeadlineRule(milliseconds=16, quantile=0.95))
    chance = random.Random(3)
    state, fractions = FREE, []
    for frame in range(600):
        budget, state = next_budget(state, Signals(gpu_foreign=0.9), policy, COSTS, frame / 25)
        fractions.append(budget.fraction)
        expected = dict(zip(COSTS.fractions, COSTS.milliseconds, strict=True))[budget.fraction]
        hiccup = 5.0 if chance.random() < 0.04 else 0.0
        state = observe(state, Outcome(expected, expected * chance.uniform(1.0, 1.2), 2.0 + hiccup))
    assert len(set(fractions[150:])) == 1


@pytest.mark.parametrize(("load", "waits"), [(0.0, [2, 2, 2]), (0.9, [20, 40, 60])])
def test_a_dearer_branch_is_tried_soon_when_idle_and_ever_later_beside_others(load: float, waits: list[float]) -> None:
    """Whenever the full branch is tried, its frames are late again; the cheaper one's never are."""
    policy = Policy(budget=Budgets(hold_seconds=0, rise_per_second=100), deadline=DeadlineRule(milliseconds=16))
    expected = dict(zip(COSTS.fractions, COSTS.milliseconds, strict=True))
    state, cut_at, waited = FREE, None, []
    for frame in range(25 * 140):
        now, before = frame / 25, state.ceiling
        budget, state = next_budget(state, Signals(gpu_foreign=load), policy, COSTS, now)
        if budget.fraction < before:
            cut_at = now
        elif budget.fraction > before and cut_at is not None:
            waited.append(round(now - cut_at))
            cut_at = None
        took = 15.0 if budget.fraction == 1.0 else expected[budget.fraction]
        # Frames along the full branch are slow; what is remembered of them is soon outnumbered.
        state = observe(state, Outcome(expected[budget.fraction], took, 2.0))
    # Until the slow frames are outnumbered some seconds pass anyway.
    assert len(waited) >= len(waits)
    assert all(least <= wait <= least + 4 for wait, least in zip(waited, waits, strict=False))


def waited(loads: list[float], took: dict[float, float]) -> list[float]:
    """Seconds from each cut to the next rise, at 25 frames a second. took: milliseconds of a frame, by its budget."""
    policy = Policy(budget=Budgets(hold_seconds=0, rise_per_second=100), deadline=DeadlineRule(milliseconds=16))
    expected = dict(zip(COSTS.fractions, COSTS.milliseconds, strict=True))
    state, cut_at, waits = FREE, None, list[float]()
    for frame, load in enumerate(loads):
        now, before = frame / 25, state.ceiling
        budget, state = next_budget(state, Signals(gpu_foreign=load), policy, COSTS, now)
        if budget.fraction > before and cut_at is not None:
            waits.append(now - cut_at)
        cut_at = now if budget.fraction != before else cut_at
        state = observe(state, Outcome(expected[budget.fraction], took[budget.fraction], 2.0))
    return waits


def test_only_an_attempt_that_failed_doubles_the_wait() -> None:
    """Two branches fail one after the other as the load comes: the first attempt comes after the shortest wait."""
    waits = waited([0.9] * 25 * 90, {1.0: 20.0, 0.5: 18.0, 0.25: 9.0, 0.05: 3.0})
    assert [round(wait, -1) for wait in waits[:2]] == [20, 40]


def test_a_budget_that_was_cut_while_the_load_rose_is_tried_again() -> None:
    """By an attempt alone: half of the MACs would be in time, but from a quarter's frames that is not expected."""
    took = {1.0: 30.0, 0.5: 12.0, 0.25: 9.0, 0.05: 3.0}
    waits = waited([0.5] * 25 * 2 + [0.95] * 25 * 30, took)
    assert [round(wait, -1) for wait in waits[:1]] == [20]  # what is learned then may lead further at once


@pytest.mark.parametrize("thousandths", range(210, 900, 37))
def test_the_branch_that_makes_the_deadline_is_the_one_that_runs(thousandths: int) -> None:
    """Budgets are told in ten-thousandths, branches are seldom at one."""
    dear = thousandths / 1000 + 1 / 70_000
    costs = Costs((0.05, dear, 1.0), (1.0, 5.0, 10.0))
    budget, _ = next_budget(FREE, Signals(), Policy(deadline=DeadlineRule(milliseconds=7)), costs, 1.0)
    assert budget.limited_by == "deadline"
    assert dear <= budget.fraction < dear + 1e-4


def test_unmeasured_branches_give_no_deadline() -> None:
    policy = Policy(deadline=DeadlineRule(milliseconds=1))
    budget, _ = next_budget(FREE, Signals(), policy, Costs((0.1, 1.0)), 1.0)
    assert budget.limited_by == "maximum"


def test_granted_share_of_the_time() -> None:
    policy = Policy(share=ShareRule(busy=0.23))
    state = FREE
    for frame in range(50):
        budget, state = next_budget(state, Signals(), policy, COSTS, frame * 0.025)
    assert (budget.fraction, budget.limited_by) == (0.5, "share")
