import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adainf.base.errors import InvalidInputError
from adainf.branch import NETWORK_NAME, REFERENCE, Branch, BranchSpace, FamilySpace, PartMacs

names = st.from_regex(NETWORK_NAME, fullmatch=True)
branches = st.builds(
    Branch,
    st.integers(1, 99999),
    st.lists(st.booleans(), min_size=1, max_size=40).map(tuple),
    st.just(REFERENCE) | names,
)


@st.composite
def spaces(draw: st.DrawFn, network: str = REFERENCE) -> BranchSpace:
    blocks = draw(st.integers(1, 6))
    macs = st.integers(0, 50)
    each = st.tuples(*[macs] * blocks)
    parts = st.builds(PartMacs, macs.map(lambda stem: stem + 1), each, each, macs)
    resolutions = draw(st.dictionaries(st.integers(1, 9), parts, min_size=1, max_size=3))
    droppable = (False, *draw(st.tuples(*[st.booleans()] * (blocks - 1))))
    return BranchSpace(draw(st.sampled_from(sorted(resolutions))), droppable, resolutions, network)


@st.composite
def families(draw: st.DrawFn) -> FamilySpace:
    others = draw(st.lists(names, max_size=2, unique=True))
    return FamilySpace({name: draw(spaces(name)) for name in (REFERENCE, *others)})


@given(branch=branches)
def test_written_and_read_again(branch: Branch) -> None:
    assert Branch.parse(str(branch)) == branch


@given(branch=branches)
def test_the_network_stands_before_the_path(branch: Branch) -> None:
    network, slash, path = str(branch).rpartition("/")
    assert (network, bool(slash), path) == (branch.network, branch.network != REFERENCE, branch.path)
    assert Branch.parse(path) == Branch(branch.resolution, branch.keep)


@given(text=st.one_of(st.text(), st.from_regex(r"([^:]{0,9}/)?[0-9]*:?[0-2]*", fullmatch=True)))
def test_what_reads_is_spelt_in_one_way(text: str) -> None:
    with suppress(InvalidInputError):
        assert str(Branch.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "224", "224:", ":11", "0:11", "0224:11", "224:12", "224:11\n", "²24:1", "9" * 5000 + ":1"),
        *(
            "/224:11",
            "a/b/224:11",
            "a /224:11",
            "-a/224:11",
            "a\n/224:11",
            "a/224",
            "a:224:11",
            "é/224:1",
            "a" * 65 + "/2:1",
        ),
    ],
)
def test_refused_spellings(text: str) -> None:
    with pytest.raises(InvalidInputError, match="must be a resolution, a colon and a 0 or 1 for each block"):
        Branch.parse(text)


@given(space=names.flatmap(spaces) | spaces())
def test_space_holds_the_branches_it_lists(space: BranchSpace) -> None:
    listed = list(space)
    assert len(set(listed)) == len(listed) == space.count
    assert all(branch in space for branch in listed)
    assert {branch.network for branch in listed} == {space.network}
    assert space.full in listed
    assert space.fraction(space.full) == 1


@given(space=spaces() | names.flatmap(spaces), branch=branches, data=st.data())
def test_membership_and_check_agree_with_the_list(space: BranchSpace, branch: Branch, data: st.DataObject) -> None:
    near = Branch(data.draw(st.integers(1, 9)), data.draw(st.tuples(*[st.booleans()] * len(space.droppable))))
    for candidate in (branch, near, Branch(near.resolution, near.keep, space.network)):
        assert (candidate in space) == (candidate in list(space))
        _check_agrees(space, candidate)


def _check_agrees(space: BranchSpace | FamilySpace, candidate: Branch) -> None:
    if candidate in space:
        space.check(candidate)
    else:
        with pytest.raises(InvalidInputError, match=f"^branch {re.escape(str(candidate))}: "):
            space.check(candidate)


@given(space=spaces() | names.flatmap(spaces))
def test_cheapest_branch(space: BranchSpace) -> None:
    assert space.cheapest in space
    assert space.macs(space.cheapest) == min(space.macs(branch) for branch in space)


@given(family=families(), branch=branches)
def test_a_family_has_the_branches_of_its_networks_and_is_measured_by_the_reference(
    family: FamilySpace, branch: Branch
) -> None:
    full = family.networks[REFERENCE].full
    assert family.full == full
    assert family.fraction(full) == 1
    for space in family.networks.values():
        assert space.full in family
        assert family.macs(space.full) == space.macs(space.full)
        assert family.fraction(space.full) == space.macs(space.full) / family.macs(full)
    for candidate in (branch, *(Branch(full.resolution, full.keep, name) for name in family.networks)):
        assert (candidate in family) == any(candidate in list(space) for space in family.networks.values())
        _check_agrees(family, candidate)


def test_why_a_branch_is_of_no_network_of_a_family() -> None:
    parts = {8: PartMacs(1, (1, 1), (0, 0), 1)}
    alone = BranchSpace(8, (False, True), parts)
    family = FamilySpace({REFERENCE: alone, "lite0": BranchSpace(8, (False, True), parts, "lite0")})
    for space, text, why in (
        (family, "lite1/8:11", "network must be the reference or one of: lite0"),
        (family, "lite0/8:01", "block 0 cannot be skipped"),
        (FamilySpace({REFERENCE: alone}), "lite0/8:11", "network must be the reference, the only one"),
        (alone, "lite0/8:11", "network must be the reference"),
        (family.networks["lite0"], "8:11", "network must be lite0"),
    ):
        with pytest.raises(InvalidInputError, match=f"^branch {text}: {why}$"):
            space.check(Branch.parse(text))


def test_macs_along_a_branch() -> None:
    parts = PartMacs(stem=1, blocks=(10, 100, 1000), shortcuts=(0, 20, 0), head=5)
    assert parts.along((True, False, True)) == 1 + 10 + 20 + 1000 + 5


def test_why_a_branch_is_not_one_of_these() -> None:
    space = BranchSpace(8, (False, True), {8: PartMacs(1, (1, 1), (0, 0), 1), 4: PartMacs(1, (1, 1), (0, 0), 1)})
    for text, why in {
        "6:11": "resolution must be one of 4, 8",
        "8:111": "has 3 blocks, not 2",
        "8:01": "block 0 cannot be skipped",
    }.items():
        with pytest.raises(InvalidInputError, match=f"^branch {text}: {why}$"):
            space.check(Branch.parse(text))
