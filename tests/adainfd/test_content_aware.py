"""A daemon that is given a run with a content-aware scheduler lets it choose where calibration found it better."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daemons import START_SECONDS, Network, listening, prepare, write_video
from families import LARGE, LITTLE, Family
from safetensors.numpy import save_file

from adainf.backbones import Options, load
from adainf.backbones.adapters import attach
from adainf.profile import Profile, Scheduled
from adainf.run import AdapterSection, Manifest, Run, Training, digest

BETTER_FROM = 0.5


def drawn_scheduler(folder: Path) -> str:
    """A scheduler of ResNet-20 that was drawn instead of trained, and goes by what it sees; return its SHA-256."""
    draw = np.random.default_rng(3)
    shapes = {"budget.0": (8, 1), "budget.2": (8, 8), "joined.0": (8, 16 + 8), "joined.2": (8, 8)}
    tensors = {f"{layer}.weight": (4 * draw.normal(size=shape)).astype(np.float32) for layer, shape in shapes.items()}
    tensors |= {f"{layer}.bias": np.zeros(shape[0], np.float32) for layer, shape in shapes.items()}
    save_file(tensors, folder / "scheduler.safetensors")
    return digest(folder / "scheduler.safetensors")


TRAINING = Training(
    recipe="paper", sources=("drawn",), images=1, labelled=False, resolutions=(32,), steps=0, batch=1,
    learning_rate=1.0, seed=0, seconds=0.0, loss=0.0, created="2026-01-01", version="0",
)  # fmt: skip


@pytest.fixture(scope="module")
def scheduled(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a scheduler; better from half the MACs on."""
    folder = tmp_path_factory.mktemp("runs") / "scheduled"
    folder.mkdir()
    base = Profile.read(network.profile)
    manifest = Manifest(
        backbone=base.reference.backbone,
        weights=base.reference.weights,
        native_resolution=32,
        adapter=AdapterSection(kind="none"),
        scheduler="paper-soft",
        training=TRAINING,
        files={"scheduler.safetensors": drawn_scheduler(folder)},
    )
    levels = (
        Scheduled(budget=0.2, accuracy=0.3, table=0.5, better=False),
        Scheduled(budget=BETTER_FROM, accuracy=0.75, table=0.6, better=True),
    )
    base.model_copy(update={"scheduled": levels}).write(folder / "profile.json")
    Run.write(folder, manifest)
    return folder


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_the_scheduler_decides_within_each_budget_where_it_is_better(
    launch: Any, run: Any, network: Network, scheduled: Path, ipc: str, tmp_path: Path, engine: str
) -> None:
    video = write_video(tmp_path / "door.mp4", 60, fps=20, moves=lambda number: number > 20)
    configuration = tmp_path / "c.toml"
    configuration.write_text(
        f"[model]\nweights = {json.dumps(str(network.weights))}\nengine = {json.dumps(engine)}\n"
        f"run = {json.dumps(str(scheduled))}\n"
        f"[publish]\nbind = [{json.dumps(ipc)}]\n"
    )
    policy, trace = tmp_path / "p.toml", tmp_path / "t.trace"
    # While it rests 0.35 of the MACs, while it moves 0.85.
    policy.write_text("[budget]\nminimum = 0.1\n[motion]\ncurve = [[0.0, 0.35], [0.001, 0.85]]\n")
    prepare(configuration)
    ways: dict[str, set[str]] = {}
    with listening(ipc, b"result/") as receive:
        daemon = launch("run", "--config", configuration, "--source", video, "--policy", policy, "--record", trace)
        while daemon.process.poll() is None:
            try:
                _, message = receive(2.0)
            except AssertionError:
                continue
            plan, budget = message["plan"], message["budget"]["fraction"]
            assert plan["macs_fraction"] <= budget
            assert plan["chosen_by"] == ("scheduler" if budget >= BETTER_FROM else "lookup")
            if plan["chosen_by"] == "scheduler":
                assert plan["branch"].startswith("32:1")
                assert plan["expected_accuracy"] == 0.75
            ways.setdefault(plan["chosen_by"], set()).add(plan["branch"])
    assert daemon.ended(START_SECONDS) == 0, daemon.said
    assert set(ways) == {"lookup", "scheduler"}
    checked = run("replay", trace, "--check")
    assert checked.returncode == 0, checked.stdout
    assert "0 of" in checked.stdout


