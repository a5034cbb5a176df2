"""The better of lookup table and content-aware scheduler: which, at which budget, and within it."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from profiles import SMALL

from adainf.profile import Scheduled
from adainf.schedulers.block_scheduler import PaperScheduler
from adainf.schedulers.content_aware import ContentAware

WIDTH = 4


def scheduler(seed: int) -> PaperScheduler:
    """One with weights that were drawn: two blocks to skip, embeddings of four."""
    draw = np.random.default_rng(seed)
    shapes = {"budget.0": (3, 1), "budget.2": (3, 3), "joined.0": (3, WIDTH + 3), "joined.2": (2, 3)}
    tensors = {}
    for layer, shape in shapes.items():
        tensors[f"{layer}.weight"] = (3 * draw.normal(size=shape)).astype(np.float32)
        tensors[f"{layer}.bias"] = draw.normal(size=shape[0]).astype(np.float32)
    return PaperScheduler(tensors, "hard", SMALL)


def content(seed: int, *better: bool) -> ContentAware:
    """Better than the table where it is said, from 0.9, 0.95 and so on."""
    levels = [
        Scheduled(budget=round(0.9 + 0.05 * number, 2), accuracy=0.5 + 0.1 * number, table=0.4, better=is_better)
        for number, is_better in enumerate(better)
    ]
    return ContentAware(scheduler(seed), levels, "adapted")


def test_it_is_asked_where_it_was_better() -> None:
    both = content(0, True, False, True)
    found = [both.level(budget) for budget in (0.89, 0.9, 0.94, 0.95, 0.99, 1.0, 1.5)]
    accuracies = [None if level is None else round(level.accuracy, 4) for level in found]
    assert accuracies == [None, 0.5, 0.5, None, None, 0.7, 0.7]


def test_it_is_not_asked_where_it_cannot_keep_the_budget() -> None:
    dear = content(0, True)
    cheap = dear.scheduler.floor - 0.001
    levels = [dear.levels[0].model_copy(update={"budget": 0.0})]
    assert ContentAware(dear.scheduler, levels).level(cheap) is None
    assert ContentAware(dear.scheduler, levels).level(dear.scheduler.floor) is not None


@given(
    st.integers(0, 20),
    st.lists(st.floats(-5, 5, width=32), min_size=WIDTH, max_size=WIDTH),
    st.floats(0, 1.5),
)
def test_what_it_takes_is_within_the_budget_its_own_macs_counted(seed: int, seen: list[float], budget: float) -> None:
    both = content(seed, True)
    budget = max(budget, both.scheduler.floor)
    choice = both.choose(np.array(seen, np.float32), both.levels[0], budget)
    assert choice.macs == SMALL.macs(choice.branch) + both.scheduler.macs
    assert choice.macs_fraction <= budget
    assert (choice.expected_accuracy, choice.branch.network) == (0.5, "adapted")


FULL_MACS = st.integers(1, 3 * SMALL.macs(SMALL.full))


@given(
    seed=st.integers(0, 20),
    seen=st.lists(st.floats(-5, 5, width=32), min_size=WIDTH, max_size=WIDTH),
    full=FULL_MACS,
    budget=st.floats(0, 2),
)
def test_of_a_network_that_is_not_the_reference_it_keeps_the_family_s_budgets(
    seed: int, seen: list[float], full: int, budget: float
) -> None:
    """The reference's full branch takes `full` MACs: more or fewer than the scheduler's own network."""
    levels = [content(seed, True).levels[0].model_copy(update={"budget": 0.0})]
    both = ContentAware(replace(scheduler(seed), full_macs=full), levels, "tiny")
    level = both.level(budget)
    least = min(SMALL.macs(branch) for branch in SMALL if branch.resolution == 8) + both.scheduler.macs
    if level is None:
        assert budget < least / full * (1 + 1e-9)
        return
    choice = both.choose(np.array(seen, np.float32), level, budget)
    assert choice.branch.network == "tiny"
    assert choice.macs == SMALL.macs(choice.branch) + both.scheduler.macs
    assert choice.macs_fraction == choice.macs / full <= budget


@given(
    seed=st.integers(0, 20),
    seen=st.lists(st.floats(-5, 5, width=32), min_size=WIDTH, max_size=WIDTH),
    budget=st.floats(0, 1.5),
)
def test_in_a_family_it_takes_what_it_takes_alone_within_the_same_macs(
    seed: int, seen: list[float], budget: float
) -> None:
    own, levels = SMALL.macs(SMALL.full), content(seed, True).levels
    alone = ContentAware(scheduler(seed), levels)
    double = ContentAware(replace(scheduler(seed), full_macs=2 * own), levels, "tiny")
    budget = max(budget, alone.scheduler.floor + 1e-6)
    embedding = np.array(seen, np.float32)
    branches = [
        both.choose(embedding, levels[0], share).branch for both, share in ((alone, budget), (double, budget / 2))
    ]
    assert branches[0].keep == branches[1].keep
