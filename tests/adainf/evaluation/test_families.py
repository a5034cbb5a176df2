"""A family of networks, from its calibration on: measured, evaluated, timed, exported and loaded by the commands.

The larger network is the smaller one with blocks that change nothing, and the smaller one's scores are halved: so both
give the same answers, the smaller one at fewer MACs, and its scores need to be doubled.
"""

import csv
import json
import signal
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

import adainf as library
from adainf.backbones import Options, cifar, load
from adainf.backbones.macs import branch_space
from adainf.branch import REFERENCE, Branch
from adainf.control import Policy, Signals
from adainf.control.policy import Budgets
from adainf.engines.torch import TorchEngine
from adainf.profile import Profile
from adainf.schedulers import LookupTable

BACKBONES = ("--backbone", "cifar/resnet32", "--backbone", "cifar/resnet20")
FULL, OTHER_FULL = "32:111111111111111", "resnet20/32:111111111"


def write_weights(folder: Path) -> dict[str, Path]:
    torch.manual_seed(0)
    small = cifar.network("resnet20", 10)
    large = cifar.network("resnet32", 10)
    state = large.state_dict()
    for key, value in small.state_dict().items():
        state[key] = value.clone()
    for stage in (1, 2, 3):
        for block in (3, 4):  # beyond those of the smaller network: they add nothing
            for part in ("weight", "bias"):
                state[f"layer{stage}.{block}.bn2.{part}"].zero_()
    halved = small.state_dict() | {key: value / 2 for key, value in small.linear.state_dict(prefix="linear.").items()}
    files = {name: folder / f"{name}.safetensors" for name in ("resnet32", "resnet20")}
    save_file(state, files["resnet32"])
    save_file(halved, files["resnet20"])
    return files


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> dict[str, Path]:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def named(weights) -> tuple[str, ...]:
    """The options that name both networks' weights."""
    return tuple(part for name, file in weights.items() for part in ("--weights", f"{name}={file}"))


@pytest.fixture(scope="session")
def settings(named, pictures) -> tuple[object, ...]:
    sizes = ("--resolutions", "16,32", "--branches", 24, "--threads", 1)
    return (*BACKBONES, *named, *sizes, "--images", pictures, "--unlabelled", "--limit", 24)


@pytest.fixture(scope="session")
def interrupted(start, settings, tmp_path_factory) -> bytes:
    """The counts of a calibration that was killed after it had written its first."""
    out = tmp_path_factory.mktemp("killed") / "family.json"
    partial = out.with_name("family.json.partial")
    with start("calibrate", *settings, "--out", out) as process:
        while not partial.exists() and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return partial.read_bytes()


@pytest.fixture(scope="session")
def family(made, settings, tmp_path_factory) -> Path:
    """The profile of both networks, made in one go. Not to be changed."""
    out = tmp_path_factory.mktemp("family") / "family.json"
    printed = made("calibrate", *settings, "--out", out)
    assert "24 branches of cifar/resnet32, cifar/resnet20" in printed
    return out


def test_a_profile_has_both_networks_and_the_scale_of_their_scores(family):
    read = Profile.read(family)
    reference, other = read.networks
    assert (reference.name, reference.scale) == ("resnet32", 1.0)
    assert (other.name, other.scale) == ("resnet20", 2.0)
    networks = [Branch.parse(measured.branch).network for measured in read.branches]
    assert {key: networks.count(key) for key in ("", "resnet20")} == {"": 12, "resnet20": 12}
    assert read.branches[0].branch == FULL
    assert not list(family.parent.glob("*.partial"))


def test_the_frontier_takes_the_smaller_network_that_answers_alike(family):
    read = Profile.read(family)
    of_branch = {measured.branch: measured for measured in read.branches}
    assert of_branch[OTHER_FULL].agreement == 1
    assert of_branch[OTHER_FULL].loss == of_branch[FULL].loss
    best = LookupTable(read).choose(1)
    assert (str(best.branch), best.expected_accuracy) == (OTHER_FULL, 1)
    assert best.macs_fraction == pytest.approx(0.59, abs=0.01)


def test_killed_and_started_again_it_ends_with_the_same_profile(done, settings, family, interrupted, tmp_path):
    (tmp_path / "family.json.partial").write_bytes(interrupted)
    assert json.loads(interrupted)["images"] < 24
    done("calibrate", *settings, "--out", tmp_path / "family.json")
    assert (tmp_path / "family.json").read_bytes() == family.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["family.json"]


