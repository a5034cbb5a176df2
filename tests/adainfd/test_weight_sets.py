"""A daemon that is given a run uses its weights along the branches that are better with them, and no others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from adainfd.config import Configuration
from adainfd.model import read_profile
from adainfd.recogniser import load_recogniser
from adainfd.settings import check
from daemons import START_SECONDS, Network, assert_refused, listening, write_video

from adainf.backbones import Options, load
from adainf.backbones.adapters import adapted, attach
from adainf.branch import Branch
from adainf.engines.torch import TorchEngine
from adainf.errors import InvalidInputError
from adainf.profile import Profile
from adainf.run import Adapter, Manifest, Run, Training, digest

CHEAP = "16:111111111"


@pytest.fixture(scope="module")
def trained(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose adapter was drawn instead of trained, with a profile whose branches at 16 px run with it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    backbone = load("cifar/resnet20", Options(str(network.weights)))
    adapter = attach(backbone, "lora", 4, 4)
    for name, parameter in adapter.parameters.items():
        if ".lora_B" in name:
            parameter.data.normal_(0, 0.1)
    adapter.save(folder / "adapter.safetensors")
    base = Profile.read(network.profile)
    sha = digest(folder / "adapter.safetensors")
    training = Training(
        recipe="distil", sources=("drawn",), images=1, labelled=False, resolutions=(16,), steps=0, batch=1,
        learning_rate=1.0, seed=0, seconds=0.0, loss=0.0, created="2026-01-01", version="0",
    )  # fmt: skip
    manifest = Manifest(
        backbone=base.backbone,
        weights=base.weights,
        native_resolution=32,
        adapter=Adapter(kind="lora", rank=4, alpha=4),
        scheduler="none",
        training=training,
        files={"adapter.safetensors": sha},
    )
    branches = tuple(
        measured.model_copy(update={"weights": "adapted" if measured.branch.startswith("16:") else "base"})
        for measured in base.branches
    )
    base.model_copy(update={"adapter": sha, "branches": branches}).write(folder / "profile.json")
    Run.write(folder, manifest)
    return folder


def settings(file: Path, network: Network, bind: str, **model: str) -> Path:
    model = {"weights": str(network.weights), **model}
    lines = ["[model]", *(f"{key} = {json.dumps(value)}" for key, value in model.items())]
    file.write_text("\n".join([*lines, "[publish]", f"bind = [{json.dumps(bind)}]"]) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_scores_are_those_of_the_weights_that_the_profile_names(
    network: Network, trained: Path, ipc: str, tmp_path: Path, engine: str
) -> None:
    file = settings(tmp_path / "c.toml", network, ipc, run=str(trained), engine=engine)
    configuration = Configuration.read(file)
    profile = read_profile(configuration.model)
    recogniser = load_recogniser(configuration, profile, structlog.get_logger())
    base = load("cifar/resnet20", Options(str(network.weights)))
    alone = {"base": TorchEngine(base), "adapted": TorchEngine(adapted(base, Run.read(trained)))}
    picture = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    for text, weights in ((CHEAP, "adapted"), ("32:111111111", "base")):
        branch = Branch.parse(text)
        given, expected, other = (
            runner.run([runner.prepare(picture, branch.resolution)], [branch])
            for runner in (recogniser.engine, alone[weights], alone["base" if weights == "adapted" else "adapted"])
        )
        np.testing.assert_allclose(given, expected, rtol=0, atol=1e-4)
        assert np.abs(given - other).max() > 0.01


def test_messages_name_the_weights(launch: Any, network: Network, trained: Path, ipc: str, tmp_path: Path) -> None:
    video = write_video(tmp_path / "door.mp4", 25, moves=lambda _: True)
    file = settings(tmp_path / "c.toml", network, ipc)
    policy = tmp_path / "p.toml"
    policy.write_text("[budget]\nmaximum = 0.3\n", encoding="utf-8")
    seen: dict[str, set[str]] = {}
    with listening(ipc, b"result/") as receive:
        common = ["run", "--config", file, "--source", video, "--loop", "--run", trained]
        daemon = launch(*common, "--policy", policy)
        for _ in range(5):
            _, message = receive(START_SECONDS)
            seen.setdefault(message["plan"]["weights"], set()).add(message["plan"]["branch"])
        daemon.kill()
        assert set(seen) == {"adapted"}
        assert all(branch.startswith("16:") for branch in seen["adapted"])
        policy.write_text("[budget]\nminimum = 0.9\n", encoding="utf-8")
        launch(*common, "--policy", policy)
        _, message = receive(START_SECONDS)
        while message["budget"]["fraction"] < 0.9:
            _, message = receive(START_SECONDS)
        assert message["plan"]["weights"] == "base"


def test_what_does_not_belong_together_is_refused(
    run: Any, network: Network, trained: Path, ipc: str, tmp_path: Path
) -> None:
    file = tmp_path / "c.toml"
    for model, says in (
        ({"profile": str(trained / "profile.json"), "backbone": "cifar/resnet20"}, "name their run"),
        ({"run": str(trained), "backbone": "cifar/resnet32"}, "is of cifar/resnet20"),
        ({"run": "nosuch"}, "not a shipped name under runs"),
    ):
        with pytest.raises(InvalidInputError, match=says):
            check(settings(file, network, ipc, **model))
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("manifest.json", "adapter.safetensors"):
        (bare / name).write_bytes((trained / name).read_bytes())
    assert_refused(run("check-config", settings(file, network, ipc, run=str(bare))), 78, "has no profile", "calibrate")
    (bare / "adapter.safetensors").write_bytes(b"other")
    assert_refused(run("check-config", file), 78, "adapter.safetensors", "manifest.json")
