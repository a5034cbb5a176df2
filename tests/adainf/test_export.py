"""`adainf export`: the file runs without us, and says what its user must know."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from adainf.backbones import Options, load
from adainf.backbones.adapters import adapted
from adainf.branch import REFERENCE, Branch
from adainf.engines.torch import TorchEngine
from adainf.profile import Profile
from adainf.run import Run

NETWORK = ("--weights", "random", "--threads", "1")


def _session(file):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session, {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}


def test_the_best_branch_within_a_budget_scores_as_the_engine_does(done, profile, tmp_path):
    out = tmp_path / "half.onnx"
    printed = done("export", "--profile", profile, "--weights", "random", "--budget", 0.5, "--out", out)
    session, told = _session(out)
    branch = Branch.parse(told["adainf.branch"])
    assert str(branch) in printed
    read = Profile.read(profile)
    assert told["adainf.macs_fraction"] == read.space.fraction(branch) <= 0.5
    engine = TorchEngine({REFERENCE: load("cifar/resnet20", Options("random"))}, threads=1)
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    prepared = engine.prepare(picture, branch.resolution)
    (scores,) = session.run(["scores"], {"images": prepared.numpy()})
    np.testing.assert_allclose(scores, engine.run([prepared], [branch]), rtol=0, atol=1e-4)
    (features,) = session.run(["features"], {"images": prepared.numpy()})
    np.testing.assert_allclose(features[0], engine.features([prepared], [branch])[0], rtol=0, atol=1e-4)
    assert tuple(told["labels"]) == engine.class_names
    assert told["resolution"] == branch.resolution


def test_a_runs_adapter_is_in_the_weights(done, refused, pictures, tmp_path):
    run, out = tmp_path / "run", tmp_path / "a.onnx"
    network = ("--backbone", "cifar/resnet20", *NETWORK, "--size", 16, "--images", pictures)
    done("train", *network, "--batch", 8, "--steps", 3, "--adapt", "full", "--learning-rate", 0.1,
         "--resolutions", 16, "--ceiling", 1, "--out", run)  # fmt: skip
    done("calibrate", "--run", run, *NETWORK, "--images", pictures, "--resolutions", 16, "--branches", 4)
    read = Profile.read(run / "profile.json")
    every = (*read.branches, *read.set_aside)
    branch = min((m for m in every if m.branch.startswith("adapted/")), key=lambda measured: measured.macs).branch
    read.model_copy(update={"branches": every, "set_aside": ()}).write(run / "profile.json")
    done("export", "--run", run, "--weights", "random", "--branch", branch, "--out", out)
    base = load("cifar/resnet20", Options("random", size=16))
    engine = TorchEngine({"adapted": adapted(base, Run.read(run), read.of_key["adapted"].strength)}, threads=1)
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    prepared = engine.prepare(picture, 16, "adapted")
    (scores,) = _session(out)[0].run(["scores"], {"images": prepared.numpy()})
    (expected,) = engine.networks["adapted"].forward_each(prepared, [Branch.parse(branch).keep])
    np.testing.assert_allclose(scores[0], expected, rtol=0, atol=1e-4)
    said = refused("export", "--profile", run / "profile.json", "--weights", "random", "--branch", branch, "--out", out)
    assert "give --run" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--budget", "0.0001"), "budget 0.0001: no branch fits"),
        (("--branch", "32:000000000"), "is none of the profile's"),
        (("--branch", "nonsense"), "is none of the profile's"),
        ((), "give one of --budget and --branch"),
        (("--budget", "2"), "--budget"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_nothing_written(refused, profile, tmp_path, arguments, says):
    out = tmp_path / "x.onnx"
    assert says in refused("export", "--profile", profile, "--weights", "random", *arguments, "--out", out)
    assert not out.exists()


def test_the_documents_program_reads_it(done, profile, tmp_path):
    done("export", "--profile", profile, "--weights", "random", "--budget", 1, "--out", tmp_path / "half.onnx")
    picture = np.random.default_rng(1).integers(0, 256, (60, 50, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "photograph.jpg"), picture)
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "export.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    labels = load("cifar/resnet20", Options("random")).classes.names
    assert ran.stdout.strip() in labels