def test_other_weights_of_one_network_leave_unfinished_counts_alone(refused, weights, settings, interrupted, tmp_path):
    partial = tmp_path / "family.json.partial"
    partial.write_bytes(interrupted)
    changed = [str(value).replace(f"={weights['resnet20']}", "=random") for value in settings]
    said = refused("calibrate", *changed, "--labels", ",".join("abcdefghij"), "--out", tmp_path / "family.json")
    assert "belongs to a calibration with weights" in said
    assert partial.read_bytes() == interrupted


def test_on_the_pictures_of_its_calibration_it_finds_what_it_expects(done, named, family, pictures):
    common = ("--images", pictures, "--unlabelled", "--limit", 24, "--threads", 1, "--ceilings", "1,0.5,0.3")
    points = json.loads(done("evaluate", "--profile", family, *named, *common, "--json"))
    assert [point["top1"] for point in points] == pytest.approx([point["expected_accuracy"] for point in points])
    assert all(point["macs_fraction"] <= point["ceiling"] for point in points)
    assert points[0]["branch"] == OTHER_FULL


@pytest.mark.parametrize("only", [(), ("--resolutions", "16")], ids=["whole", "16"])
def test_every_method_is_compared_over_both_networks(done, named, family, pictures, tmp_path, only):
    common = ("--images", pictures, "--unlabelled", "--limit", 24, "--threads", 1, "--budgets", 10, "--branches")
    printed = done("evaluate", "--profile", family, *named, *common, *only, "--out", tmp_path / "out")
    with (tmp_path / "out" / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == {
        "table", "lookup, resnet32 alone", "lookup, resnet20 alone", "upper envelope", "oracle",
        "random feasible branch",
    }  # fmt: skip
    assert "hard budgets exceeded: 0" in printed
    top1 = {row["method"]: float(row["top1"]) for row in rows if row["bound"] == "hard" and row["budget"] == "1.0"}
    if not only:
        assert top1["table"] == top1["lookup, resnet20 alone"] == top1["lookup, resnet32 alone"] == 1
    assert (tmp_path / "out" / "branches.png").read_bytes().startswith(b"\x89PNG")


def test_both_networks_are_timed_whatever_their_weights(done, refused, weights, family, tmp_path):
    path = tmp_path / "family.json"
    path.write_bytes(family.read_bytes())
    measure = ("measure", path, "--engine", "torch", "--threads", 1, "--seconds", 2)
    # Ten classes, where random weights of the other network have a hundred.
    printed = done(*measure, "--weights", weights["resnet32"])
    (timings,) = json.loads(path.read_text())["timings"]
    assert {Branch.parse(text).network for text in timings["times"]} == {"", "resnet20"}
    assert timings["times"][OTHER_FULL]["p50_ms"] < timings["times"][FULL]["p50_ms"]
    assert OTHER_FULL in printed
    said = refused(*measure, "--weights", f"tony={weights['resnet32']}")
    assert "weights of network tony: the profile's networks are resnet32, resnet20" in said
    said = refused(*measure, "--weights", weights["resnet32"], "--weights", "resnet20=random")
    assert "network resnet20: must have the classes of resnet32; class 10 is" in said


def test_a_branch_of_either_network_is_exported(done, refused, weights, named, family, tmp_path):
    out = tmp_path / "a.onnx"
    printed = done("export", "--profile", family, *named, "--branch", OTHER_FULL, "--out", out)
    assert "32:111111111 of resnet20, " in printed
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    told = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert (told["adainf.backbone"], told["adainf.branch"]) == ("cifar/resnet20", "32:111111111")
    assert told["adainf.macs_fraction"] == pytest.approx(0.59, abs=0.01)
    engine = TorchEngine({REFERENCE: load("cifar/resnet20", Options(str(weights["resnet20"])))}, threads=1)
    prepared = engine.prepare(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8), 32)
    (scores,) = session.run(["scores"], {"images": prepared.numpy()})
    expected = engine.run([prepared], [Branch.parse(told["adainf.branch"])])
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4)
    assert "32:111111111111111 of resnet32" in done(
        "export", "--profile", family, *named, "--branch", FULL, "--out", out
    )
    said = refused("export", "--profile", family, *named, "--branch", "tony/32:111111111", "--out", tmp_path / "b.onnx")
    assert "branch 'tony/32:111111111': is none of the profile's 24" in said
    swapped = ("--weights", f"resnet32={weights['resnet32']}", "--weights", "resnet20=random")
    said = refused("export", "--profile", family, *swapped, "--branch", OTHER_FULL, "--out", tmp_path / "b.onnx")
    assert "was calibrated for other weights of cifar/resnet20" in said
    assert not (tmp_path / "b.onnx").exists()


