"""Files that hold no picture: their codec is named, or what they are instead."""

import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from adainfd.capture.fault import Fault
from adainfd.capture.reading.reader import open_reader
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source, SourceError
from daemons import write_video


def opened(path: Path) -> str | None:
    with closing(open_reader(CameraSettings("door", Source(str(path))))) as reader:
        return reader.codec


def refused(path: Path) -> tuple[Fault, str]:
    with pytest.raises(SourceError) as error:
        opened(path)
    return error.value.fault, str(error.value)


def made(path: Path, arguments: str) -> Path:
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg: apt-get install ffmpeg")
    subprocess.run(["ffmpeg", "-loglevel", "error", "-y", *arguments.split(), path], check=True)
    return path


@pytest.mark.parametrize(
    ("name", "encoder", "code", "other"),
    [("v.avi", "mjpeg", b"MJPG", "ZZ9"), ("v.mp4", "libx264", b"avc1", "zzz1"), ("v.mov", "prores", b"ap4h", "zz-2")],
)
def test_codec_that_nobody_knows_is_named(tmp_path: Path, name: str, encoder: str, code: bytes, other: str) -> None:
    path = made(tmp_path / name, f"-f lavfi -i testsrc=size=64x48:rate=5:duration=1 -c:v {encoder}")
    content = path.read_bytes()
    assert code in content
    path.write_bytes(content.replace(code, other.ljust(4).encode()))
    fault, said = refused(path)
    assert (fault, said.endswith(f"cannot decode its codec {other}")) == (Fault.UNKNOWN_CODEC, True), said


def test_codec_is_known_of_what_opens(tmp_path: Path) -> None:
    assert opened(write_video(tmp_path / "v.avi", 5, moves=lambda _: True)) == "MJPG"


def test_codec_of_a_video_that_opens_and_shows_nothing(tmp_path: Path) -> None:
    from multiprocessing.connection import wait

    from adainfd.capture.cameras.camera import Camera

    encoding = "-f lavfi -i testsrc=size=64x48:rate=5:duration=1 -c:v libaom-av1 -cpu-used 8"
    camera = Camera(CameraSettings("door", Source(str(made(tmp_path / "v.mp4", encoding)))))
    camera.start()
    try:
        while camera.failure is None and not camera.opened:
            assert wait([camera.connection], 20)
            camera.receive()
    finally:
        camera.close()
    if camera.opened:
        pytest.skip("this OpenCV decodes AV1")
    assert "of its codec AV01" in str(camera.failure)


@pytest.mark.parametrize("suffix", [".m4a", ".mp3", ".wav", ".ogg", ".flac", ".mkv"])
def test_sound_is_no_video(tmp_path: Path, suffix: str) -> None:
    fault, said = refused(made(tmp_path / f"a{suffix}", "-f lavfi -i sine=duration=0.3"))
    assert (fault, "holds sound, and no video" in said) == (Fault.NOT_VIDEO, True), said


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "it is empty"), (b"no video", "is not a video"), (b"RIFF\0", "is not a video")]
)
def test_neither_sound_nor_video(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.mp4").write_bytes(content)
    assert words in refused(tmp_path / "x.mp4")[1]


@pytest.mark.parametrize(
    "name", ["my%20door.mp4", "clip_%d.mp4", "a*b.mp4", "[x].mp4", "a:b.mp4", "concat:a.mp4", "0", "x?y#z=1.mp4"]
)
def test_file_plays_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    folder = tmp_path / "a*%02d"
    folder.mkdir()
    shutil.copy(write_video(tmp_path / "v.avi", 5, moves=lambda _: True), folder / name)
    monkeypatch.chdir(folder)
    bare = [name] if not name.isdigit() else []
    for address in (
        *bare,
        f"./{name}",
        str(folder / name),
        f"file://{folder}/{name}",
        f"FILE://localhost{folder}/{name}",
    ):
        source = Source.parse(address)
        with closing(open_reader(CameraSettings("door", source))) as reader:
            assert [reader.grab() for _ in range(6)] == [True] * 5 + [False]
            assert reader.frames_per_second == 25


def test_single_picture_whose_name_is_a_pattern_to_ffmpeg(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    path = tmp_path / "door_%d.png"
    path.write_bytes(cv2.imencode(".png", np.full((48, 64, 3), 90, np.uint8))[1].tobytes())
    with closing(open_reader(CameraSettings("door", Source(str(path))))) as reader:
        assert reader.grab()
        shown = reader.retrieve()
        assert shown is not None
        assert shown.shape == (48, 64, 3)
        assert not reader.grab()
