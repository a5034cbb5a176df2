import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import SMALL, profile, profiles

from adainf.branch import Branch
from adainf.profile import Profile
from adainf.research.mixture import hull, mixture
from adainf.schedulers import LookupTable


@given(profiles(SMALL), st.floats(0, 1))
def test_a_mixture_has_the_mean_asked_for_and_is_nowhere_worse_than_the_table(made: Profile, mean: float) -> None:
    table = LookupTable(made)
    corners = hull(table.frontier)
    mean = max(mean, table.floor)
    cheaper, dearer, share = mixture(corners, mean)
    macs = (1 - share) * cheaper.macs_fraction + share * dearer.macs_fraction
    accuracy = (1 - share) * cheaper.expected_accuracy + share * dearer.expected_accuracy
    assert 0 <= share <= 1
    assert macs <= mean + 1e-9
    assert macs == pytest.approx(mean) or cheaper == dearer == corners[-1]
    assert accuracy >= table.choose(mean).expected_accuracy - 1e-9


def test_a_branch_below_the_line_between_two_others_is_no_corner() -> None:
    made = profile(SMALL, [(Branch(4, (True, False, False)), 0.2), (Branch(8, (True, False, False)), 0.3)])
    assert [choice.branch for choice in hull(LookupTable(made).frontier)] == [
        Branch(4, (True, False, False)),
        SMALL.full,
    ]
