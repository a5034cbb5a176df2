from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from adainfd.capture.camera import Camera
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source
from adainfd.capture.worker import Captured
from daemons import write_video

FRAMES = 120
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
