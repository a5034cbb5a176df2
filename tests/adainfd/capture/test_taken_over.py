"""A camera's process that was taken over, against a camera and against a running daemon."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import taken_over
from adainfd.capture.cameras.camera import Camera
from adainfd.capture.cameras.lifecycle import Limits
from adainfd.capture.cameras.process import environment as environment_of
from adainfd.capture.exchange.attempts import Attempts
from adainfd.capture.exchange.channel import MalformedError, Receiver
from adainfd.capture.exchange.conversation import Conversation
from adainfd.capture.exchange.reports import (
    Delivered,
    Ended,
    Lost,
    Named,
    Opened,
    Passed,
    Report,
    Unconfined,
    encoded,
    report_of,
)
from adainfd.capture.exchange.slots import FrameSlots, frames_memory
from adainfd.capture.fault import Fault
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source
from daemons import (
    PASSWORD,
    START_SECONDS,
    Network,
    Program,
    await_true,
    camera_processes,
    descriptors,
    listening,
)
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

SCRIPT = taken_over.__file__
# Nothing but the camera's own account may change by these: they lie within all bounds.
HARMLESS = ("shrunk_memory", "hostile_counts")


@contextlib.contextmanager
def attacked(attack: str, loot: Path, **limits: float) -> Iterator[Camera]:
    settings = CameraSettings("taken", Source("rtsp://127.0.0.1:1/x"), limits=Limits(**limits))
    camera = Camera(settings, command=("-P", SCRIPT, attack, str(loot)))
    camera.start()
    try:
        camera.play()
        yield camera
    finally:
        camera.close()


def heard(camera: Camera, seconds: float = 20) -> None:
    """Hear it, as the loop does, until its process is gone; no turn takes long."""
    end = time.monotonic() + seconds
    while camera.connection is not None:
        assert wait([camera.connection], end - time.monotonic()), "it says nothing wrong"
        begun = time.monotonic()
        camera.receive()
        if (taken := camera.take()) is not None:
            assert taken[1].sum() >= 0
            camera.account.published += 1
            assert not camera.holds(taken[0])
        camera.supervise(time.monotonic())
        assert time.monotonic() - begun < 1
        assert time.monotonic() < end


@pytest.mark.parametrize("attack", [*taken_over.WRONG, *taken_over.ATTACKS])
def test_what_no_honest_process_says_is_a_fault_of_its_camera(tmp_path: Path, attack: str) -> None:
    before = len(descriptors(os.getpid()))
    with attacked(attack, tmp_path / "loot", retry_seconds=0.05) as camera:
        heard(camera)
        expected = Fault.PROCESS_DIED if attack in HARMLESS else Fault.PROCESS_REJECTED
        assert camera.lifecycle.last.fault is expected, camera.failure
        assert camera.failure is not None
        assert camera.failure.startswith("its process ")
        assert camera.failure.isprintable()
        assert len(camera.failure) < 300
        account = camera.account
        assert account.captured == account.published + account.dropped + account.waiting < 2**53
        assert min(account.captured, account.over_rate, account.newer_frame, account.undecodable) >= 0
        named = camera.take_undecodable()
        assert all(f"{passed.what}{passed.why}".isprintable() for passed in named)
        await_true(lambda: camera.supervise(time.monotonic()) or camera.process_id, 5, "it is tried again")
    assert not (tmp_path / "loot").exists()
    assert len(descriptors(os.getpid())) <= before


def test_a_process_gets_nothing_of_the_environment_that_it_does_not_need() -> None:
    needed = {"LANG": "C", "LC_ALL": "C", "OMP_NUM_THREADS": "1", "MALLOC_TOP_PAD_": "1", "OPENCV_LOG_LEVEL": "INFO"}
    more = ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "HOME", "STATE_DIRECTORY", "AWS_SECRET_ACCESS_KEY", "http_proxy")
    given = environment_of(needed | dict.fromkeys(more, "secret"), ["", "/lib"], 1_000_000)
    assert given == needed | {
        "OPENCV_FFMPEG_LOGLEVEL": "-8",
        "MALLOC_ARENA_MAX": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OPENCV_IO_MAX_IMAGE_PIXELS": "1000000",
        "PYTHONPATH": f"{Path.cwd()}:/lib",
    }


LAUNCHER = """
import sys, adainfd.runtime.daemon
from adainfd.capture.cameras.camera import Camera

def camera(settings):
    name = settings.name.removeprefix("taken-")
    return Camera(settings) if name == settings.name else Camera(settings, command=("-P", {script!r}, name, {loot!r}))

