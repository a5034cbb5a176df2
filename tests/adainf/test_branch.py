from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adainf.base.errors import InvalidInputError
from adainf.branch import Branch, BranchSpace, PartMacs

branches = st.builds(Branch, st.integers(1, 99999), st.lists(st.booleans(), min_size=1, max_size=40).map(tuple))


@st.composite
def spaces(draw: st.DrawFn) -> BranchSpace:
    blocks = draw(st.integers(1, 6))
    macs = st.integers(0, 50)
    each = st.tuples(*[macs] * blocks)
    parts = st.builds(PartMacs, macs.map(lambda stem: stem + 1), each, each, macs)
    resolutions = draw(st.dictionaries(st.integers(1, 9), parts, min_size=1, max_size=3))
    droppable = (False, *draw(st.tuples(*[st.booleans()] * (blocks - 1))))
    return BranchSpace(draw(st.sampled_from(sorted(resolutions))), droppable, resolutions)


@given(branch=branches)
def test_written_and_read_again(branch: Branch) -> None:
    assert Branch.parse(str(branch)) == branch


@given(text=st.one_of(st.text(), st.from_regex(r"[0-9]*:?[0-2]*", fullmatch=True)))
def test_what_reads_is_spelt_in_one_way(text: str) -> None:
    with suppress(InvalidInputError):
        assert str(Branch.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "224", "224:", ":11", "0:11", "0224:11", "224:12", "224:11\n", "²24:1", "9" * 5000 + ":1"]
)
def test_refused_spellings(text: str) -> None:
    with pytest.raises(InvalidInputError, match="must be a resolution, a colon and a 0 or 1 for each block"):
        Branch.parse(text)


@given(space=spaces())
def test_space_holds_the_branches_it_lists(space: BranchSpace) -> None:
    listed = list(space)
    assert len(set(listed)) == len(listed) == space.count
    assert all(branch in space for branch in listed)
    assert space.full in listed
    assert space.fraction(space.full) == 1


@given(space=spaces(), branch=branches, data=st.data())
def test_membership_and_check_agree_with_the_list(space: BranchSpace, branch: Branch, data: st.DataObject) -> None:
    near = Branch(data.draw(st.integers(1, 9)), data.draw(st.tuples(*[st.booleans()] * len(space.droppable))))
    for candidate in (branch, near):
        assert (candidate in space) == (candidate in list(space))
        if candidate in space:
            space.check(candidate)
        else:
            with pytest.raises(InvalidInputError, match=f"^branch {candidate}: "):
                space.check(candidate)


@given(space=spaces())
def test_cheapest_branch(space: BranchSpace) -> None:
    assert space.cheapest in space
    assert space.macs(space.cheapest) == min(space.macs(branch) for branch in space)


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
