"""Real daemons in processes of their own, videos to show them, and networks that start fast."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import zmq
from numpy.typing import NDArray

if TYPE_CHECKING:
    from adainf import profile
    from adainf.backbones import Backbone
    from adainf.branch import BranchSpace

START_SECONDS = 90.0
"""Long enough for a start on a busy box; a test that waits for it fails, none waits so long when all is well."""


def await_true(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """What `condition` returns as soon as that is true; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.01)
    return result


def process_state(process: int) -> str:
    """R, S, T … as proc(5) has them."""
    return _stat(process)[0]


def processor_seconds(process: int) -> float:
    """Seconds of processor time until now."""
    _, *fields = _stat(process)
    return (int(fields[10]) + int(fields[11])) / os.sysconf("SC_CLK_TCK")


def _stat(process: int) -> list[str]:
    """Of proc(5), all from the state on."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


@dataclass(slots=True)
class Program:
    """A program of ours as a subprocess, its output in files."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def said(self) -> str:
        """What stands on stderr until now."""
        return self.err.read_text(encoding="utf-8")

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log lines until now."""
        return [json.loads(line) for line in self.said.splitlines(keepends=True) if line.endswith("}\n")]

    def named(self, event: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        return [line for line in self.events if line["event"] == event]

    def await_event(self, event: str, seconds: float = START_SECONDS) -> dict[str, Any]:
        """The first log line of `event`, as soon as it is there."""
        await_true(lambda: self.named(event) or self.process.poll() is not None, seconds, f"log line {event}")
        assert self.named(event), f"ended with {self.process.returncode} before {event}: {self.said}"
        return self.named(event)[0]

    def ended(self, seconds: float) -> int:
        """The exit status, at the latest after `seconds`."""
        return self.process.wait(seconds)

    def megabytes(self) -> float:
        """Of memory that it has in use."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * resource.getpagesize() / 1e6

    def kill(self) -> None:
        """End it and everything it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def start(
    arguments: Sequence[str | Path], folder: Path, environment: Mapping[str, str], before: Sequence[str] = ()
) -> Program:
    """`adainfd ARGUMENTS` in a process group of its own, run in `folder`. before: a command that runs it."""
    number = len(list(folder.glob("*.err")))
    out, err = folder / f"{number}.out", folder / f"{number}.err"
    command = [*before, sys.executable, "-m", "adainfd", *map(str, arguments)]
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=stdout, stderr=stderr, start_new_session=True
        )
    return Program(process, out, err)


def assert_refused(result: subprocess.CompletedProcess[str], status: int, *named: str) -> None:
    """One line on stderr that names these things, nothing on stdout, this status."""
    assert result.returncode == status, result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stdout == ""
    for thing in named:
        assert thing in result.stderr


PASSWORD = "hunter2"  # noqa: S105
"""Of every stream and broker in these tests; no program may say it."""


def assert_no_secret(text: str, folder: Path) -> None:
    """Neither a password nor one of the secret keys that lie in `folder` stands in the text."""
    keys = [line for file in folder.rglob("*.key_secret") for line in file.read_text(errors="replace").splitlines()]
    secrets = [key.partition('"')[2].rstrip('"') for key in keys if "secret-key" in key]
    for secret in filter(None, (PASSWORD, *secrets)):
        assert secret not in text, f"a secret is said: {text}"


def processes(ancestor: int) -> dict[int, str]:
    """The running descendants of a process, with their command lines."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(folder.name)] = int(parent)
    found: dict[int, str] = {}
    wanted = {ancestor}
    while wanted := {child for child, parent in parents.items() if parent in wanted}:
        for child in wanted:
            with contextlib.suppress(OSError):
                found[child] = Path(f"/proc/{child}/cmdline").read_text(errors="replace").replace("\0", " ")
    return found


def descriptors(process: int) -> list[str]:
    """What a process holds open."""
    found: list[str] = []
    for file in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(file.readlink()))
    return sorted(found)


def camera_processes(daemon: int) -> list[int]:
    """The camera processes of a daemon, in the order they were started."""
    return sorted(child for child, command in processes(daemon).items() if "adainfd.capture" in command)