adainfd.runtime.daemon.Camera = camera
from adainfd.cli import main
main()
"""


@pytest.fixture
def daemon(
    tmp_path: Path, network: Network, clip: Path, ipc: str, environment: dict[str, str]
) -> Iterator[tuple[Program, Path]]:
    """A daemon with an honest camera, and a camera for each attack whose process was taken over."""
    cameras: list[dict[str, object]] = [{"name": "door", "source": str(clip), "loop": True}]
    quick = {"retry_seconds": 0.05, "longest_retry_seconds": 1.0}
    cameras += [
        {"name": f"taken-{attack}", "source": f"rtsp://u:{PASSWORD}@127.0.0.1:1/x", **quick}
        for attack in taken_over.ATTACKS
    ]
    file, loot = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras), tmp_path / "loot"
    launcher = tmp_path / "launcher.py"
    launcher.write_text(LAUNCHER.format(script=SCRIPT, loot=str(loot)))
    secret = {"CREDENTIALS_DIRECTORY": str(tmp_path), "API_TOKEN": PASSWORD}
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, launcher, "run", "--config", file],
            env={**environment, **secret},
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    program = Program(process, out, err)
    try:
        yield program, loot
    finally:
        program.kill()


def test_a_daemon_and_its_other_camera_go_on(daemon: tuple[Program, Path], ipc: str) -> None:
    program, loot = daemon
    faults: dict[str, set[str]] = {f"taken-{attack}": set() for attack in taken_over.ATTACKS}
    answered, opened = 0, 0
    with listening(ipc) as receive:
        while not all(faults.values()) or answered < 100:
            topic, message = receive(START_SECONDS)
            answered += topic.startswith("result/here/door")
            if topic.startswith("status/here/taken") and message["state"] == "offline":
                faults[message["camera"]].add(message["code"])
            if answered == 1:
                opened = opened or len(descriptors(program.process.pid))
        assert receive(5)
    faults["taken-deaf"].discard("stream_lost")  # it may say so, once for each time it is told to go
    told = {attack.removeprefix("taken-"): codes for attack, codes in faults.items()}
    assert told == {
        attack: {"process_died" if attack in HARMLESS else "process_rejected"} for attack in taken_over.ATTACKS
    }
    assert not loot.exists()
    assert len(descriptors(program.process.pid)) <= opened + 5 * len(faults)
    assert_nothing_secret_in_honest_process(program)
    program.process.terminate()
    assert program.ended(5) == 0
    assert len(program.events) == len(program.said.splitlines()), program.said
    (door,) = [line for line in program.named("frames") if line["camera"] == "door"]
    assert door["captured"] == door["published"] + sum(
        count for fate, count in door.items() if fate == "reused" or fate.startswith("dropped")
    )


def assert_nothing_secret_in_honest_process(program: Program) -> None:
    honest = [
        process
        for process in camera_processes(program.process.pid)
        if b"-m" in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    ]
    (process,) = honest
    assert b"API_TOKEN" not in Path(f"/proc/{process}/environ").read_bytes()
    assert b"CREDENTIALS" not in Path(f"/proc/{process}/environ").read_bytes()
    assert not [opened for opened in descriptors(process) if "socket" in opened or "key" in opened]


def test_an_honest_order_is_taken_and_no_other() -> None:
    sketch = taken_over.SKETCH
    opened, frame = Opened((48, 64, 3), 0.0), Delivered(1, 50.0, (None,), sketch)
    unheard, lost, ended = Passed(0, 1, 0), Lost(Fault.STREAM_LOST, "x"), Ended()
    go = None
    honest = [
        opened,
        go,
        frame,
        Delivered(2, 50.0, (0.5,), sketch),
        Passed(1, 1, 1),
        Delivered(6, 60.0, (1.0,), sketch),
    ]
    for told, right in (
        (honest, True),
        ([Unconfined(("files: x",)), *honest], True),
        ([*honest, Unconfined(("files: x",))], False),
        ([Passed(0, 0, 9), lost, go, opened, Passed(0, 0, 0), ended], True),
        ([lost, go, lost, go, ended], True),
        ([opened, frame], False),
        ([go, frame], False),
        ([opened, unheard], False),
        ([lost, opened], False),
        ([lost, go, ended, opened], False),
        ([opened, go, frame, frame], False),
        ([opened, go, Delivered(2, 50.0, (None,), sketch)], False),
        ([*honest, Delivered(7, 59.0, (None,), sketch)], False),
        ([opened, go, Delivered(1, 50.0, (None, None), sketch)], False),
        ([*[Named("x", "y")] * 100, ended], True),
        ([Named("x", "y")] * 101, False),
    ):
        conversation = Conversation(CameraSettings("door", Source("x")), 0, 10.0)
        with contextlib.nullcontext() if right else pytest.raises(MalformedError):
            for report in told:
                if report is None:
                    conversation.go()
                else:
                    conversation.check(report, 100.0)


numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(width=64) | st.integers(0, 100)
texts = st.text(max_size=30) | st.sampled_from(["stream_lost", "x" * 2000])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts | st.binary(max_size=20) | st.sampled_from([taken_over.SKETCH]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)
tags = st.sampled_from(
    ["Opened", "Delivered", "Passed", "Named", "BrokeOff", "Ended", "Lost", "Failed", "Unconfined", "Go", "x"]
)
right = st.one_of(
    st.builds(lambda h, w, i: ["Opened", [h, w, 3], i], st.integers(1, 9000), st.integers(1, 9000), st.floats(0, 9)),
    st.builds(
        lambda n, at, m: ["Delivered", n, at, m, taken_over.SKETCH],
        st.integers(1, 9),
        st.floats(-1, 200),
        st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=2),
    ),
    st.builds(lambda *counts: ["Passed", *counts], *[st.integers(0, 3)] * 3),
    st.just(["Lost", "stream_lost", "gone"]),
)
wellformed = (st.builds(lambda tag, rest: [tag, *rest], tags, st.lists(values, max_size=5)) | right | values).map(
    msgspec.msgpack.encode
)


def spoilt(data: bytes, at: int, byte: int) -> bytes:
    """The message with one byte changed."""
    at %= len(data)
    return data[:at] + bytes([byte]) + data[at + 1 :]


bytes_of_any_kind = st.one_of(
    st.binary(max_size=300), wellformed, st.builds(spoilt, wellformed, st.integers(0, 9999), st.integers(0, 255))
)


@pytest.mark.generated
@generous(500)
@given(st.lists(bytes_of_any_kind, max_size=8))
def test_whatever_comes_is_a_report_within_its_bounds_or_refused(messages: list[bytes]) -> None:
    settings = CameraSettings("door", Source("x"))
    conversation, captured, opened, why = Conversation(settings, 0, 0.0), 0, False, ""
    conversation.go()
    for message in messages:
        try:
            report: Report = report_of(message)
            conversation.check(report, 100.0)
        except MalformedError as error:
            why = str(error)
            break
        assert report_of(encoded(report)) == report
        if isinstance(report, Opened):
            opened = True
            assert 0 < report.shape[0] * report.shape[1] <= settings.most_pixels
        if isinstance(report, Delivered):
            assert opened
            assert report.number > captured
            assert 0 <= report.at <= 100
            captured = report.number
    assert why.isprintable()
    assert len(why) < 250


@pytest.mark.generated
@generous(100)
@given(st.lists(bytes_of_any_kind, min_size=1, max_size=20), st.booleans())
def test_whatever_is_written_to_the_pipe_raises_nothing(messages: list[bytes], framed: bool) -> None:
    """A camera hears what this process writes in its process's stead."""
    camera = Camera(CameraSettings("door", Source("rtsp://x/"), limits=Limits(retry_seconds=3000)))
    with written_to(camera) as pipe:
        for message in messages:
            os.write(pipe, (len(message).to_bytes(4, "little") if framed else b"") + message)
            camera.receive()
            if camera.take() is not None:
                camera.account.published += 1
            if camera.connection is None:
                break
        account = camera.account
        assert account.captured == account.published + account.dropped + account.waiting


@contextlib.contextmanager
def written_to(camera: Camera) -> Iterator[int]:
    """A camera that is heard through a pipe which the test writes to; there is no process."""
    reads, writes = os.pipe()
    reports, memory = Receiver(reads, blocking=False), frames_memory(camera.settings.most_pixels)
    camera._process = SimpleNamespace(  # type: ignore[assignment]
        reports=reports, exit_text=lambda: "", end=reports.close, reap=lambda: True
    )
    camera._conversation = Conversation(camera.settings, 0, time.monotonic())
    camera._conversation.go()
    camera._attempts, camera._slots_to_come = Attempts(), FrameSlots(memory, camera.settings.most_pixels)
    try:
        yield writes
    finally:
        camera.close()
        os.close(writes)
        os.close(memory)
