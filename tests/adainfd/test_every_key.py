"""Every key that a configuration may have reaches the running daemon, whether or not there are options beside it."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import daemons
import numpy as np
import pytest
from adainfd.answering.pipeline import Pipeline
from adainfd.answering.session import CameraSession
from adainfd.config.configuration import Configuration
from adainfd.doctor.settings import from_command_line
from adainfd.model.selection import read_run
from adainfd.runtime import daemon
from adainfd.runtime.loop import Loop
from adainfd.service.pictures import Pictures
from adainfd.tracing.recording import Target
from adainfd.wire.keys import KeyPair
from adainfd.wire.serving.publisher import Publisher
from pydantic import BaseModel

from adainf.base.errors import InvalidInputError
from adainf.branch import REFERENCE, Branch
from adainf.classes.taught import ClassHead, Familiar, Taught
from adainf.control import Policy
from adainf.profile import Profile
from adainf.run import AdapterSection, Manifest, Run, Training

REGION = [0.1, 0.2, 0.6, 0.9]
CLOCK = [0.0, 0.0, 0.5, 0.5]
TRIANGLE = [[0.0, 0.0], [0.2, 0.0], [0.0, 0.2]]
EVENTS = {"minimum_score": 0.11, "appear_seconds": 1.5, "gone_seconds": 3.5, "stay_seconds": 7.5}
OWN_EVENTS = {"minimum_score": 0.22, "appear_seconds": 2.5, "gone_seconds": 4.5, "stay_seconds": 8.5}


@dataclass
class Running:
    """A daemon's parts as it runs with them, and what it logged."""

    file: Path
    streams: list[CameraSession] = field(default_factory=list)
    pipeline: Pipeline | None = None
    publisher: Publisher | None = None
    endpoints: tuple[str, ...] = ()
    logged: dict[str, dict[str, Any]] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()
    record: Target | None = None
    runs: list[Run | None] = field(default_factory=list)

    def info(self, event: str, **values: Any) -> None:
        self.logged[event] = values

    warning = error = info

    @property
    def recogniser(self) -> Any:
        return self.pipeline._recogniser  # type: ignore[union-attr]

    @property
    def engine(self) -> Any:
        return self.recogniser.engine

    @property
    def door(self) -> CameraSession:
        """The camera that has a section of everything."""
        return self.streams[0]

    @property
    def settings(self) -> Any:
        return self.door.camera.settings

    @property
    def told(self) -> dict[str, Any]:
        return json.loads(self.file.with_suffix(".json").read_text(encoding="utf-8"))


def rule(key: str) -> Callable[[Running], Any]:
    return lambda running: getattr(running.streams[1].views[0].presence.rule, key)


def own_rule(key: str) -> Callable[[Running], Any]:
    return lambda running: getattr(running.door.views[0].presence.rule, key)


def setting(key: str) -> Callable[[Running], Any]:
    return lambda running: getattr(running.settings, key)


def limit(key: str) -> Callable[[Running], Any]:
    return lambda running: getattr(running.settings.limits, key)


def collected(key: str) -> Callable[[Running], Any]:
    return lambda running: getattr(running.pipeline._collector._rule, key)  # type: ignore[union-attr]


def shelf_of(running: Running) -> Any:
    return running.pipeline._collector.shelf("door", None)  # type: ignore[union-attr]


def tuples(value: Any) -> Any:
    return tuple(map(tuples, value)) if isinstance(value, list) else value


