import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from adainf.control.evidence import Evidence, gathered

CAT, DOG, MOON = range(3)


def says(label: int, surely: float = 2.0) -> NDArray[np.float32]:
    scores = np.zeros(3, np.float32)
    scores[label] = surely
    return scores


def seen(*looks: tuple[NDArray[np.float32], float, float], mirrored: bool = True) -> Evidence:
    """The evidence after looks of these scores, MACs fractions, and shares that hold."""
    evidence: Evidence | None = None
    for scores, macs_fraction, holds in looks:
        evidence = gathered(evidence, scores, macs_fraction, holds, mirrored=mirrored)
    assert evidence is not None
    return evidence


def best(evidence: Evidence) -> int:
    return int(evidence.log_shares.argmax())


def test_the_first_look_speaks_for_itself() -> None:
    scores = np.array([0.5, 1.5, -1.0], np.float32)
    shares = np.exp(scores) / np.exp(scores).sum()
    assert np.exp(seen((scores, 0.5, 0.99)).log_shares) == pytest.approx(shares)


def test_one_blurred_frame_does_not_turn_the_answer_and_a_few_do() -> None:
    steady, blurred = [(says(CAT), 1.0, 0.99)] * 4, (says(DOG, 1.5), 1.0, 0.99)
    assert best(seen(*steady, blurred)) == CAT
    assert best(seen(*steady, *[blurred] * 3)) == DOG


def test_without_mirroring_a_look_as_good_takes_the_place_of_the_last() -> None:
    both = [(says(CAT, 9), 1.0, 1.0), (says(DOG, 0.1), 1.0, 1.0)]
    assert best(seen(*both, mirrored=True)) == CAT
    assert best(seen(*both, mirrored=False)) == DOG


def test_lead_of_the_best_label() -> None:
    assert seen((np.log(np.array([0.2, 0.7, 0.1])).astype(np.float32), 1.0, 1.0)).lead == pytest.approx(0.5)
    assert seen((np.zeros(1, np.float32), 1.0, 1.0)).lead == 1


def test_a_cut_forgets_everything() -> None:
    after = seen(*[(says(CAT, 9), 1.0, 0.99)] * 9, (says(DOG, 0.1), 0.2, 0.0))
    assert (best(after), after.looks, after.macs_fraction) == (DOG, 1, 0.2)


def test_cheap_looks_hardly_move_a_dear_one_and_a_dear_one_starts_anew() -> None:
    dear = (says(CAT), 1.0, 0.99)
    cheap = (says(DOG, 3), 0.4, 0.99)
    assert best(seen(dear, *[cheap] * 5)) == CAT
    assert best(seen(*[cheap] * 5, dear)) == CAT
    assert best(seen(dear, *[cheap] * 99)) == DOG


def test_a_cheap_look_counts_the_more_the_less_the_scene_holds() -> None:
    dear, cheap = (says(CAT), 1.0, 0.99), says(DOG, 3)
    assert best(seen(dear, (cheap, 0.4, 0.9))) == CAT
    assert best(seen(dear, (cheap, 0.4, 0.2))) == DOG


@given(
    st.lists(
        st.tuples(st.lists(st.floats(-80, 80, width=32), min_size=3, max_size=3), st.floats(0.01, 1), st.floats(0, 1)),
        min_size=1,
        max_size=12,
    )
)
def test_evidence_stays_a_probability(looks: list[tuple[list[float], float, float]]) -> None:
    evidence = seen(*((np.array(scores, np.float32), macs, holds) for scores, macs, holds in looks))
    assert np.exp(evidence.log_shares).sum() == pytest.approx(1)
    assert not np.isnan(evidence.log_shares).any()
