"""What many frames at once are granted of one processor."""

from dataclasses import replace

import pytest
from adainfd.control import Costs
from adainfd.control.division import PLANNED, Claim, divided, share
from hypothesis import given
from hypothesis import strategies as st

COSTS = Costs((0.2, 0.4, 0.6, 0.8, 1.0), (2.0, 4.0, 6.0, 8.0, 10.0))


def claim(**other: float) -> Claim:
    return replace(Claim(least=0.2, most=1.0, priority=1.0, need=1.0, left_ms=100.0), **other)


@pytest.mark.parametrize(
    ("claims", "budgets"),
    [
        pytest.param([claim()] * 9, [1.0] * 9, id="all fits"),
        pytest.param([claim()] * 15, [0.6] * 15, id="alike, 6 ms each"),
        pytest.param([claim(most=0.73)] * 9, [0.73] * 9, id="what is asked for stays as it is"),
        pytest.param([claim(left_ms=10.0), claim(left_ms=10.0)], [0.4, 0.4], id="9 ms for two"),
        pytest.param([claim(left_ms=10.0, priority=9.0), claim(left_ms=10.0)], [0.6, 0.2], id="by priority"),
        pytest.param([claim(left_ms=10.0, need=0.1), claim(left_ms=10.0, need=1.0)], [0.2, 0.6], id="by motion"),
        pytest.param(
            [claim(left_ms=10.0, most=0.2), claim(left_ms=10.0)], [0.2, 0.6], id="who asks for less leaves it"
        ),
        pytest.param([claim(left_ms=10.0, slowdown=2.0), claim(left_ms=10.0)], [0.2, 0.4], id="slower than expected"),
        pytest.param([claim(left_ms=10.0, around_ms=4.0), claim(left_ms=10.0)], [0.2, 0.2], id="and all around it"),
        pytest.param([claim(left_ms=10.0, least=0.6), claim(left_ms=10.0)], [0.6, 0.2], id="not below its least"),
        pytest.param([claim(left_ms=1.0)] * 3, [0.2] * 3, id="what no branch keeps"),
        pytest.param([claim(left_ms=-50.0), claim()], [0.2, 1.0], id="one that is late anyway"),
        pytest.param([claim(left_ms=1.0), claim(left_ms=25.0)], [0.2, 1.0], id="a camera faster than the processor"),
        pytest.param([claim(left_ms=float("inf"))] * 3, [1.0] * 3, id="no hurry"),
    ],
)
def test_budgets(claims: list[Claim], budgets: list[float]) -> None:
    assert divided(claims, COSTS) == budgets


@st.composite
def frontiers(draw: st.DrawFn) -> Costs:
    size = draw(st.integers(1, 12))
    fractions = draw(st.sets(st.integers(1, 1000), min_size=size, max_size=size))
    times = draw(st.lists(st.floats(0.1, 200), min_size=size, max_size=size))
    return Costs(tuple(fraction / 1000 for fraction in sorted(fractions)), tuple(sorted(times)))


@st.composite
def claims_on(draw: st.DrawFn, costs: Costs) -> Claim:
    least, most = sorted(draw(st.lists(st.floats(costs.floor, 1), min_size=2, max_size=2)))
    weights = st.floats(0.01, 100)
    left, around = draw(st.floats(-100, 1000)), draw(st.floats(0, 20))
    return Claim(least, most, draw(weights), draw(st.floats(0.01, 1)), left, draw(st.floats(0.05, 20)), around)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Costs, list[Claim]]:
    costs = draw(frontiers())
    return costs, draw(st.lists(claims_on(costs), min_size=1, max_size=10))


def dearest(costs: Costs, budget: float) -> float:
    """Expected milliseconds of the branch that runs under a budget."""
    return [ms for fraction, ms in zip(costs.fractions, costs.milliseconds, strict=True) if fraction <= budget][-1]


def part(claim: Claim, claims: list[Claim]) -> float:
    return PLANNED * claim.priority / sum(other.priority for other in claims)


@given(situations())
def test_the_sum_is_kept(situation: tuple[Costs, list[Claim]]) -> None:
    costs, claims = situation
    least = [share(one, dearest(costs, one.least)) for one in claims]
    total = 0.0
    for one, lowest, budget in zip(claims, least, divided(claims, costs), strict=True):
        assert one.least <= one.most
        assert costs.floor <= budget <= one.most
        taken = share(one, dearest(costs, budget))
        assert taken >= lowest
        # Where even the least is too much for all, one above its part gets no more, and counts as its part.
        hopeless = sum(least) > PLANNED and lowest > part(one, claims)
        assert not hopeless or taken <= lowest + 1e-6
        total += part(one, claims) if hopeless else taken
    assert total <= PLANNED + 1e-6


@given(situations())
def test_none_starves(situation: tuple[Costs, list[Claim]]) -> None:
    costs, claims = situation
    least = [share(one, dearest(costs, one.least)) for one in claims]
    left = PLANNED - sum(least)
    weights = sum(one.priority * one.need for one in claims)
    for one, lowest, budget in zip(claims, least, divided(claims, costs), strict=True):
        assert budget >= min(one.most, costs.floor)
        if left > 0:
            own = lowest + left * one.priority * one.need / weights
            within = [
                ms
                for fraction, ms in zip(costs.fractions, costs.milliseconds, strict=True)
                if fraction <= one.most and share(one, ms) <= own - 1e-6
            ]
            assert not within or dearest(costs, budget) >= within[-1]


@given(situations(), st.floats(1.1, 10), st.floats(1, 10))
def test_more_weight_never_gets_less(situation: tuple[Costs, list[Claim]], priority: float, need: float) -> None:
    costs, claims = situation
    heavier = replace(claims[0], priority=claims[0].priority * priority, need=claims[0].need * need)
    lighter, *_, more = divided([*claims, heavier], costs)
    assert more >= lighter
