import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import network
from profiles import SMALL, profile, profiles

from adainf.backbones.macs import branch_space
from adainf.base.errors import InvalidInputError
from adainf.branch import Branch, BranchSpace
from adainf.profile import Profile
from adainf.schedulers import LookupTable
from adainf.shipped import find

REAL = {
    "timm/vit_tiny_patch16_224": (160, 192),
    "timm/tf_efficientnet_lite0": (128, 160, 192),
    "timm/resnet18": (128, 160),
    "cifar/resnet20": (),
}
_spaces: dict[str, BranchSpace] = {}


def space_of(name: str) -> BranchSpace:
    if name not in _spaces:
        _spaces[name] = branch_space(network(name), REAL[name])
    return _spaces[name]


@given(made=profiles(SMALL), budget=st.floats(0, 1.2))
def test_best_of_the_affordable_branches(made: Profile, budget: float) -> None:
    table = LookupTable(made)
    full = made.space.macs(made.space.full)
    affordable = [measured for measured in made.branches if measured.macs / full <= budget]
    assert bool(affordable) == (budget >= table.floor)
    if affordable:
        best = max(affordable, key=lambda measured: (measured.agreement, -measured.macs))
        choice = table.choose(budget)
        assert (choice.expected_accuracy, choice.macs) == (best.agreement, best.macs)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(REAL)))
def test_no_budget_is_ever_exceeded(data: st.DataObject, name: str) -> None:
    space = space_of(name)
    table = LookupTable(data.draw(profiles(space, most=30)))
    for share in data.draw(st.lists(st.floats(0, 1), max_size=30)):
        budget = table.floor + share * (1 - table.floor)
        choice = table.choose(budget)
        assert choice.macs_fraction <= budget
        assert choice.macs == space.macs(choice.branch)
        assert choice.macs_fraction == space.fraction(choice.branch)


@given(made=profiles(SMALL))
def test_floor_is_affordable_and_nothing_below_it(made: Profile) -> None:
    table = LookupTable(made)
    assert table.choose(table.floor).macs_fraction == table.floor
    for budget in (math.nextafter(table.floor, 0), 0.0, -1.0, -math.inf, math.nan):
        with pytest.raises(ValueError, match="no branch fits"):
            table.choose(budget)


def test_only_allowed_branches_are_chosen() -> None:
    cheap, rich = Branch(4, (True, True, True)), Branch(8, (True, False, True))
    made = profile(SMALL, [(cheap, 0.5), (rich, 0.7)])
    table = LookupTable(made, allowed=lambda branch: branch.resolution == 8)
    assert [choice.branch for choice in table.frontier] == [rich, SMALL.full]
    with pytest.raises(InvalidInputError, match="no branch of it is allowed"):
        LookupTable(made, allowed=lambda _: False)


def test_agreement_where_pictures_had_no_labels() -> None:
    data = profile(SMALL, [(Branch(4, (True, True, True)), 0.9)]).model_dump(by_alias=True)
    data["branches"] = [{**measured, "accuracy": None} for measured in data["branches"]]
    assert LookupTable(Profile.model_validate(data)).choose(1).expected_accuracy == 0.9


@pytest.mark.parametrize(
    "file", sorted(find("profiles", "efficientnet-lite0", ".json").parent.glob("*.json")), ids=lambda file: file.stem
)
def test_shipped_profiles(file: Path) -> None:
    table = LookupTable(Profile.read(file))
    assert table.choose(1).expected_accuracy > table.choose(table.floor).expected_accuracy
    assert all(choice.macs_fraction <= 1 for choice in table.frontier)


def test_a_loss_decides_before_the_count_of_right_answers_does() -> None:
    lucky, good = Branch(8, (True, False, True)), Branch(8, (True, True, False))
    data = profile(SMALL, [(lucky, 0.9), (good, 0.7)]).model_dump(by_alias=True)
    losses = {str(SMALL.full): 0.5, str(lucky): 0.8, str(good): 0.6}
    data["branches"] = [{**measured, "loss": losses[measured["branch"]]} for measured in data["branches"]]
    made = Profile.model_validate(data)
    frontier = [choice.branch for choice in LookupTable(made).frontier]
    by_macs = sorted((lucky, good, SMALL.full), key=SMALL.macs)
    assert frontier == [b for i, b in enumerate(by_macs) if all(losses[str(b)] < losses[str(c)] for c in by_macs[:i])]
    assert LookupTable(made).choose(1).branch == SMALL.full


def test_without_every_loss_accuracy_decides() -> None:
    lucky = Branch(8, (True, False, True))
    data = profile(SMALL, [(lucky, 0.9)]).model_dump(by_alias=True)
    data["branches"][0]["loss"] = 0.1
    assert LookupTable(Profile.model_validate(data)).choose(1).branch == lucky


@given(made=profiles(SMALL), most=st.integers(2, 6))
def test_a_thinned_table_keeps_both_ends_and_every_promise(made: Profile, most: int) -> None:
    whole, thin = LookupTable(made), LookupTable(made, most=most)
    assert len(thin.frontier) == min(most, len(whole.frontier))
    assert set(thin.frontier) <= set(whole.frontier)
    assert (thin.frontier[0], thin.frontier[-1]) == (whole.frontier[0], whole.frontier[-1])
    for choice in whole.frontier:
        assert thin.choose(choice.macs_fraction).macs <= choice.macs