# Where the running daemon has what each key says. A key that is added is to be added here.
REACHES: dict[str, Callable[[Running], Any]] = {
    "model.backbone": lambda running: running.engine.outlines[REFERENCE].name,
    "model.run": lambda running: str(running.runs[0] and running.runs[0].folder),
    "model.weights": lambda running: running.told["model"]["weights"] if are_the_profiles(running) else None,
    "model.labels": lambda running: list(running.engine.class_names),
    "model.size": lambda running: running.engine.outlines[REFERENCE].preprocessing.size,
    "model.mean": lambda running: list(running.engine.outlines[REFERENCE].preprocessing.mean),
    "model.std": lambda running: list(running.engine.outlines[REFERENCE].preprocessing.std),
    "model.profile": lambda running: running.told["model"]["profile"] if are_the_profiles(running) else None,
    "model.classes": lambda running: classes_of(running, 1, "model.classes"),
    "model.policy": lambda running: "low-latency" if same_rules(running.streams[1], "low-latency") else None,
    "model.engine": lambda running: running.engine.name,
    "model.device": lambda running: "cpu" if running.engine.device else None,
    "model.threads": lambda running: running.engine.threads,
    "publish.bind.address": lambda running: running.endpoints[0],
    "publish.bind.format": lambda running: next(iter(running.publisher._outlets)),  # type: ignore[union-attr]
    "publish.key": lambda running: key_of(running),
    "publish.clients": lambda running: str(running.publisher._curve.clients._folder),  # type: ignore[union-attr]
    "publish.unprotected": lambda running: running.told["publish"]["unprotected"],  # see below
    "publish.host": lambda running: running.pipeline._teller._host,  # type: ignore[union-attr]
    "publish.top": lambda running: running.pipeline._top,  # type: ignore[union-attr]
    "web.bind": lambda running: "0.0.0.0:0" if running.logged["web"]["address"].startswith("0.0.0.0:") else None,
    "web.pictures": lambda running: list(running.pictures),
    "web.hosts": lambda running: running.told["web"]["hosts"],  # test_guests.py and test_web.py ask by such a name
    "web.unprotected": lambda running: running.logged["web"]["address"].startswith("0.0.0.0:"),
    "record.file": lambda running: str(running.record and running.record.path),
    "record.megabytes": lambda running: getattr(running.record, "megabytes", None),
    "collect.pictures": lambda running: shelf_of(running).most,
    "collect.megabytes": lambda running: shelf_of(running).most_bytes / 1e6,
    "collect.a_minute": collected("a_minute"),
    "collect.margin": collected("margin"),
    "collect.sample_seconds": collected("sample_seconds"),
    "events.minimum_score": rule("minimum_score"),
    "events.appear_seconds": rule("appear_seconds"),
    "events.gone_seconds": rule("gone_seconds"),
    "events.stay_seconds": rule("stay_seconds"),
    "camera.name": lambda running: running.door.camera.name,
    "camera.source": lambda running: str(running.door.camera.source),
    "camera.password_file": lambda running: password_file_of(running),
    "camera.loop": setting("loop"),
    "camera.labels": lambda running: list(running.door.views[0].labels.names),
    "camera.classes": lambda running: classes_of(running, 2, "camera.classes"),
    "camera.fps": setting("fps"),
    "camera.max_fps": setting("max_fps"),
    "camera.max_megapixels": lambda running: running.settings.most_pixels / 1e6,
    "camera.max_age": setting("max_age"),
    "camera.regions": lambda running: {view.region: list(view.box or ()) for view in running.door.views},
    "camera.ignore": lambda running: [list(box) for box in running.settings.ignored],
    "camera.mask": lambda running: [[list(point) for point in polygon] for polygon in running.settings.mask],
    "camera.policy": lambda running: "power-saver" if same_rules(running.door, "power-saver") else None,
    "camera.priority": lambda running: running.door.priority,
    "camera.events.minimum_score": own_rule("minimum_score"),
    "camera.events.appear_seconds": own_rule("appear_seconds"),
    "camera.events.gone_seconds": own_rule("gone_seconds"),
    "camera.events.stay_seconds": own_rule("stay_seconds"),
    "camera.transport": setting("transport"),
    "camera.follow": lambda running: list(running.settings.follow),
    "camera.open_seconds": limit("open_seconds"),
    "camera.stall_seconds": limit("stall_seconds"),
    "camera.retry_seconds": limit("retry_seconds"),
    "camera.longest_retry_seconds": limit("longest_retry_seconds"),
}


def same_rules(stream: CameraSession, policy: str) -> bool:
    """But for the share, of which each camera has a part."""
    wanted = Policy.read(policy)
    return stream.views[0].policy.model_copy(update={"share": wanted.share}) == wanted


def are_the_profiles(running: Running) -> bool:
    """Whether it runs by the profile that is named, with the weights that this was made for."""
    profile = Profile.read(Path(running.told["model"]["profile"]))
    outline = running.engine.outlines[REFERENCE]
    return (
        running.recogniser.profile.model_dump() == profile.model_dump() and outline.weights == profile.reference.weights
    )


