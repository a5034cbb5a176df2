"""A named pipe as a camera, with a real writer."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from adainfd.capture.cameras.lifecycle import Limits
from adainfd.capture.fault import Fault
from adainfd.capture.reading.reader import Reader, open_reader
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source, SourceError
from daemons import descriptors, write_video


class Writer:
    """Writes a video into a pipe as soon as somebody reads, and hangs up when it is told to."""

    def __init__(self, pipe: Path, content: bytes) -> None:
        self._pipe, self._content = pipe, content
        self._hang_up = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        try:
            with self._pipe.open("wb", buffering=0) as pipe:
                for start in range(0, len(self._content), 4096):
                    pipe.write(self._content[start : start + 4096])
                self._hang_up.wait(20)
        except BrokenPipeError:
            pass

    def hang_up(self) -> None:
        self._hang_up.set()
        self._thread.join()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("v") / "v.avi", 40, moves=lambda _: True).read_bytes()


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    before = len(descriptors(os.getpid()))
    yield path
    assert len(descriptors(os.getpid())) == before


def opened(pipe: Path, **limits: float) -> Reader:
    return open_reader(CameraSettings("door", Source(str(pipe)), limits=Limits(**limits)))


def test_stream_comes_as_long_as_somebody_writes_and_again_when_somebody_does(pipe: Path, video: bytes) -> None:
    for _ in range(2):
        writer = Writer(pipe, video)
        with closing(opened(pipe)) as reader:
            for _ in range(10):
                assert reader.grab()
                picture = reader.retrieve()
                assert picture is not None
                assert picture.shape == (120, 160, 3)
            assert reader.codec == "MJPG"
            writer.hang_up()
            with pytest.raises(SourceError) as lost:
                [reader.grab() for _ in range(100)]
        assert lost.value.fault is Fault.STREAM_LOST


def test_nobody_writes(pipe: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(SourceError, match="nothing is written to this pipe") as lost:
        opened(pipe, open_seconds=0.3)
    assert lost.value.fault is Fault.OPEN_TIMEOUT
    assert 0.2 < time.monotonic() - begun < 1.5


def test_writer_that_comes_late_or_goes_at_once_is_waited_for(pipe: Path, video: bytes) -> None:
    writers: list[Writer] = []

    def later() -> None:
        os.close(os.open(pipe, os.O_WRONLY))  # goes without a word
        writers.append(Writer(pipe, video))

    timer = threading.Timer(0.2, later)
    timer.start()
    with closing(opened(pipe)) as reader:
        assert reader.grab()
    timer.join()
    writers[0].hang_up()


def test_writer_that_pauses_for_too_long(pipe: Path, video: bytes) -> None:
    writer = Writer(pipe, video)
    with closing(opened(pipe, stall_seconds=0.2)) as reader:
        begun = time.monotonic()
        with pytest.raises(SourceError) as lost:
            [reader.grab() for _ in range(100)]
        assert time.monotonic() - begun < 3
    assert lost.value.fault is Fault.READ_TIMEOUT
    writer.hang_up()


def test_what_is_written_is_no_video(pipe: Path) -> None:
    writer = Writer(pipe, b"no video at all\n" * 1000)
    writer._hang_up.set()
    with pytest.raises(SourceError, match="is not a video stream") as lost:
        opened(pipe)
    assert lost.value.fault is Fault.CANNOT_OPEN
    writer.hang_up()
