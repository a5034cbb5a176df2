"""Training on a GPU: what it learns is what the processor learns, to bfloat16's rounding."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from adainf.backbones import Options, load
from adainf.backbones.adapters import attach
from adainf.backbones.macs import branch_space
from adainf.preprocessing import Preprocessing
from adainf.training.checkpoint import Checkpoint, Progress
from adainf.training.data.small import SmallViews, keep
from adainf.training.data.sources import open_sources
from adainf.training.data.views import Batch, Sampling, Views
from adainf.training.ranks import Ranks
from adainf.training.recipes.block_scheduler import PaperRecipe
from adainf.training.recipes.distil import Distillation

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU and a CUDA build of torch"),
]

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def learnt(recipe_name, device):
    """The gradients of one step."""
    backbone = load("cifar/resnet20", Options("random")).to(device)
    space, adapter = branch_space(backbone), attach(backbone, "full")
    if recipe_name == "paper":
        recipe = PaperRecipe(backbone, adapter, space, bound="hard", overrun_weight=1, batch=64, seed=0, ranks=Ranks())
    else:
        recipe = Distillation(backbone, adapter, space, resolutions=(32,), ceiling=1.0, seed=0)
    draw = np.random.default_rng(0)
    images = torch.tensor(draw.normal(size=(64, 3, 32, 32)), dtype=torch.float32, device=device)
    outcome = recipe.learn(Batch(0, {32: images}, torch.arange(64, device=device)))
    gradients = [parameter.grad for parameter in recipe.parameters.values() if parameter.grad is not None]
    return float(outcome.loss), torch.cat([gradient.cpu().flatten() for gradient in gradients])


@pytest.mark.parametrize("recipe", ["distil", "paper"])
def test_gradients_are_those_of_the_processor(recipe):
    (loss, gradient), (loss_there, gradient_there) = learnt(recipe, CPU), learnt(recipe, GPU)
    assert loss_there == pytest.approx(loss, rel=0.02)
    assert torch.cosine_similarity(gradient, gradient_there, dim=0) > 0.95


@pytest.mark.parametrize("small", [True, False])
def test_views_are_those_of_the_processor(draw, tmp_path, small):
    sources = open_sources([draw(tmp_path / "noise", ["3", "4"], each=8)], None, 32)
    preprocessing = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    sampling = Sampling((1,), preprocessing, 8, 0, Ranks(), lambda _: (32, 16))
    found = []
    for device in (CPU, GPU):
        feed = SmallViews(keep(sources, device, 2), sampling) if small else Views(sources, sampling, device, 4)
        batches = feed.from_step(3)
        batch = next(batches)
        batches.close()
        assert all(inputs.device == device for inputs in batch.inputs.values())
        found.append({side: inputs.cpu() for side, inputs in batch.inputs.items()})
    for side in (32, 16):
        torch.testing.assert_close(found[1][side], found[0][side], rtol=0, atol=2.01 / 255 / 0.5 if small else 1e-6)


@pytest.mark.parametrize("recipe", ["distil", "paper"])
@pytest.mark.parametrize("adapt", ["lora", "full"])
def test_both_recipes_train_there_and_go_on(done, network, pictures, tmp_path, recipe, adapt):
    resolutions = () if recipe == "paper" else ("--resolutions", "16,24", "--ceiling", 0.5)
    how = ("--recipe", recipe, "--adapt", adapt, "--batch-norm", "train", *resolutions)
    command = ("train", *network[:4], *how, "--batch", 16, "--images", pictures, "--device", "cuda")
    done(*command, "--steps", 40, "--checkpoint-every", 0, "--out", tmp_path / "run")
    kept = load_file(tmp_path / "run" / "adapter.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in kept.values())
    assert any(name.endswith("running_mean") for name in kept)


def test_pretraining_runs_there(done, pictures, tmp_path):
    command = ("pretrain", "--backbone", "cifar/resnet20", "--images", pictures, "--batch", 16, "--device", "cuda")
    done(
        *command, "--steps", 40, "--checkpoint-every", 0, "--label-smoothing", 0.1, "--out", tmp_path / "w.safetensors"
    )
    assert load_file(tmp_path / "w.safetensors")["conv1.weight"].dtype == torch.float32


def test_an_optimizer_goes_on_from_its_checkpoint(tmp_path):
    def begun():
        parameter = torch.nn.Parameter(torch.ones(3, device=GPU))
        return parameter, torch.optim.AdamW([parameter], lr=0.1, fused=True)

    def step(parameter, optimizer):
        optimizer.zero_grad()
        (parameter * torch.arange(3.0, device=GPU)).square().sum().backward()
        optimizer.step()

    first, other = begun(), begun()
    step(*first)
    Checkpoint.take(Progress(1), {"p": first[0]}, first[1]).write(tmp_path / "checkpoint.safetensors", {})
    Checkpoint.read(tmp_path / "checkpoint.safetensors", {}).restore({"p": other[0]}, other[1])
    step(*first)
    step(*other)
    assert torch.equal(first[0], other[0])
