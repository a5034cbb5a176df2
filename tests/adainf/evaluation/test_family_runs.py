"""A family whose smaller network has been trained: its adapter and its scheduler work beside the larger one."""

import csv
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_weights

from adainf.backbones import cifar
from adainf.branch import Branch
from adainf.profile import Profile, Scheduled
from adainf.run import Run, digest
from adainf.schedulers.content_aware import content_aware

BACKBONES = ("--backbone", "cifar/resnet32", "--backbone", "cifar/resnet20")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder, files = tmp_path_factory.mktemp("weights"), {}
    for seed, name in enumerate(("resnet32", "resnet20")):
        torch.manual_seed(seed)
        files[name] = folder / f"{name}.safetensors"
        save_weights(cifar.network(name, 100).state_dict(), files[name])
    return files


@pytest.fixture(scope="module")
def named(weights):
    """The options that name both networks' weights, and the pictures' part."""
    each = tuple(part for name, file in weights.items() for part in ("--weights", f"{name}={file}"))
    return (*each, "--threads", "1")


@pytest.fixture(scope="module")
def run(made, weights, pictures, tmp_path_factory):
    """A run of the smaller network by the paper's recipe, whose scheduler decides otherwise for each picture."""
    out = tmp_path_factory.mktemp("runs") / "run"
    arguments = ("--backbone", "cifar/resnet20", "--weights", weights["resnet20"], "--threads", 1, "--images", pictures)
    made("train", *arguments, "--batch", 8, "--steps", 4, "--recipe", "paper", "--out", out)
    path, manifest, draw = out / "scheduler.safetensors", Run.read(out).manifest, np.random.default_rng(1)
    tensors = load_file(path)
    for name in ("joined.0.weight", "joined.2.weight"):
        tensors[name] = (9 * draw.normal(size=tensors[name].shape)).astype(np.float32)
    save_file(tensors, path)
    Run.write(out, manifest.model_copy(update={"files": {**manifest.files, path.name: digest(path)}}))
    return out


@pytest.fixture(scope="module")
def calibrated(made, run, named, pictures):
    """The run with a profile of both networks. Not to be changed."""
    common = (*BACKBONES, *named, "--images", pictures, "--zoom", 0, "--resolutions", "32", "--branches", 16)
    made("calibrate", "--run", run, *common)
    return run


def test_the_adapted_network_stands_beside_the_one_it_adapts(calibrated):
    read, manifest = Profile.read(calibrated / "profile.json"), Run.read(calibrated).manifest
    reference, base, adapted = read.networks
    assert [network.name for network in read.networks] == ["resnet32", "resnet20", "adapted"]
    assert (
        (adapted.backbone, adapted.weights) == ("cifar/resnet20", base.weights) == ("cifar/resnet20", manifest.weights)
    )
    assert reference.weights != base.weights
    assert (adapted.adapter, adapted.scale) == (manifest.files["adapter.safetensors"], base.scale)
    # Each path of the smaller network runs once, with or without the adapter; the reference keeps its own.
    running = [Branch.parse(measured.branch) for measured in read.branches]
    aside = [Branch.parse(measured.branch) for measured in read.set_aside]
    paths = [branch.path for branch in running if branch.network]
    assert len(paths) == len(set(paths))
    assert {branch.path for branch in aside} <= set(paths)
    assert {branch.network for branch in (*running, *aside)} == {"", "resnet20", "adapted"}
    assert running[0] == read.space.full