def test_one_of_the_networks_learns_along_its_own_branches(done, weights, family, pictures, tmp_path):
    network = ("--backbone", "cifar/resnet20", "--weights", weights["resnet20"], "--threads", 1)
    steps = ("--batch", 4, "--steps", 1, "--images", pictures, "--unlabelled")
    done("train", *network, *steps, "--profile", family, "--ceiling", 0.5, "--out", tmp_path / "run")
    drawn = json.loads((tmp_path / "run" / "manifest.json").read_text())["training"]["branches"]
    # The ceiling is a share of that network's MACs, not of the larger one's.
    frontier = LookupTable(Profile.read(family).alone("resnet20")).frontier
    full = branch_space(load("cifar/resnet20", Options(str(weights["resnet20"]))), [16])
    assert set(drawn) == {str(choice.branch) for choice in frontier if full.fraction(choice.branch) <= 0.5}


def test_a_model_answers_along_each_network_as_surely(weights, family, tmp_path, monkeypatch):
    """The halved scores are brought to the reference's scale: a label is as likely whichever network answers."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    by_name = {name: str(file) for name, file in weights.items()}
    with library.load(str(family), policy=Policy(), weights=by_name, threads=1, top=10) as model:
        answer = model(picture, signals=Signals())
        assert str(answer.branch) == OTHER_FULL
        assert answer.macs_fraction <= answer.budget.fraction
    reference = TorchEngine({REFERENCE: load("cifar/resnet32", Options(by_name["resnet32"]))}, threads=1)
    (scores,) = reference.run([reference.prepare(picture, 32)], [Branch.parse(FULL)])
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    assert {label.index: label.score for label in answer.labels} == pytest.approx(dict(enumerate(shares)), abs=2e-3)
    with pytest.warns(UserWarning, match=r"^network resnet20: is left out; give a file as its weights \("):
        model = library.load(
            str(family), policy=Policy(budget=Budgets(maximum=0.6)), weights=by_name["resnet32"], threads=1
        )
    with model:
        assert {network.name for network in model.profile.networks} == {"resnet32"}
        answer = model(picture, signals=Signals())
        assert answer.branch.network == REFERENCE
        assert answer.macs_fraction <= 0.6


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((*BACKBONES, "--weights", "tony=random"), "weights tony=…: no such network; these are resnet32, resnet20"),
        (("--backbone", "cifar/resnet20") * 2, "two networks would be called resnet20"),
        (("--backbone", "cifar/resnet18", "--backbone", "timm/resnet18"), "two networks would be called resnet18"),
        ((*BACKBONES, "--weights", "random"), "--weights is NAME=WEIGHTS for each of them"),
        ((*BACKBONES, "--size", 16), "with several backbones --size"),
        ((*BACKBONES, "--mean", "0,0,0"), "with several backbones --size, --mean"),
        ((*BACKBONES, "--std", "1,1,1"), "with several backbones --size, --mean and --std"),
        (
            (*BACKBONES, "--weights", "resnet20=random", "--weights", "resnet20=random"),
            "--weights resnet20=random: is given twice",
        ),
        ((*BACKBONES, "--weights", "resnet32=random"), "weights: cifar/resnet20 has none to fetch"),
        ((*BACKBONES, "--weights", "resnet32=LARGE", "--weights", "resnet20=random"), "must have the classes of"),
        ((*BACKBONES, "--weights", "resnet32=LARGE", "--weights", "resnet20=SMALL", "--resolutions", "64"),
         "resolution 64: must be at most 32, where cifar/resnet32 is native"),
        ((*BACKBONES, "--weights", "resnet32=LARGE", "--weights", "resnet20=SMALL", "--resolutions", "16,32",
          "--branches", 4), "branches 4: must be at least 6, 3 for each of 2 networks"),
    ],
)  # fmt: skip
def test_what_cannot_be_calibrated_is_refused(refused, weights, pictures, tmp_path, arguments, says):
    names = {"LARGE": str(weights["resnet32"]), "SMALL": str(weights["resnet20"])}
    given = [str(argument) for argument in arguments]
    for name, file in names.items():
        given = [argument.replace(name, file) for argument in given]
    out = tmp_path / "p.json"
    said = refused("calibrate", *given, "--threads", 1, "--images", pictures, "--unlabelled", "--out", out)
    assert says in said
    assert not list(tmp_path.iterdir())