@pytest.fixture(scope="module")
def of_the_little_network(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the little network of a family, with an adapter and a scheduler; better from 0.35 of the MACs on."""
    folder = tmp_path_factory.mktemp("runs") / "little"
    folder.mkdir()
    profile = Profile.read(family.profile)
    adapter = attach(load(f"cifar/{LITTLE}", Options(str(family.weights[LITTLE]))), "lora", 4, 4)
    for name, parameter in adapter.parameters.items():
        if ".lora_B" in name:
            parameter.data.normal_(0, 0.1)
    adapter.save(folder / "adapter.safetensors")
    files = {
        "adapter.safetensors": digest(folder / "adapter.safetensors"),
        "scheduler.safetensors": drawn_scheduler(folder),
    }
    little = profile.of_key[LITTLE]
    manifest = Manifest(
        backbone=little.backbone,
        weights=little.weights,
        native_resolution=32,
        adapter=AdapterSection(kind="lora", rank=4, alpha=4),
        scheduler="paper-soft",
        training=TRAINING,
        files=files,
    )
    adapted = little.model_copy(update={"name": "adapted", "adapter": files["adapter.safetensors"]})
    branches = tuple(
        measured.model_copy(update={"branch": measured.branch.replace(f"{LITTLE}/24", "adapted/24")})
        for measured in profile.branches
    )
    levels = (Scheduled(budget=0.35, accuracy=0.8, table=0.7, better=True),)
    update = {"networks": (*profile.networks, adapted), "branches": branches, "scheduled": levels, "timings": ()}
    profile.model_copy(update=update).write(folder / "profile.json")
    Run.write(folder, manifest)
    return folder


def test_the_scheduler_of_another_network_than_the_reference_decides_within_the_familys_budgets(
    launch: Any, run: Any, family: Family, of_the_little_network: Path, ipc: str, tmp_path: Path
) -> None:
    """From a start with nothing exported; a mean budget adds up what each frame has taken, to the last digit."""
    video = write_video(tmp_path / "door.mp4", 60, fps=20, moves=lambda number: number > 20)
    configuration = replace(family, profile=of_the_little_network / "profile.json").configuration(
        tmp_path / "c.toml",
        bind=ipc,
        cameras=[{"name": "door", "source": str(video), "loop": True}],
        model=f"run = {json.dumps(str(of_the_little_network))}",
    )
    policy, trace = tmp_path / "p.toml", tmp_path / "t.trace"
    policy.write_text("[budget]\nminimum = 0.1\nmean = 0.45\n[motion]\ncurve = [[0.0, 0.3], [0.001, 1.0]]\n")
    empty = {f"XDG_{kind}_HOME": str(tmp_path / kind) for kind in ("CACHE", "STATE")}
    seen: dict[str, set[str]] = {}
    with listening(ipc, b"result/") as receive:
        daemon = launch("run", "--config", configuration, "--policy", policy, "--record", trace, **empty)
        assert daemon.await_event("ready")["networks"] == [LARGE, LITTLE, "adapted"]
        daemon.await_event("prepared")
        for _ in range(120):
            _, message = receive(START_SECONDS)
            plan, budget = message["plan"], message["budget"]["fraction"]
            assert plan["macs_fraction"] <= budget
            assert plan["weights"] == ("adapted" if plan["network"] == "adapted" else "base")
            seen.setdefault(plan["chosen_by"], set()).add(plan["network"])
            if plan["chosen_by"] == "scheduler":
                assert budget >= 0.35
    assert seen["scheduler"] == {"adapted"}
    assert seen["lookup"] >= {LITTLE}
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.ended(20) == 0, daemon.said
    checked = run("replay", trace, "--check")
    assert checked.returncode == 0, checked.stdout
    assert '"branch":"adapted/32:1' in trace.read_text()