def shared_memory() -> set[str]:
    """Names of the shared memory that no process uses: left behind. Other tests may run beside this one."""
    folder = Path("/dev/shm")  # noqa: S108
    named = {file.name for file in folder.iterdir()}
    used = ""
    for process in Path("/proc").glob("[0-9]*") if named else ():
        with contextlib.suppress(OSError):
            used += (process / "maps").read_text(errors="replace") + "\n".join(descriptors(int(process.name)))
    return {name for name in named if f"{folder}/{name}" not in used and (folder / name).exists()}


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def listening(endpoint: str, topic: bytes = b"") -> Iterator[Callable[[float], tuple[str, dict[str, Any]]]]:
    """A plain ZeroMQ subscriber: call it with a time limit for the next topic and message."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    subscriber = context.socket(zmq.SUB)
    subscriber.setsockopt(zmq.RCVHWM, 0)
    subscriber.setsockopt(zmq.SUBSCRIBE, topic)
    subscriber.connect(endpoint)

    def receive(seconds: float) -> tuple[str, dict[str, Any]]:
        assert subscriber.poll(round(seconds * 1000)), f"no message within {seconds} s"
        name, body = subscriber.recv_multipart()
        assert PASSWORD.encode() not in body
        return name.decode(), json.loads(body)

    try:
        yield receive
    finally:
        context.destroy(linger=0)


def scene(number: int, *, moves: bool, size: tuple[int, int] = (160, 120)) -> NDArray[np.uint8]:
    """A textured picture (size is width, height); the bright square stands elsewhere in each frame that moves."""
    picture = np.random.default_rng(7).integers(40, 90, (size[1] // 8, size[0] // 8, 3), np.uint8)
    large = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    left = (number * 12 if moves else 0) % (size[0] - 40)
    large[40:80, left : left + 40] = 240
    return large


def write_video(
    path: Path, frames: int, *, fps: float = 25, size: tuple[int, int] = (160, 120), moves: Callable[[int], bool]
) -> Path:
    """A video of `scene`; Motion JPEG where the name ends in .avi, else MPEG-4."""
    code = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), code, fps, size)
    assert writer.isOpened()
    for number in range(frames):
        writer.write(scene(number, moves=moves(number), size=size))
    writer.release()
    return path


def toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


@dataclass(frozen=True, slots=True)
class Network:
    """A small network that starts fast: weights, and a profile with timings made for this box."""

    weights: Path
    profile: Path
    labels: tuple[str, ...]

    def configuration(self, file: Path, *, bind: str, cameras: Sequence[Mapping[str, object]] = ()) -> Path:
        """Write a configuration file that uses it."""
        lines = ["[model]", 'backbone = "cifar/resnet20"']
        lines += [f"weights = {json.dumps(str(self.weights))}", f"profile = {json.dumps(str(self.profile))}"]
        lines += ["[publish]", f"bind = [{json.dumps(bind)}]", 'host = "here"']
        for camera in cameras:
            lines += ["[[camera]]", *(f"{key} = {toml(value)}" for key, value in camera.items())]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return file


def prepare(file: Path) -> None:
    """Have all that a daemon with this configuration exports, as an earlier start would have left it."""
    import structlog
    from adainfd.config.configuration import Configuration
    from adainfd.model.recogniser import load_recogniser
    from adainfd.model.selection import read_profile

    configuration = Configuration.read(file)
    load_recogniser(configuration, read_profile(configuration.model), structlog.get_logger())


def small_network(folder: Path) -> Network:
    """Make it in `folder`; the branches' exports are kept in the cache folder that the environment names."""
    import torch
    from safetensors.torch import save_file

    from adainf.backbones import Options, load
    from adainf.backbones.cifar import CifarResNet
    from adainf.backbones.macs import branch_space
    from adainf.branch import REFERENCE, Branch
    from adainf.engines.opening import NetworkSource, Opening
    from adainf.profile import BranchTime, Calibration, Measured, Profile, Timings

    torch.manual_seed(0)
    file = folder / "resnet20.safetensors"
    save_file(CifarResNet((16, 32, 64), 3, 10).state_dict(), file)
    backbone = load("cifar/resnet20", Options(str(file)))
    engine = Opening(None, {REFERENCE: NetworkSource("resnet20", backbone.name, Options(str(file)))}).open()
    space = branch_space(backbone, [16, 24])
    branches = [Branch.parse(text) for text in _BRANCHES]
    engine.warm_up(branches)
    times = {str(branch): BranchTime(p50_ms=1 + space.fraction(branch), p95_ms=3.0) for branch in branches}
    profile = Profile(
        networks=(described(backbone, space),),
        calibration=Calibration(images=1, labelled=False, part="all", seed=0, created="2025-01-01", version="0"),
        branches=tuple(
            Measured(
                branch=str(branch), macs=space.macs(branch), accuracy=None, agreement=0.5 + space.fraction(branch) / 2
            )
            for branch in branches
        ),
        timings=(Timings(device=engine.device, engine=engine.name, threads=engine.threads, measured="", times=times),),
    )
    profile.write(folder / "resnet20.json")
    return Network(file, folder / "resnet20.json", engine.class_names)


def described(backbone: "Backbone", space: "BranchSpace") -> "profile.Network":
    """A network as a profile describes it."""
    from adainf import profile
    from adainf.backbones import weights

    return profile.Network(
        name=backbone.name.rpartition("/")[2],
        backbone=backbone.name,
        weights=weights.fingerprint(backbone),
        native_resolution=backbone.native_resolution,
        droppable="".join("01"[may] for may in space.droppable),
        parts={
            resolution: profile.Parts(stem=part.stem, blocks=part.blocks, shortcuts=part.shortcuts, head=part.head)
            for resolution, part in space.parts.items()
        },
    )


_BRANCHES = (
    "32:111111111",
    "32:111011011",
    "32:110010010",
    "24:111111111",
    "24:110110110",
    "16:111111111",
    "16:100100100",
)
