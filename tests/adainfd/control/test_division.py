"""What many frames at once are granted of one processor."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adainf.control import Costs
from adainf.control.division import PLANNED, Claim, divided, divided_together, share

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
    least, most = sorted(draw(st.lists(st.floats(costs.cheapest, 1), min_size=2, max_size=2)))
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
        assert costs.cheapest <= budget <= one.most
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
        assert budget >= min(one.most, costs.cheapest)
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


# Measured of EfficientNet-Lite0 on one H200: at 128 pixels, 61 % of MACs, all blocks.
GPU = Costs(
    (0.33, 0.61, 1.0),
    (0.57, 0.37, 0.58),
    ((2, (0.58, 0.43, 0.65)), (4, (0.60, 0.50, 0.78)), (8, (0.70, 0.61, 0.89)), (16, (0.82, 0.84, 1.17))),
)
FLAT = Costs((0.2, 0.6, 1.0), (2.0, 6.0, 10.0), ((4, (2.0, 6.0, 10.0)),))


def adding(costs: Costs) -> Costs:
    """An engine that gains nothing by running pictures together."""
    return replace(costs, together=tuple((n, tuple(n * ms for ms in costs.milliseconds)) for n in range(2, 11)))


@pytest.mark.parametrize(
    ("costs", "claims", "budgets"),
    [
        pytest.param(GPU, [claim(left_ms=1.4)] * 16, [1.0] * 16, id="a large GPU: one branch for all"),
        pytest.param(GPU, [claim(left_ms=1.0)] * 16, [0.61] * 16, id="and where that is too slow, a cheaper one"),
        pytest.param(FLAT, [claim(left_ms=8)] * 4, [0.6] * 4, id="what four take, one takes"),
        pytest.param(
            FLAT, [claim(left_ms=12, priority=9.0), *[claim(left_ms=12)] * 3], [1.0] * 4, id="nobody gains by less"
        ),
        pytest.param(
            FLAT,
            [claim(left_ms=12), claim(left_ms=12, most=0.7)],
            [0.6, 0.7],
            id="one group instead of two, within the budget of each",
        ),
        pytest.param(FLAT, [claim(left_ms=20), claim(left_ms=20, most=0.7)], [1.0, 0.7], id="two groups that fit"),
        pytest.param(FLAT, [claim(left_ms=12, around_ms=1.3)] * 4, [0.2] * 4, id="and all around it, of each"),
        pytest.param(FLAT, [claim(left_ms=12, slowdown=2.0)] * 4, [0.2] * 4, id="slower than expected"),
        pytest.param(FLAT, [claim(left_ms=12), claim(left_ms=0.5)], [1.0] * 2, id="one that is late anyway"),
        pytest.param(COSTS, [claim(left_ms=10.0)] * 2, [0.4] * 2, id="nothing measured together"),
    ],
)
def test_budgets_of_pictures_together(costs: Costs, claims: list[Claim], budgets: list[float]) -> None:
    assert divided_together(claims, costs) == budgets


@st.composite
def moments(draw: st.DrawFn) -> tuple[Costs, list[Claim]]:
    """Frames of one moment: all have as long."""
    costs, claims = draw(situations())
    left = draw(st.floats(0.2, 1000))
    return costs, [replace(one, left_ms=left) for one in claims]


def together_ms(claims: list[Claim], costs: Costs, budgets: list[float]) -> float:
    """Milliseconds until all are answered, each group along a branch as long as it was measured to take."""
    groups: dict[int, list[Claim]] = {}
    for one, budget in zip(claims, budgets, strict=True):
        place = sum(fraction <= budget for fraction in costs.fractions) - 1
        groups.setdefault(place, []).append(one)
    forward = (
        costs.taken(place, len(group)) * sum(one.slowdown for one in group) / len(group)
        for place, group in groups.items()
    )
    return sum(forward) + sum(one.around_ms for one in claims)


@given(moments())
def test_what_is_measured_to_add_up_is_divided_as_frame_by_frame(moment: tuple[Costs, list[Claim]]) -> None:
    costs, claims = moment
    # What is left over is looked at once more, so nobody has less.
    one_by_one = divided(claims, costs)
    for one, budget, alone in zip(claims, divided_together(claims, adding(costs)), one_by_one, strict=True):
        assert alone <= budget <= one.most
    room = PLANNED * claims[0].left_ms
    if together_ms(claims, costs, one_by_one) <= room:
        assert together_ms(claims, costs, divided_together(claims, adding(costs))) <= room + 1e-6


@given(moments(), st.floats(0.1, 100))
def test_what_costs_no_more_together_goes_along_one_branch(moment: tuple[Costs, list[Claim]], ms: float) -> None:
    """All of the same limits, whatever their weight, and a GPU that takes as long for all as for one."""
    costs, claims = moment
    flat = replace(costs, together=((16, costs.milliseconds),))
    alike = [replace(claims[0], priority=one.priority, need=one.need, slowdown=1.0, around_ms=0.0) for one in claims]
    budgets = divided_together(alike, flat)
    assert len(set(budgets)) == 1
    room = PLANNED * alike[0].left_ms
    fitting = [ms for f, ms in zip(costs.fractions, costs.milliseconds, strict=True) if f <= alike[0].most]
    if dearest(costs, alike[0].least) <= room:
        assert dearest(costs, budgets[0]) == max(ms for ms in fitting if ms <= room + 1e-9)


@given(moments())
def test_the_time_of_all_is_kept_where_any_division_keeps_it(moment: tuple[Costs, list[Claim]]) -> None:
    costs, claims = moment
    gains = replace(costs, together=tuple((n, tuple(n**0.5 * ms for ms in costs.milliseconds)) for n in (2, 4, 8, 16)))
    budgets = divided_together(claims, gains)
    assert all(costs.cheapest <= budget <= one.most for one, budget in zip(claims, budgets, strict=True))
    room = PLANNED * claims[0].left_ms
    if together_ms(claims, gains, [one.least for one in claims]) <= room:
        assert together_ms(claims, gains, budgets) <= room + 1e-6