def classes_of(running: Running, camera: int, key: str) -> str:
    """The file that a camera's classes are those of."""
    file = str(said(running.told, key))
    view = running.streams[camera].views[0]
    known = view.states is not None and view.taught is not None and view.labels.names == view.taught.names
    return file if known and view.taught.digest == Taught.read(Path(file)).digest else ""  # type: ignore[union-attr]


def a_taught(network: daemons.Network, labels: tuple[str, ...], file: Path) -> str:
    """Classes whose heads know nothing."""
    profile = Profile.read(network.profile)
    width = 64
    heads = {REFERENCE: ClassHead(np.zeros((len(labels), width), np.float32), np.zeros(len(labels), np.float32))}
    sights = np.eye(1, width, dtype=np.float32)
    familiar = {Branch.parse(measured.branch): Familiar(sights, 0.5) for measured in profile.branches}
    Taught(labels, profile, True, heads, familiar).write(file)
    return str(file)


def key_of(running: Running) -> str:
    curve = running.publisher._curve  # type: ignore[union-attr]
    file = Path(running.told["publish"]["key"])
    return str(file) if curve is not None and KeyPair.read(file) == curve.keys else ""


def password_file_of(running: Running) -> str:
    file = said(running.told, "camera.password_file")
    address = running.streams[2].camera.settings.source.address
    return file if f"viewer:{Path(file).read_text(encoding='utf-8')}@" in address else ""


