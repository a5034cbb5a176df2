import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from adainf.backbones import Options, load
from adainf.backbones.adapters import attach
from adainf.backbones.macs import branch_space, count
from adainf.schedulers.block_scheduler import PaperScheduler
from adainf.schedulers.projection import Projection
from adainf.training.data.views import Batch
from adainf.training.ranks import Ranks
from adainf.training.recipes.block_scheduler import PaperRecipe, Scheduler, draw_bits, embedding
from adainf.training.recipes.knapsack import Knapsack

PAPER = ("train", "--recipe", "paper", "--backbone", "cifar/resnet20", "--weights", "random", "--size", 16)
SMALL = ("--threads", 1, "--batch", 4, "--rank", 2)


@pytest.fixture(scope="module")
def backbone():
    return load("cifar/resnet20", Options("random", size=16))


@pytest.fixture(scope="module")
def space(backbone):
    return branch_space(backbone)


@pytest.fixture
def recipe(backbone, space):
    def make(bound="hard", adapt="lora", ranks=Ranks(), batch=6):  # noqa: B008
        adapter = attach(backbone, adapt, 2, 2)
        return PaperRecipe(backbone, adapter, space, bound=bound, overrun_weight=1, batch=batch, seed=0, ranks=ranks)

    return make


def _batch(positions=range(6), *, labelled=True):
    draw = np.random.default_rng(0)
    images = torch.tensor(draw.normal(size=(6, 3, 16, 16)), dtype=torch.float32)[list(positions)]
    return Batch(3, {16: images}, torch.arange(6)[list(positions)] if labelled else None)


@pytest.mark.parametrize("bound", ["hard", "soft"])
@pytest.mark.parametrize("labelled", [True, False])
def test_gradients_reach_the_scheduler_and_the_adapter(recipe, bound, labelled):
    trained = recipe(bound)
    trained.learn(_batch(labelled=labelled))
    for name, parameter in trained.parameters.items():
        # The first factors of an update learn once the others are no longer nothing.
        if not name.endswith("lora_A.weight") and "shortcut" not in name:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def kept(scheduler, odds, budgets):
    return torch.from_numpy(scheduler.kept(odds.numpy(), budgets))


@pytest.mark.parametrize("bound", ["hard", "soft"])
def test_bits_run_as_0_and_1_and_learn_as_soft_ones(backbone, space, bound):
    scheduler = Scheduler(16, sum(space.droppable), seed=0)
    log_odds = torch.zeros(40, sum(space.droppable), requires_grad=True)
    noise = torch.linspace(-3, 3, log_odds.numel()).view_as(log_odds)
    runs = scheduler.frozen(bound, space)
    bits = draw_bits(log_odds, noise, lambda odds: kept(runs, odds, np.linspace(0.2, 1, 40)))
    assert set(bits.unique().tolist()) == {0.0, 1.0}
    (gradient,) = torch.autograd.grad(bits.sum(), log_odds)
    soft = noise.sigmoid()
    torch.testing.assert_close(gradient, soft * (1 - soft))


def test_a_hard_bound_holds_while_training_too(backbone, space):
    scheduler = Scheduler(16, sum(space.droppable), seed=0).frozen("hard", space)
    budgets = np.linspace(scheduler.floor, 1, 64)
    log_odds = torch.full((64, sum(space.droppable)), 9.0)
    bits = draw_bits(log_odds, torch.zeros_like(log_odds), lambda odds: kept(scheduler, odds, budgets))
    macs = scheduler.projection.macs(bits.numpy() > 0) + scheduler.macs
    assert (macs / space.macs(space.full) <= budgets).all()


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "resnet32"])
def test_where_the_scores_are_the_same_blocks_are_chosen(name):
    space = branch_space(load(f"cifar/{name}", Options("random", size=16)))
    projection = Projection(space.parts[16], space.droppable)
    draw = np.random.default_rng(0)
    scores = draw.normal(size=(500, projection.count)).astype(np.float32)
    budgets = (draw.uniform(size=500) * space.macs(space.full)).astype(np.int64)
    found = Knapsack(projection, torch.device("cpu")).kept(torch.from_numpy(scores), torch.from_numpy(budgets))
    assert (found.numpy() == projection.project(scores, budgets)).all()


def test_the_soft_bound_is_taught_to_spend_less(recipe):
    trained = recipe("soft", adapt="none")
    optimizer = torch.optim.Adam(trained.parameters.values(), 1e-2)
    spent = []
    for _ in range(30):
        at = np.full(6, 0.3)
        seen = embedding(trained.teacher.step(0, trained.teacher.stem(_batch().inputs[16]), True)).detach()
        log_odds = trained.scheduler(seen, torch.tensor(at, dtype=torch.float32))
        spent.append(float((log_odds > 0).float().mean()))
        optimizer.zero_grad()
        trained.learn(_batch())
        optimizer.step()
    assert spent[0] == 1
    assert spent[-1] < 0.7


def test_what_runs_is_what_was_trained_without_noise(recipe, space, tmp_path):
    trained = recipe("soft")
    trained.save(tmp_path)
    runs = PaperScheduler.read(tmp_path / "scheduler.safetensors", "soft", space)
    draw = np.random.default_rng(0)
    embeddings, budgets = draw.normal(size=(30, 16)).astype(np.float32), draw.uniform(size=30)
    scores = trained.scheduler(torch.tensor(embeddings), torch.tensor(budgets, dtype=torch.float32))
    np.testing.assert_allclose(runs.scores(embeddings, budgets), scores.detach().numpy(), atol=1e-5)
    assert (runs.keeps(embeddings, budgets) == runs.keeps(embeddings, budgets)).all()


def test_the_schedulers_own_cost_is_counted(space):
    blocks = sum(space.droppable)
    on_meta = Scheduler(16, blocks, seed=0).to("meta")
    counted = count(lambda: on_meta(torch.empty(1, 16, device="meta"), torch.empty(1, device="meta")))
    assert Scheduler(16, blocks, seed=0).frozen("hard", space).macs == counted


def test_two_halves_of_a_batch_learn_what_the_whole_does(recipe):
    whole = recipe()
    whole.learn(_batch())
    halves = [recipe(ranks=Ranks(rank, 2)) for rank in (0, 1)]
    for rank, half in enumerate(halves):
        half.learn(_batch(range(3 * rank, 3 * rank + 3)))
    for name, parameter in whole.parameters.items():
        gradients = [half.parameters[name].grad for half in halves]
        if parameter.grad is not None:
            torch.testing.assert_close(sum(gradients) / 2, parameter.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("adapt", "files"),
    [("lora", ["adapter.safetensors", "scheduler.safetensors"]), ("none", ["scheduler.safetensors"])],
)
def test_a_run_has_a_scheduler(done, pictures, tmp_path, adapt, files):
    run = tmp_path / "run"
    done(*PAPER, *SMALL, "--adapt", adapt, "--bound", "soft", "--images", pictures, "--steps", 2, "--out", run)
    told = json.loads((run / "manifest.json").read_text())
    assert (told["scheduler"], told["training"]["recipe"], sorted(told["files"])) == ("paper-soft", "paper", files)
    assert told["training"]["learning_rate"] == 1e-3
    assert len(load_file(run / "scheduler.safetensors")["joined.2.bias"]) == 8


def test_resolutions_are_refused(refused, pictures, tmp_path):
    given = ("--images", pictures, "--steps", 2, "--resolutions", "8,16", "--out", tmp_path / "run")
    assert "knows the native one, 16, alone" in refused(*PAPER, *SMALL, *given)
