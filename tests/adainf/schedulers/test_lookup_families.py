"""The lookup table over a family: the best branch of all networks, within the reference's MACs."""

import pytest
from families import TINY, beside
from family_profiles import families
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import SMALL, profile

from adainf.branch import REFERENCE, Branch
from adainf.profile import Measured, Profile, Scheduled
from adainf.schedulers import LookupTable, wanted_branches, wanted_networks
from adainf.schedulers.lookup import expected_accuracy

_FEW = settings(max_examples=60, deadline=None)


def _badness(made: Profile, measured: Measured) -> float:
    with_loss = all(other.loss is not None for other in made.branches)
    return measured.loss if with_loss and measured.loss is not None else -expected_accuracy(measured)


@_FEW
@given(made=families(), budget=st.floats(0, 3))
def test_no_choice_takes_more_than_the_budget_of_the_reference_s_macs(made: Profile, budget: float) -> None:
    table, full = LookupTable(made), made.space.macs(made.space.full)
    affordable = [measured for measured in made.branches if measured.macs / full <= budget]
    assert bool(affordable) == (budget >= table.floor)
    if not affordable:
        with pytest.raises(ValueError, match="no branch fits"):
            table.choose(budget)
        return
    choice = table.choose(budget)
    assert made.space.macs(choice.branch) == choice.macs
    assert choice.macs <= budget * full
    assert choice.macs_fraction == choice.macs / full <= budget
    # Of whatever network: nothing that fits is better, and nothing as good is cheaper.
    best = min((_badness(made, measured), measured.macs) for measured in affordable)
    found = [m for m in made.branches if m.branch == str(choice.branch) and m.macs == choice.macs]
    assert best in [(_badness(made, measured), measured.macs) for measured in found]


@_FEW
@given(made=families())
def test_within_the_macs_of_any_branch_the_family_does_at_least_as_well(made: Profile) -> None:
    table = LookupTable(made)
    macs = [choice.macs for choice in table.frontier]
    assert macs == sorted(set(macs))
    of_branch = {measured.branch: measured for measured in made.branches}
    for measured in made.branches:
        choice = table.choose(measured.macs / made.space.macs(made.space.full))
        assert choice.macs <= measured.macs
        assert _badness(made, of_branch[str(choice.branch)]) <= _badness(made, measured)


@_FEW
@given(made=families())
def test_the_networks_to_open_are_those_of_the_branches_that_are_kept_ready(made: Profile) -> None:
    wanted = wanted_networks(made)
    assert REFERENCE in wanted <= set(made.of_key)
    assert {branch.network for branch in wanted_branches(made)} <= wanted
    by_scheduler = {made.adapted} if made.scheduled and made.adapted else set()
    assert wanted == {branch.network for branch in wanted_branches(made)} | by_scheduler
    # What is left when only those are opened serves every budget as before.
    left = made.of_networks(wanted)
    assert wanted_branches(left) == wanted_branches(made)


def test_a_smaller_network_is_taken_where_it_is_better() -> None:
    small = profile(SMALL, [(Branch(8, (True, False, False)), 0.3), (Branch(8, (True, True, False)), 0.7)])
    family = beside(small, profile(TINY, [(TINY.cheapest, 0.2)]), name="tiny")
    tiny = family.branches[-2]
    assert tiny.branch == "tiny/6:11"
    worse = tuple(
        m.model_copy(update={"accuracy": 0.6, "agreement": 0.6}) if m.branch == tiny.branch else m
        for m in family.branches
    )
    table = LookupTable(family.model_copy(update={"branches": worse}))
    assert [str(choice.branch) for choice in table.frontier] == ["tiny/4:10", "tiny/6:11", "8:110", "8:111"]
    full = SMALL.macs(SMALL.full)
    assert table.choose(TINY.macs(TINY.full) / full).branch == Branch(6, (True, True), "tiny")
    assert table.choose(1).branch == SMALL.full


def test_a_network_larger_than_the_reference_is_beyond_every_budget_up_to_one() -> None:
    family = beside(profile(TINY, []), profile(SMALL, [(SMALL.cheapest, 0.9)]), name="large")
    table = LookupTable(family)
    assert table.choose(1).macs_fraction <= 1
    assert all(choice.macs <= TINY.macs(TINY.full) for choice in table.frontier if choice.macs_fraction <= 1)


def test_a_scheduler_s_network_is_opened_even_if_no_branch_of_it_is_chosen() -> None:
    adapted = beside(profile(SMALL, []), profile(SMALL, []), name="adapted", adapter="a" * 64)
    assert wanted_networks(adapted) == {REFERENCE}
    level = Scheduled(budget=0.5, accuracy=0.9, table=0.4, better=True)
    assert wanted_networks(adapted.model_copy(update={"scheduled": (level,)})) == {REFERENCE, "adapted"}
