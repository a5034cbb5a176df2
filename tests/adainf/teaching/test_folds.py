from collections import Counter

import numpy as np
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

from adainf.teaching.crossvalidation import folds
from adainf.teaching.examples import Example

visits = st.lists(st.lists(st.floats(0, 5), min_size=1, max_size=12), min_size=1, max_size=6)
classes = st.lists(visits, min_size=2, max_size=3).filter(
    lambda of_class: all(sum(map(len, visits)) >= 3 for visits in of_class)
)


def examples_of(of_class: list[list[list[float]]]) -> list[Example]:
    """Examples of each class, in visits: the seconds from one to the next."""
    examples = []
    for label, visits in enumerate(of_class):
        now = 0.0
        for episode, waits in enumerate(visits):
            now += 100
            for wait in waits:
                now += wait
                examples.append(
                    Example(f"{now}", f"class {label}", now, episode, lambda: np.empty((1, 1, 3), np.uint8))
                )
    return examples


@generous(100)
@given(classes, st.booleans())
def test_each_example_is_held_out_once_and_each_class_is_always_fitted(of_class, timed):
    examples = examples_of(of_class)
    held_out: Counter[int] = Counter()
    for fitted, held in folds(examples, timed=timed):
        held_out.update(held.tolist())
        assert not set(fitted.tolist()) & set(held.tolist())
        assert {examples[row].label for row in fitted} == {example.label for example in examples}
    assert held_out == Counter(range(len(examples)))


@generous(100)
@given(classes)
def test_three_visits_are_never_cut(of_class):
    examples = examples_of(of_class)
    several = {label for label, visits in enumerate(of_class) if len(visits) >= 3}
    for _, held in folds(examples, timed=True):
        for label in several:
            whole = Counter(example.episode for example in examples if example.label == f"class {label}")
            taken = Counter(examples[row].episode for row in held if examples[row].label == f"class {label}")
            assert all(whole[episode] == count for episode, count in taken.items())


def test_frames_beside_a_held_out_block_are_not_taught():
    examples = examples_of([[[0.1] * 20], [[0.1] * 20]])
    for fitted, held in folds(examples, timed=True):
        same_class = [np.abs(row - held[(held < 20) == (row < 20)]).min() for row in fitted]
        assert min(same_class) >= 2
