from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from adainfd.capture.cameras.lifecycle import Limits
from adainfd.capture.fault import Fault
from adainfd.capture.reading.pictures import fitted
from adainfd.capture.reading.reader import Reader, open_reader
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source, SourceError
from daemons import write_video
from footage import alike, footage, meant, still
from stream_servers import MjpegServer, h264_file, rtsp_server

NOISE = np.random.default_rng(0).bytes(3000)
Part = Callable[[int], bytes]


def opened(source: object, **more: Any) -> "closing[Reader]":
    return closing(open_reader(CameraSettings("door", Source(str(source)), **more)))


def read(reader: Reader, grabs: int) -> tuple[list[np.ndarray], int]:
    """The pictures of so many grabs, and how many frames could not be decoded."""
    pictures = []
    for _ in range(grabs):
        if not reader.grab():
            break
        if (picture := reader.retrieve()) is not None:
            pictures.append(picture)
    return pictures, sum(passed.frames for passed in reader.take_undecodable())


@pytest.fixture
def serve() -> Iterator[Callable[[Part], str]]:
    """Starts a server of Motion JPEG with these parts, and gives its address."""
    servers: list[MjpegServer] = []

    def start(part: Part) -> str:
        servers.append(MjpegServer(part=part))
        return servers[-1].address

    yield start
    for server in servers:
        server.close()


def test_parts_of_a_stream_that_are_no_pictures_are_passed_over(serve: Callable[[Part], str]) -> None:
    address = serve(lambda number: NOISE if number % 4 == 0 else still("jpeg"))
    with opened(address) as reader:
        pictures, undecodable = read(reader, 12)
    assert (len(pictures), undecodable) == (9, 3)
    assert all(alike(picture, meant()) for picture in pictures)


def test_a_stream_of_nothing_but_noise_is_given_up(serve: Callable[[Part], str]) -> None:
    address = serve(lambda number: NOISE if number > 2 else still("jpeg"))
    with (
        opened(address, limits=Limits(stall_seconds=0.5)) as reader,
        pytest.raises(SourceError, match="nothing that can be decoded") as lost,
    ):
        read(reader, 1000)
    assert lost.value.fault is Fault.NO_PICTURE


def test_a_stream_that_hangs_up_is_lost_at_once_and_nothing_of_it_undecodable() -> None:
    server = MjpegServer()
    with opened(server.address) as reader:
        assert reader.grab()
        server.close()
        with pytest.raises(SourceError, match="broke off") as lost:
            read(reader, 1000)
        assert lost.value.fault is Fault.STREAM_LOST
        assert not reader.take_undecodable()


def test_pictures_of_a_stream_say_which_way_up_they_are(serve: Callable[[Part], str]) -> None:
    with opened(serve(lambda number: still("jpeg", 6 if number < 6 else 3))) as reader:
        pictures, _ = read(reader, 12)
    assert alike(pictures[0], meant(6))
    assert alike(pictures[-1], meant(3))


def test_pixels_of_a_camera_are_made_square(tmp_path: Path) -> None:
    file = h264_file(tmp_path, options="-vf setsar=3/2")
    with rtsp_server(file) as server, opened(server.address) as reader:
        assert reader.grab()
        picture = reader.retrieve()
    assert picture is not None
    assert picture.shape == (120, 240, 3)


def test_a_single_picture_is_upright(tmp_path: Path) -> None:
    for kind in ("jpeg", "png", "webp", "tiff", "avif"):
        file = tmp_path / f"it.{kind}"
        file.write_bytes(still(kind, 6))
        with opened(file) as reader:
            pictures, undecodable = read(reader, 3)
        assert undecodable == 0
        assert len(pictures) == 1
        assert alike(pictures[0], meant(6))


def test_a_single_jpeg_without_a_name_for_it_is_upright(tmp_path: Path) -> None:
    (tmp_path / "snapshot").write_bytes(still("jpeg", 8))
    with opened(tmp_path / "snapshot") as reader:
        assert reader.grab()
        picture = reader.retrieve()
    assert picture is not None
    assert alike(picture, meant(8))


def test_a_film_is_decoded_where_it_shall_lie_unless_it_must_be_turned(tmp_path: Path) -> None:
    film = footage(tmp_path / "v.mp4", "-c:v", "mpeg4", frames=3)
    memory = np.empty((96, 160, 3), np.uint8)
    with opened(film) as reader:
        assert reader.grab()
        assert reader.retrieve(memory) is memory
    wide = footage(tmp_path / "wide.mp4", "-vf", "setsar=2/1", "-c:v", "mpeg4", frames=3)
    with opened(wide) as reader:
        assert reader.grab()
        picture = reader.retrieve(memory)
        assert picture is not None
        assert picture.shape == (96, 320, 3)


def test_the_rate_of_the_configuration_comes_before_the_times_of_the_file(tmp_path: Path) -> None:
    film = write_video(tmp_path / "v.mp4", 5, moves=lambda _: True)
    with opened(film, fps=5.0) as reader:
        assert reader.grab()
        assert (reader.position, reader.frames_per_second) == (None, 5.0)
    with opened(film) as reader:
        assert reader.grab()
        assert reader.grab()
        assert reader.position == pytest.approx(1 / 25)


def test_what_square_pixels_make_too_large_is_shrunk() -> None:
    assert fitted(np.zeros((2000, 3000, 3), np.uint8), 1_000_000).shape == (816, 1224, 3)
    small = np.zeros((1000, 1000, 3), np.uint8)
    assert fitted(small, 1_000_000) is small


@pytest.mark.parametrize("options", [("-c:v", "mpeg4"), ("-c:v", "png"), ("-c:v", "rawvideo", "-f", "avi")])
def test_a_video_of_larger_pictures_is_refused_before_one_is_decoded(tmp_path: Path, options: tuple[str, ...]) -> None:
    film = footage(tmp_path / "it.avi", *options)
    with opened(film) as reader:
        assert reader.grab()
        picture = reader.retrieve()
        assert picture is not None
        pixels = picture.shape[0] * picture.shape[1]
    with opened(film, most_pixels=pixels) as reader:
        assert reader.grab()
    with pytest.raises(SourceError, match=r"pixels; at most .* are decoded \(max_megapixels\)") as refused:
        open_reader(CameraSettings("it", Source(str(film)), most_pixels=pixels - 1))
    assert refused.value.fault is Fault.PICTURE_TOO_LARGE


def test_motion_jpeg_and_pictures_come_smaller(tmp_path: Path) -> None:
    film = write_video(tmp_path / "v.avi", 3, moves=lambda _: True)
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "1.jpg"), np.zeros((1201, 1601, 3), np.uint8))
    with opened(film) as reader:
        assert reader.grab()
        picture = reader.retrieve()
        assert picture is not None
        height, width = picture.shape[:2]
    with opened(film, most_pixels=height * width - 1) as reader:
        assert reader.grab()
        halved = reader.retrieve()
        assert halved is not None
        assert halved.shape[:2] == (-(-height // 2), -(-width // 2))
    for most, shape in (
        (2_000_000, (1201, 1601)),
        (1_000_000, (601, 801)),
        (200_000, (301, 401)),
        (50_000, (151, 201)),
    ):
        with opened(tmp_path / "pictures", most_pixels=most) as reader:
            assert reader.grab()
            picture = reader.retrieve()
            assert picture is not None
            assert picture.shape[:2] == shape