def keys(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every key that may stand in a file, with its default."""
    for name, of in model.model_fields.items():
        inner = section(of.annotation)
        if inner is None:
            yield before + name, of.get_default(call_default_factory=True)
        else:
            yield from keys(inner, f"{before}{name}.")


def section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := section(part))), None)


def said(told: Any, key: str) -> Any:
    """What a configuration says under a key; of several cameras or endpoints, the first one that says something."""
    for part in key.split("."):
        told = next(one[part] for one in told if part in one) if isinstance(told, list) else told[part]
    return told


def a_run(folder: Path) -> Path:
    """A run that changed nothing."""
    folder.mkdir()
    training = Training(
        recipe="distil", sources=(), images=0, labelled=False, resolutions=(32,), steps=0, batch=1, learning_rate=1e-4,
        seed=0, seconds=0, loss=0, created="", version="",
    )  # fmt: skip
    manifest = Manifest(
        backbone="cifar/resnet20", weights="", native_resolution=32, adapter=AdapterSection(kind="none"),
        scheduler="none", training=training, files={},
    )  # fmt: skip
    return Run.write(folder, manifest).folder


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, network: daemons.Network, clip: Path) -> Path:
    """A configuration in which every key says something else than it does by default."""
    folder = tmp_path_factory.mktemp("full")
    KeyPair.new(folder / "box")
    (folder / "clients").mkdir()
    (folder / "password").write_text("agreed", encoding="utf-8")
    (folder / "password").chmod(0o600)
    run = a_run(folder / "run")
    profile = run / "profile.json"
    shutil.copy(network.profile, profile)  # as the run's own, it has branches with the base weights alone
    labels = [f"thing {number}" for number in range(10)]
    told = {
        "model": {
            "backbone": "cifar/resnet20", "run": str(run), "weights": str(network.weights),
            "labels": labels, "size": 32, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4],
            "profile": str(profile), "classes": a_taught(network, ("open", "shut"), folder / "gate.classes"),
            "policy": "low-latency", "engine": "onnx", "device": "cpu", "threads": 1,
        },
        "publish": {
            "bind": [{"address": f"ipc://{folder}/s", "format": "msgpack"}], "key": str(folder / "box.key_secret"),
            "clients": str(folder / "clients"), "unprotected": True, "host": "elsewhere", "top": 7,
        },
        "web": {"bind": "0.0.0.0:0", "pictures": ["door"], "unprotected": True, "hosts": ["cameras.example"]},
        "record": {"file": str(folder / "day.trace"), "megabytes": 3.5},
        "collect": {
            "pictures": 150, "megabytes": 15.5, "a_minute": 2.5, "margin": 0.15, "sample_seconds": 450.0,
        },
        "events": EVENTS,
        "camera": [
            {
                "name": "door", "source": str(clip), "loop": True, "labels": labels[2:5], "fps": 12.5, "max_fps": 9.5,
                "max_megapixels": 9.25,
                "max_age": 3.25, "regions": {"gate": REGION}, "ignore": [CLOCK], "mask": [TRIANGLE],
                "policy": "power-saver", "priority": 2.5, "events": OWN_EVENTS, "transport": "udp",
                "follow": ["cdn.example"],
                "open_seconds": 11.5, "stall_seconds": 6.5, "retry_seconds": 0.75, "longest_retry_seconds": 44.0,
            },
            {"name": "yard", "source": str(clip)},
            {
                "name": "street", "source": "http://viewer@127.0.0.1:9/nothing",
                "password_file": str(folder / "password"),
                "classes": a_taught(network, ("empty", "full"), folder / "shelf.classes"),
            },
        ],
    }  # fmt: skip
    file = folder / "full.toml"
    file.with_suffix(".json").write_text(json.dumps(told), encoding="utf-8")
    text = [f"{key} = {daemons.toml(value)}\n" for key, value in told.items()]
    file.write_text("".join(text), encoding="utf-8")
    return file


def run(monkeypatch: pytest.MonkeyPatch, file: Path, **options: Any) -> Running:
    """Start a real daemon, up to where its loop would begin."""
    running = Running(file)

    def begun(loop: Loop, seconds: float | None) -> None:
        running.streams = list(loop._streams)
        running.pipeline, running.publisher = loop._pipeline, loop._publisher
        running.endpoints = loop._publisher.endpoints
        running.record = loop._recording._target

    def asked(section: Any) -> Run | None:
        running.runs.append(read_run(section))
        return running.runs[-1]

    class Shown(Pictures):
        def __init__(self, cameras: tuple[str, ...]) -> None:
            running.pictures = cameras
            super().__init__(cameras)

    monkeypatch.setattr(Loop, "run", begun)
    monkeypatch.setattr("adainfd.model.selection.read_run", asked)
    monkeypatch.setattr("adainfd.service.pictures.Pictures", Shown)
    told: dict[str, Any] = {"loop": False, "bind": [], "policy": None, "profile": None, **options}
    daemon.run(lambda: from_command_line(file, [], **told), running)
    return running


def test_the_configuration_under_test_leaves_nothing_out(full: Path) -> None:
    every = dict(keys(Configuration))
    assert REACHES.keys() == every.keys()
    told = json.loads(full.with_suffix(".json").read_text(encoding="utf-8"))
    assert not [key for key, default in every.items() if tuples(said(told, key)) == default]


@pytest.mark.parametrize("with_options", [False, True])
def test_every_key_reaches_the_running_daemon(
    monkeypatch: pytest.MonkeyPatch, full: Path, tmp_path: Path, with_options: bool
) -> None:
    options = {"bind": [f"ipc://{tmp_path}/o"], "policy": "power-saver", "loop": True} if with_options else {}
    running = run(monkeypatch, full, **options)
    instead = {"publish.bind.address": f"ipc://{tmp_path}/o", "publish.bind.format": "json"} if with_options else {}
    lost = {
        key: (wanted, found)
        for key, reaches in REACHES.items()
        if not (with_options and key == "model.policy")
        and (found := reaches(running)) != (wanted := instead.get(key, said(running.told, key)))
    }
    assert not lost
    assert same_rules(running.streams[1], "power-saver" if with_options else "low-latency")
    assert [stream.camera.settings.loop for stream in running.streams[:2]] == [True, with_options]


@pytest.mark.parametrize("bind", [[], ["tcp://0.0.0.0:*"]])
def test_what_may_be_open_to_the_network_stays_so(tmp_path: Path, bind: list[str]) -> None:
    file = tmp_path / "c.toml"
    file.write_text('publish = {bind = ["tcp://0.0.0.0:*"], unprotected = true}', encoding="utf-8")
    told = from_command_line(file, ["a.mp4"], loop=False, bind=bind, policy=None, profile=None)
    assert told.publish.unprotected
    with pytest.raises(InvalidInputError, match="open to the network"):
        from_command_line(None, ["a.mp4"], loop=False, bind=["tcp://0.0.0.0:*"], policy=None, profile=None)
