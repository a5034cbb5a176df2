"""The paper's scheduler in `adainf evaluate`: every picture at every budget along its own blocks."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from adainf.backbones import Options, load
from adainf.backbones.adapters import adapted
from adainf.backbones.macs import branch_space
from adainf.evaluation.block_scheduler import Method, MethodOutcome
from adainf.media import images
from adainf.preprocessing import prepare
from adainf.profile import Profile
from adainf.research.methods import better
from adainf.run import Run, digest
from adainf.schedulers.block_scheduler import read_scheduler
from adainf.training.recipes.block_scheduler import embedding

SETTINGS = ("--weights", "random", "--threads", "1")


def _vary(folder):
    """Give the run's scheduler a mind of its own about each picture."""
    path = folder / "scheduler.safetensors"
    tensors, manifest = load_file(path), Run.read(folder).manifest
    draw = np.random.default_rng(1)
    for name in ("joined.0.weight", "joined.2.weight"):
        tensors[name] = (9 * draw.normal(size=tensors[name].shape)).astype(np.float32)
    tensors["joined.2.bias"][:] = 0
    save_file(tensors, path)
    Run.write(folder, manifest.model_copy(update={"files": {**manifest.files, path.name: digest(path)}}))


def test_every_picture_goes_along_its_own_blocks_at_every_budget(done, pictures, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    network = ("--backbone", "cifar/resnet20", *SETTINGS, "--size", 16, "--images", pictures)
    done("train", *network, "--batch", 8, "--steps", 4, "--recipe", "paper", "--bound", "soft", "--out", run)
    _vary(run)
    done("calibrate", "--run", run, *SETTINGS, "--images", pictures, "--resolutions", 16, "--branches", 8)
    printed = done("evaluate", "--run", run, *SETTINGS, "--images", pictures, "--budgets", 32, "--out", out)
    found = {}
    with (out / "curve.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault((row["method"], row["bound"]), []).append(row)
    assert found.keys() >= {("paper, content shuffled", "soft"), ("better of table and paper", "hard")}

    base = load("cifar/resnet20", Options("random", size=16))
    network, space = adapted(base, Run.read(run)), branch_space(base)
    listed = images.listing(pictures, labelled=True)
    inputs = [prepare(images.decode(picture.path), 16, base.preprocessing) for picture in listed]
    labels = np.array([int(picture.folder) for picture in listed])
    stacked = torch.from_numpy(np.stack(inputs))
    seen = embedding(network.step(0, network.stem(stacked), True)).numpy()
    exceeded = 0
    for bound in ("hard", "soft"):
        scheduler = replace(read_scheduler(Run.read(run), Profile.read(run / "profile.json")), bound=bound)
        ways = set()
        for row in found["paper", bound]:
            keeps = scheduler.keeps(seen, np.full(len(seen), float(row["budget"])))
            ways |= set(map(tuple, keeps.tolist()))
            right = network.forward_each(stacked, keeps.tolist()).argmax(dim=1).numpy() == labels
            macs = [space.parts[16].along(tuple(keep)) + scheduler.macs for keep in keeps.tolist()]
            assert float(row["top1"]) == pytest.approx(right.mean())
            assert float(row["macs_fraction"]) == pytest.approx(np.mean(macs) / space.macs(space.full), abs=1e-6)
            assert float(row["macs_fraction_max"]) == pytest.approx(max(macs) / space.macs(space.full), abs=1e-6)
            exceeds = float(row["macs_fraction_max"]) > max(float(row["budget"]), float(row["floor"]))
            assert not (bound == "hard" and exceeds)
            exceeded += exceeds
        assert len(ways) > 2
    assert exceeded > 0
    assert "hard budgets exceeded: 0" in printed

    # What calibration found of the scheduler, on these very pictures, is what evaluation finds.
    profile = Profile.read(run / "profile.json")
    assert [level.budget for level in profile.scheduled][-1] == 1
    hard = {float(row["budget"]): float(row["top1"]) for row in found["paper", "hard"]}
    table = {float(row["budget"]): float(row["top1"]) for row in found["table", "hard"]}
    both = [level for level in profile.scheduled if level.budget in hard]
    assert len(both) > 2
    for level in both:
        error = np.sqrt(level.accuracy * (1 - level.accuracy) / len(labels))
        assert (level.accuracy, level.table) == pytest.approx((hard[level.budget], table[level.budget]), abs=1e-6)
        assert level.better == (level.accuracy > level.table + error)


def _method(name, floor, right, macs):
    outcome = MethodOutcome(np.array(right, np.float64), macs, macs)
    return Method(name, "hard", floor, lambda _: outcome)


def test_the_better_of_two_is_chosen_by_the_other_half_of_the_pictures():
    # The second is better on the odd rows alone, so it is taken for the even ones.
    table, paper = _method("table", 0.1, [1, 0, 1, 0], 0.3), _method("paper", 0.2, [0, 1, 0, 1], 0.5)
    chosen = better("better", table, paper).at(0.5)
    assert chosen.right.tolist() == [0, 0, 0, 0]
    assert (chosen.macs, chosen.macs_most) == (0.4, 0.5)
    always = better("better", _method("table", 0.1, [1, 0, 0, 0], 0.3), _method("paper", 0.2, [1, 1, 1, 1], 0.5)).at(
        0.5
    )
    assert always.right.tolist() == [1, 1, 1, 1]


def test_below_its_floor_a_method_is_not_taken():
    table, paper = _method("table", 0.1, [0, 0], 0.1), _method("paper", 0.2, [1, 1], 0.2)
    assert better("better", table, paper).at(0.15).right.tolist() == [0, 0]
