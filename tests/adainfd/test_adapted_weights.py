"""A daemon that is given a run uses its weights along the branches that are better with them, and no others."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from adainfd.adopting import adopt
from adainfd.config.configuration import Configuration
from adainfd.doctor.configured import examine
from adainfd.doctor.settings import check, from_command_line
from adainfd.model.recogniser import load_recogniser
from adainfd.model.selection import read_profile
from daemons import START_SECONDS, Network, assert_refused, listening, write_video

from adainf.backbones import Options, load
from adainf.backbones.adapters import adapted, attach
from adainf.base.errors import InvalidInputError
from adainf.branch import REFERENCE, Branch
from adainf.engines.torch import TorchEngine
from adainf.profile import Profile
from adainf.run import AdapterSection, Manifest, Run, Training, digest

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
        backbone=base.reference.backbone,
        weights=base.reference.weights,
        native_resolution=32,
        adapter=AdapterSection(kind="lora", rank=4, alpha=4),
        scheduler="none",
        training=training,
        files={"adapter.safetensors": sha},
    )
    branches = tuple(
        measured.model_copy(update={"branch": f"adapted/{measured.branch}"})
        if measured.branch.startswith("16:")
        else measured
        for measured in base.branches
    )
    networks = (base.reference, base.reference.model_copy(update={"name": "adapted", "adapter": sha}))
    base.model_copy(update={"networks": networks, "branches": branches, "timings": ()}).write(folder / "profile.json")
    Run.write(folder, manifest)
    return folder


def settings(file: Path, network: Network, bind: str, **model: str) -> Path:
    model = {"weights": str(network.weights), **model}
    lines = ["[model]", *(f"{key} = {json.dumps(value)}" for key, value in model.items())]
    file.write_text("\n".join([*lines, "[publish]", f"bind = [{json.dumps(bind)}]"]) + "\n", encoding="utf-8")
    return file


def stranger(trained: Path, folder: Path) -> Path:
    """A profile that was calibrated with another run."""
    profile = Profile.read(trained / "profile.json")
    base, adapted = profile.networks
    networks = (base, adapted.model_copy(update={"adapter": "0" * 64}))
    profile.model_copy(update={"networks": networks}).write(folder / "stranger.json")
    return folder / "stranger.json"


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_scores_are_those_of_the_weights_that_the_profile_names(
    network: Network, trained: Path, ipc: str, tmp_path: Path, engine: str
) -> None:
    file = settings(tmp_path / "c.toml", network, ipc, run=str(trained), engine=engine)
    configuration = Configuration.read(file)
    profile = read_profile(configuration.model)
    recogniser = load_recogniser(configuration, profile, structlog.get_logger())
    base = load("cifar/resnet20", Options(str(network.weights)))
    networks = {REFERENCE: base, "adapted": adapted(base, Run.read(trained))}
    alone = {key: TorchEngine({REFERENCE: network}) for key, network in networks.items()}
    picture = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    for text in (f"adapted/{CHEAP}", "32:111111111"):
        branch = Branch.parse(text)
        path = Branch.parse(branch.path)
        others = "adapted" if branch.network == REFERENCE else REFERENCE
        given, expected, other = (
            runner.run([runner.prepare(picture, of.resolution, of.network)], [of])
            for runner, of in ((recogniser.engine, branch), (alone[branch.network], path), (alone[others], path))
        )
        np.testing.assert_allclose(given, expected, rtol=0, atol=1e-4)
        assert np.abs(given - other).max() > 0.01


def test_the_run_that_is_asked_for_is_in_force_and_messages_name_its_weights(
    launch: Any, run: Any, network: Network, trained: Path, ipc: str, tmp_path: Path
) -> None:
    """By an option and by `adopt`, whatever profile the file names."""
    video = write_video(tmp_path / "door.mp4", 25, moves=lambda _: True)
    file = settings(tmp_path / "c.toml", network, ipc, backbone="cifar/resnet20", profile=str(network.profile))
    before = file.read_text(encoding="utf-8")
    policy = tmp_path / "p.toml"
    policy.write_text("[budget]\nmaximum = 0.3\n", encoding="utf-8")
    common = ["run", "--config", file, "--source", video, "--loop", "--policy", policy]
    with listening(ipc, b"result/") as receive:
        daemon = launch(*common, "--run", trained)
        for _ in range(3):
            _, message = receive(START_SECONDS)
            plan = message["plan"]
            assert (plan["network"], plan["weights"], plan["branch"][:3]) == ("adapted", "adapted", "16:")
        daemon.kill()
        # A service runs in another folder than its owner.
        adopted = run("adopt", file, "--run", os.path.relpath(trained, tmp_path))
        assert (adopted.returncode, adopted.stderr) == (0, "")
        assert f'removed: profile = "{network.profile}"' in adopted.stdout
        assert Configuration.read(file).model.run == trained
        daemon = launch(*common)
        seen = {receive(START_SECONDS)[1]["plan"]["weights"] for _ in range(3)}
        assert "adapted" in seen
        policy.write_text("[budget]\nminimum = 0.9\n", encoding="utf-8")
        daemon.process.send_signal(signal.SIGHUP)
        while (message := receive(START_SECONDS)[1])["budget"]["fraction"] < 0.9:
            pass
        assert (message["plan"]["network"], message["plan"]["weights"]) == ("resnet20", "base")
    assert run("rollback", file).returncode == 0
    assert file.read_text(encoding="utf-8") == before


def test_a_profile_that_is_asked_for_takes_the_place_of_the_run(
    network: Network, trained: Path, ipc: str, tmp_path: Path
) -> None:
    file = settings(tmp_path / "c.toml", network, ipc, run=str(trained))
    told = from_command_line(file, [], loop=False, bind=[], policy=None, profile=str(network.profile)).model
    assert (told.run, read_profile(told).adapted) == (None, None)
    summary = adopt(file, profile=str(network.profile))
    assert f'removed: run = "{trained}"' in summary
    assert Configuration.read(file).model == told
    # The run's own profile, by its path, keeps the run.
    assert "removed" not in adopt(settings(file, network, ipc, run=str(trained)), profile=str(trained / "profile.json"))
    assert Configuration.read(file).model.run == trained


@pytest.mark.parametrize("inline", [True, False])
def test_a_file_that_cannot_be_changed_line_by_line_is_left_alone(
    network: Network, trained: Path, ipc: str, tmp_path: Path, inline: bool
) -> None:
    file = settings(tmp_path / "c.toml", network, ipc, profile=str(network.profile), backbone="cifar/resnet20")
    text = file.read_text(encoding="utf-8")
    head, _, rest = text.partition("[publish]")
    lines = head.splitlines()[1:]
    text = f"model = {{{', '.join(lines)}}}\n" if inline else "".join(f"model.{line}\n" for line in lines)
    file.write_text(f"{text}[publish]{rest}", encoding="utf-8")
    before = file.read_bytes()
    with pytest.raises(InvalidInputError, match=re.escape(str(file))):
        adopt(file, run=trained)
    assert file.read_bytes() == before
    assert not list(tmp_path.glob("c.toml.*"))


def test_what_does_not_belong_together_is_refused(
    run_forked: Any, network: Network, trained: Path, ipc: str, tmp_path: Path
) -> None:
    file = tmp_path / "c.toml"
    for model, says in (
        ({"profile": str(trained / "profile.json"), "backbone": "cifar/resnet20"}, "name their run"),
        ({"run": str(trained), "backbone": "cifar/resnet32"}, "is of cifar/resnet20"),
        ({"run": "nosuch"}, "run nosuch: no such folder"),
        ({"run": str(trained), "weights": "random"}, "was trained on other weights"),
        ({"run": str(trained), "profile": str(network.profile)}, "was calibrated without run"),
        ({"run": str(trained), "profile": str(stranger(trained, tmp_path))}, "with another adapter than that of run"),
    ):
        with pytest.raises(InvalidInputError, match=says):
            check(settings(file, network, ipc, **model))
    assert_refused(run_forked("run", "--config", file), 78, "with another adapter than that of run")
    assert "fail" in {found.verdict for found in examine(file) if found.subject == "profile"}
    settings(file, network, ipc)
    asked = ("--run", trained, "--profile", network.profile)
    assert_refused(run_forked("run", "--config", file, "--source", "0", *asked), 78, "was calibrated without run")
    assert_refused(run_forked("adopt", file, *asked), 78, "was calibrated without run")
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("manifest.json", "adapter.safetensors"):
        (bare / name).write_bytes((trained / name).read_bytes())
    assert_refused(
        run_forked("check-config", settings(file, network, ipc, run=str(bare))), 78, "has no profile", "calibrate"
    )
    (bare / "adapter.safetensors").write_bytes(b"other")
    assert_refused(run_forked("check-config", file), 78, "adapter.safetensors", "manifest.json")