def test_budgets_of_the_scheduler_are_shares_of_the_reference_s_macs(done, calibrated, named, pictures, tmp_path):
    out = tmp_path / "out"
    common = ("evaluate", "--run", calibrated, *named, "--images", pictures)
    printed = done(*common, "--budgets", 20, "--out", out)
    assert "hard budgets exceeded: 0" in printed
    with (out / "curve.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["method"], row["bound"]) == ("paper", "hard")]
    assert len(rows) == 20
    read = Profile.read(calibrated / "profile.json")
    smaller = read.space.fraction(read.space.networks["adapted"].full)
    assert smaller == pytest.approx(0.59, abs=0.01)
    for row in rows:
        assert float(row["macs_fraction_max"]) <= max(float(row["budget"]), float(row["floor"])) + 1e-6
        assert float(row["macs_fraction_max"]) <= smaller * 1.02  # the scheduler's own MACs come on top
    used = [float(row["macs_fraction"]) / float(row["budget"]) for row in rows if row["budget"] >= row["floor"]]
    assert max(used) > 0.9  # as shares of its own MACs budgets would leave two fifths unused
    assert float(rows[0]["floor"]) < smaller
    # What calibration found of the scheduler on these very pictures is what evaluation finds.
    found = {round(float(row["budget"]), 4): float(row["top1"]) for row in rows}
    assert len(read.scheduled) > 2
    for level in read.scheduled:
        assert level.accuracy == pytest.approx(found[level.budget], abs=1e-6)


def test_the_scheduler_that_runs_keeps_the_family_s_budgets(calibrated):
    read, run = Profile.read(calibrated / "profile.json"), Run.read(calibrated)
    level = Scheduled(budget=0.0, accuracy=0.5, table=0.4, better=True)
    content = content_aware(run, read.model_copy(update={"scheduled": (level,)}))
    assert content.network == "adapted"
    draw, full = np.random.default_rng(0), read.space.macs(read.space.full)
    ways = set()
    for budget in np.linspace(0, 1, 60):
        if content.level(budget) is not None:
            choice = content.choose(draw.normal(size=16).astype(np.float32), level, budget)
            assert choice.macs / full == choice.macs_fraction <= budget
            assert choice.branch in read.space
            ways.add(choice.branch)
    assert len(ways) > 5


def test_what_does_not_go_with_a_run_is_refused(refused, calibrated, named, weights, pictures, tmp_path):
    out = ("--images", pictures, "--out", tmp_path / "p.json")
    profile = calibrated / "profile.json"
    said = refused("evaluate", "--profile", profile, *named, "--images", pictures)
    assert "has branches with adapted weights; give the run that they belong to" in said
    said = refused("calibrate", "--run", calibrated, *BACKBONES, *named, "--profile", profile, *out)
    assert "is itself a run's; give one by the base weights alone" in said
    alone = ("--backbone", "cifar/resnet32", "--weights", weights["resnet32"])
    said = refused("calibrate", "--run", calibrated, *alone, *out)
    assert "is of cifar/resnet20, none of cifar/resnet32" in said
    swapped = (*BACKBONES, "--weights", f"resnet32={weights['resnet32']}", "--weights", "resnet20=random")
    said = refused("calibrate", "--run", calibrated, *swapped, *out)
    assert "other weights" in said
    assert not (tmp_path / "p.json").exists()


def test_a_run_that_left_the_weights_alone_is_of_the_reference(refused, calibrated, named, pictures, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    manifest = json.loads((calibrated / "manifest.json").read_text())
    manifest["adapter"] = {"kind": "none"}
    del manifest["files"]["adapter.safetensors"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    (run / "scheduler.safetensors").write_bytes((calibrated / "scheduler.safetensors").read_bytes())
    said = refused("calibrate", "--run", run, *BACKBONES, *named, "--images", pictures)
    assert "has no adapter, so cifar/resnet20 must be the first backbone" in said


def test_what_a_profile_of_the_family_knows_is_not_measured_again(done, run, named, pictures, tmp_path):
    common = (*named, "--images", pictures, "--zoom", 0, "--branches", 16)
    plain = tmp_path / "plain.json"
    done("calibrate", *BACKBONES, *common, "--resolutions", "32", "--out", plain)
    # The profile names the networks.
    done("calibrate", "--run", run, "--profile", plain, *common, "--out", tmp_path / "run.json")
    before, after = Profile.read(plain), Profile.read(tmp_path / "run.json")
    assert [network.name for network in after.networks] == ["resnet32", "resnet20", "adapted"]
    assert after.networks[:2] == before.networks
    known = {measured.branch: measured for measured in before.branches}
    found = {measured.branch: measured for measured in (*after.branches, *after.set_aside)}
    assert known.items() <= found.items()
