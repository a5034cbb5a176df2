import contextlib
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from adainfd.capture.cameras.camera import Camera
from adainfd.capture.cameras.captured import Captured
from adainfd.capture.cameras.lifecycle import Limits
from adainfd.capture.exchange.attempts import Attempts
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source
from daemons import await_true, process_state, write_video
from footage import MPEG4, ffmpeg, footage, giant_png
from hypothesis import given
from hypothesis import strategies as st

FRAMES = 120
# So many that more follow than are left out, however late its process ends on a busy box.
_FILM = 240
FAST = 300.0


def grey_levels(path: Path) -> Path:
    """A fast video in which frame n (from 1) has the grey level 2n."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FAST, (64, 48))
    for number in range(1, FRAMES + 1):
        writer.write(np.full((48, 64, 3), 2 * number, np.uint8))
    writer.release()
    return path


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[Camera]:
    with_video = door(grey_levels(tmp_path / "grey.avi"))
    with_video.start()
    while not with_video.opened:
        listen(with_video)
    yield with_video
    with_video.close()


def door(path: Path, **more: Any) -> Camera:
    return Camera(CameraSettings("door", Source(str(path)), **more))


def listen(camera: Camera) -> None:
    assert wait([camera.connection], 20), "the camera says nothing"
    camera.receive()


def test_nothing_comes_before_play(camera: Camera) -> None:
    assert not wait([camera.connection], 0.3)
    assert camera.account.captured == 0


def test_newest_frame_wins_and_every_frame_is_counted(camera: Camera) -> None:
    camera.play()
    taken: list[int] = []
    while not camera.finished:
        before = camera.account.captured
        while camera.account.captured < before + 7 and not camera.finished and camera.account.captured < FRAMES:
            listen(camera)
        newest = camera.newest
        while not camera.finished and camera.account.captured == FRAMES and newest is None:
            listen(camera)
        if (frame := camera.take()) is None:
            continue
        captured, picture = frame
        assert captured.number == camera.account.captured
        if camera.holds(captured):
            assert abs(float(picture.mean()) - 2 * captured.number) < 2
        del frame, picture
        camera.account.published += 1
        taken.append(captured.number)
    account = camera.account
    assert taken == sorted(set(taken))
    assert taken[-1] == account.captured == FRAMES
    assert account.newer_frame == FRAMES - len(taken) > 0
    assert account.waiting == 0
    assert camera.failure is None


def test_overwritten_frame_is_not_held(camera: Camera) -> None:
    camera.play()
    while camera.newest is None:
        listen(camera)
    frame = camera.take()
    assert frame is not None
    captured: Captured = frame[0]
    del frame
    while camera.account.captured < captured.number + 6:
        listen(camera)
    assert not camera.holds(captured)
    assert camera.take() is not None
    assert camera.take() is None


def test_frames_lie_in_memory_without_a_name(camera: Camera) -> None:
    """What has no name is freed however its processes end."""
    camera.play()
    while camera.newest is None:
        listen(camera)
    maps = Path(f"/proc/{camera.process_id}/maps").read_text()
    assert "/memfd:adainf-frames (deleted)" in maps
    assert "/dev/shm/" not in maps  # noqa: S108


def test_looped_file_is_replaced_by_one_of_another_size(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.avi", 5, fps=50, size=(64, 48), moves=lambda _: True)
    other = write_video(tmp_path / "other.avi", 5, fps=50, size=(96, 80), moves=lambda _: True)
    camera = door(path, loop=True)
    camera.start()
    shapes: set[tuple[int, ...]] = set()
    try:
        camera.play()
        while len(shapes) < 2:
            listen(camera)
            if (frame := camera.take()) is not None:
                camera.account.published += 1
                shapes.add(frame[1].shape)
                if other.exists():
                    other.replace(path)
            del frame
        assert shapes == {(48, 64, 3), (80, 96, 3)}
        assert camera.account.captured < 50
        assert camera.account.waiting == 0
    finally:
        camera.close()


def test_source_that_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    camera = door(tmp_path / "noise.mp4")
    camera.start()
    try:
        while camera.failure is None:
            listen(camera)
    finally:
        camera.close()
    assert "noise.mp4" in camera.failure


def run_until(camera: Camera, condition: Any, what: str) -> None:
    """Let it play, and be supervised, until that is true."""

    def met() -> bool:
        if camera.connection is not None:
            wait([camera.connection], 0.05)
            camera.receive()
        camera.supervise(time.monotonic())
        if camera.take() is not None:
            camera.account.published += 1
        assert camera.account.waiting in (0, 1)
        return bool(condition())

    await_true(met, 30, what)


def test_pictures_of_a_kind_that_only_opencv_knows_are_held_to_the_limit(tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    for number, side in enumerate((40, 200, 40)):
        cv2.imwrite(str(folder / f"{number}.pam"), np.zeros((side, side, 3), np.uint8))
        (folder / f"{number}.pam").rename(folder / f"{number}.png")
    camera = door(folder, fps=50, most_pixels=100 * 100)
    camera.start()
    try:
        camera.play()
        while not camera.finished:
            listen(camera)
            camera.take()
        assert [(passed.what, passed.why) for passed in camera.take_undecodable()] == [
            ("1.png", "cannot be decoded (it is too large)")
        ]
        assert camera.account.captured == 3
    finally:
        camera.close()


def test_frames_that_grow_are_that_cameras_failure_and_named(tmp_path: Path) -> None:
    """Each is of 25 MB to its decoder, and refers to sixteen before it."""
    film = tmp_path / "film.h264"
    with film.open("wb") as parts:
        for size, frames in (("64x48", 60), ("4096x4096", 18)):
            ffmpeg(
                *("-f", "lavfi", "-i", f"color=black:size={size}", "-frames:v", frames, "-pix_fmt", "yuv420p"),
                *("-c:v", "libx264", "-preset", "ultrafast", "-x264-params", "ref=16:bframes=0:keyint=300"),
                tmp_path / "part.h264",
            )
            parts.write((tmp_path / "part.h264").read_bytes())
    camera = door(film, fps=300, most_pixels=100 * 100)
    most = 0
    camera.start()
    try:
        camera.play()
        while not camera.finished and camera.failure is None:
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{camera.process_id}/status").read_text(encoding="ascii")
                most = max(most, int(status.partition("VmHWM:")[2].split()[0]))
            listen(camera)
            camera.take()
        named = [f"{passed.what}: {passed.why}" for passed in camera.take_undecodable()]
        assert "what follows: its process may take 257 MiB for pictures, and has used them (max_megapixels)" in named
        assert 0 < most < 420 * 1024
    finally:
        camera.close()


@pytest.mark.parametrize("loop", [False, True])
def test_picture_that_its_process_ended_on_is_not_tried_again(tmp_path: Path, loop: bool) -> None:
    """The process is killed while it decodes the third picture, as the kernel kills one that takes all memory."""
    folder = tmp_path / "shots"
    folder.mkdir()
    for number in range(1, 6):
        size = 3000 if number == 3 else 40
        cv2.imwrite(str(folder / f"{number}.png"), np.random.default_rng(0).integers(0, 9, (size, size, 3), np.uint8))
    (folder / "6.png").write_bytes(giant_png())
    camera = door(folder, loop=loop, fps=50, limits=Limits(retry_seconds=0.1))
    camera.start()
    try:
        while not camera.opened:
            listen(camera)
        camera.play()
        attempts = camera._attempts
        assert attempts is not None

        def dies() -> bool:
            if "3.png" in str(attempts.begun):
                os.kill(camera.process_id or 0, signal.SIGKILL)
                return True
            return False

        run_until(camera, dies, "the third picture")
        first = camera.process_id
        run_until(camera, lambda: camera.process_id not in (None, first), "another process")
        named: list[str] = []

        def through() -> bool:
            named.extend(passed.what for passed in camera.take_undecodable())
            return camera.finished or (loop and camera.account.captured > 30)

        run_until(camera, through, "the end")
        account = camera.account
        assert sorted(named) == ["3.png", "6.png"]
        if not loop:
            assert (account.captured, account.published + account.newer_frame, account.undecodable) == (6, 4, 2)
        else:
            assert account.undecodable == pytest.approx(account.captured / 3, abs=3)
            assert camera.process_id is not None
        assert account.captured == account.published + account.dropped + account.waiting
    finally:
        camera.close()


@pytest.mark.parametrize(("loop", "after"), [(False, 5), (True, 5), (False, _FILM - 30)])
def test_film_goes_on_behind_the_frame_that_its_process_ended_on(tmp_path: Path, loop: bool, after: int) -> None:
    # Near its end the film must not be over before it was seen to be there: fewer frames, that take longer to decode.
    fps, size = (300, (1280, 720)) if after < 100 else (50, (1920, 1080))
    film = write_video(tmp_path / "v.mp4", _FILM, fps=fps, size=size, moves=lambda _: True)
    camera = door(film, loop=loop, limits=Limits(retry_seconds=0.1))
    camera.start()
    try:
        while not camera.opened:
            listen(camera)
        camera.play()
        attempts = camera._attempts
        assert attempts is not None

        def dies() -> bool:
            if camera.account.captured <= after:
                return False
            process = camera.process_id or 0
            end = time.monotonic() + 5
            while time.monotonic() < end:  # held up, it is late, and decodes one frame after the other
                os.kill(process, signal.SIGSTOP)
                await_true(lambda: process_state(process) == "T", 5, "it stands still")
                if attempts.begun is not None:
                    os.kill(process, signal.SIGKILL)
                    return True
                os.kill(process, signal.SIGCONT)
                time.sleep(0.001)
            return False

        run_until(camera, dies, "a frame that is being decoded")
        named: list[str] = []

        def through() -> bool:
            named.extend(passed.what for passed in camera.take_undecodable())
            return camera.finished or (loop and camera.account.captured > 3 * _FILM)

        run_until(camera, through, "the end")
        account = camera.account
        died_of, left_out = named
        assert left_out.startswith(f"{died_of.replace('frame', 'frames')} to ")
        assert account.captured == account.published + account.dropped + account.waiting
        assert account.undecodable >= (32 if after < _FILM - 32 else 2)
        assert account.published + account.newer_frame > 20
        if not loop:
            assert account.captured == _FILM
    finally:
        camera.close()


def test_film_with_a_long_gap_waits_for_it_and_is_not_taken_for_lost(tmp_path: Path) -> None:
    """Frames at 0, 0.04 … 0.2 s, and then one at 2 s."""
    source = write_video(tmp_path / "v.avi", 51, moves=lambda _: True)
    film = footage(tmp_path / "v.mkv", "-vf", "select='lt(n,6)+eq(n,50)'", "-fps_mode", "vfr", *MPEG4, source=source)
    camera = door(film, limits=Limits(stall_seconds=0.3))
    camera.start()
    try:
        while not camera.opened:
            listen(camera)
        camera.play()
        run_until(camera, lambda: camera.account.captured == 6, "the frames before the gap")
        begun = time.monotonic()
        run_until(camera, lambda: camera.account.captured == 7, "the frame behind the gap")
        assert 1.5 < time.monotonic() - begun < 3
        run_until(camera, lambda: camera.finished, "the end")
        assert [change.state for change in camera.lifecycle.take_changes()] == ["connecting", "online", "ended"]
    finally:
        camera.close()


@given(st.lists(st.tuples(st.text(max_size=20), st.booleans()), max_size=5), st.tuples(*[st.integers(0, 9)] * 3))
def test_what_is_being_decoded_is_known_to_whoever_holds_the_memory(
    names: list[tuple[str, bool]], counts: tuple[int, int, int]
) -> None:
    attempts = Attempts()
    try:
        for name, through in [*names, ("x" * 9000, True)]:
            attempts.begin(name)
            assert attempts.begun is not None
            assert f"{name}\0".startswith(attempts.begun)
            if through:
                attempts.done()
                assert attempts.begun is None
        attempts.count(over_rate=counts[0], newer_frame=counts[1], undecodable=counts[2])
        assert attempts.take_counts() == counts
        assert attempts.take_counts() == (0, 0, 0)
    finally:
        attempts.close()
