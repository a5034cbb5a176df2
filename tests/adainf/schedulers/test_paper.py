import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from adainf.base.errors import InvalidInputError
from adainf.branch import BranchSpace, PartMacs
from adainf.schedulers.block_scheduler import PaperScheduler

SPACE = BranchSpace(
    32,
    (False, True, True, False, True, True),
    {32: PartMacs(30_011, (70_001, 90_000, 90_000, 80_000, 120_007, 120_007), (0, 0, 0, 20_000, 20_000, 0), 6_400)},
)
WIDTH = 8


def tensors(seed: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    shapes = {"budget.0": (4, 1), "budget.2": (4, 4), "joined.0": (8, WIDTH + 4), "joined.2": (4, 8)}
    weights = {f"{name}.weight": draw.normal(size=shape) for name, shape in shapes.items()}
    biases = {f"{name}.bias": draw.normal(size=shape[0]) for name, shape in shapes.items()}
    return {name: value.astype(np.float32) for name, value in (weights | biases).items()}


@given(seed=st.integers(0, 2**32 - 1), budgets=st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_the_hard_bound_is_never_exceeded_by_any_picture_at_any_budget(seed, budgets):
    scheduler = PaperScheduler(tensors(seed), "hard", SPACE)
    full = SPACE.macs(SPACE.full)
    embeddings = np.random.default_rng(seed).normal(size=(len(budgets), WIDTH)).astype(np.float32)
    exact = [(SPACE.macs(branch) + scheduler.macs) / full for branch in SPACE]
    for at in (np.array(budgets), np.resize(exact, len(budgets))):
        keeps = scheduler.keeps(embeddings, at)
        for keep, budget in zip(keeps.tolist(), at, strict=True):
            spent = (SPACE.parts[32].along(tuple(keep)) + scheduler.macs) / full
            assert spent <= max(budget, scheduler.floor)


def test_a_branch_whose_own_macs_are_the_budget_fits():
    # Every block is wanted.
    wanting = tensors(0) | {"joined.2.weight": np.zeros((4, 8), np.float32), "joined.2.bias": np.ones(4, np.float32)}
    scheduler = PaperScheduler(wanting, "hard", SPACE)
    full = SPACE.macs(SPACE.full)
    for branch in SPACE:
        budget = np.array([(SPACE.macs(branch) + scheduler.macs) / full])
        (keep,) = scheduler.keeps(np.zeros((1, WIDTH), np.float32), budget)
        # It has no fewer blocks than that branch.
        assert sum(keep) >= sum(branch.keep)


@given(seed=st.integers(0, 2**32 - 1), budget=st.floats(0, 1))
def test_one_picture_after_the_other_is_decided_as_many_at_once(seed, budget):
    scheduler = PaperScheduler(tensors(seed), "hard", SPACE)
    embeddings = np.random.default_rng(seed).normal(size=(5, WIDTH)).astype(np.float32)
    at_once = scheduler.keeps(embeddings, np.full(5, budget))
    decide = scheduler.at(budget)
    assert [decide(embedding).tolist() for embedding in embeddings] == at_once.tolist()


def test_the_soft_bound_keeps_what_is_likelier_kept_than_not():
    scheduler = PaperScheduler(tensors(1), "soft", SPACE)
    embeddings = np.random.default_rng(1).normal(size=(50, WIDTH)).astype(np.float32)
    budgets = np.linspace(0, 1, 50)
    keeps = scheduler.keeps(embeddings, budgets)
    assert (keeps[:, list(SPACE.droppable)] == (scheduler.scores(embeddings, budgets) > 0)).all()
    assert keeps[:, [0, 3]].all()
    assert 0 < keeps[:, 1].mean() < 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"joined.2.bias": np.zeros(3, np.float32)}, "decides on 3 blocks; the backbone has 4"),
        ({"joined.2.bias": None}, "has no tensor 'joined.2.bias'"),
        (None, "is damaged"),
    ],
)
def test_a_file_that_is_no_scheduler_of_the_backbone_is_refused(tmp_path, change, said):
    path = tmp_path / "scheduler.safetensors"
    if change is None:
        path.write_bytes(b"nothing")
    else:
        save_file({name: value for name, value in (tensors(0) | change).items() if value is not None}, path)
    with pytest.raises(InvalidInputError, match=said):
        PaperScheduler.read(path, "hard", SPACE)
