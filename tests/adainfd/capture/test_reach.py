from pathlib import Path

import pytest
from adainfd.capture.reach import Reach, identities, reach_of
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source, Transport


def reach(address: object, *, loop: bool = False) -> Reach:
    return reach_of(CameraSettings("front", Source(str(address)), loop=loop))


@pytest.mark.parametrize(
    ("address", "ports"),
    [
        ("rtsp://10.0.0.9/cam", {554}),
        ("rtsp://user:p@ss/word@10.0.0.9:8554/cam", {53, 554}),  # FFmpeg too takes ss for its host
        ("rtsp://user:pass@10.0.0.9:8554/cam", {8554}),
        ("rtsp://[fe80::1%25eth0]:8554/cam", {8554}),
        ("rtsp://door/cam", {53, 554}),
        ("http://10.0.0.9:8080/video", {443, 8080}),
        ("https://10.0.0.9/video", {443}),
        ("rtmp://10.0.0.9/live", {1935}),
        ("udp://@:1234", {53}),
        ("nonsense://10.0.0.9", set()),
    ],
)
def test_a_stream_reaches_the_port_of_its_camera(address: str, ports: set[int]) -> None:
    found = reach(address)
    assert found.network
    assert set(found.connects or ()) - {53} == ports - {53}
    assert not found.binds
    assert not found.sockets


@pytest.mark.parametrize(
    ("address", "transport", "datagrams"),
    [
        ("rtsp://user:pass@10.0.0.9:8554/cam", "tcp", False),
        ("rtsps://[fe80::1%25eth0]/cam", "tcp", False),
        ("http://10.0.0.9:8080/video", "tcp", False),
        ("rtsp://10.0.0.9/cam", "udp", True),
        ("rtsp://door/cam", "tcp", True),  # its name must be looked up
        ("udp://@:1234", "tcp", True),
        ("srt://10.0.0.9:1234", "tcp", True),
    ],
)
def test_only_those_that_need_datagrams_can_send_them(address: str, transport: Transport, datagrams: bool) -> None:
    assert reach_of(CameraSettings("front", Source(address), transport=transport)).datagrams is datagrams


def test_the_owners_options_of_ffmpeg_may_ask_for_datagrams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;udp")
    assert reach("rtsp://10.0.0.9/cam").datagrams
    assert not reach("http://10.0.0.9/cam").datagrams


def test_a_stream_that_listens_does_so_at_its_port_alone() -> None:
    assert reach("tcp://0.0.0.0:9000?listen").binds == (9000,)


def test_a_local_source_reaches_no_network(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    for address in (tmp_path / "a.mp4", tmp_path, "0", "/dev/video3"):
        found = reach(address)
        assert (found.network, found.connects, found.sockets) == (False, (), ())
    assert reach("3").devices == (Path("/dev/video3"),)


def test_a_file_is_reached_without_its_folder(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    video.touch()
    assert reach(video).reads == (video,)
    assert reach(video, loop=True).reads == (tmp_path,)  # it holds nothing else, and a new file may take the name
    (tmp_path / "edge.toml").touch()
    assert reach(video, loop=True).reads == (video,)


@pytest.mark.parametrize("pattern", ["", "*.jpg", "%d.jpg"])
def test_pictures_are_reached_without_what_lies_beside_them(tmp_path: Path, pattern: str) -> None:
    pictures = {tmp_path / f"{number}.jpg" for number in range(3)}
    for picture in pictures:
        picture.touch()
    assert reach(tmp_path / pattern) == Reach(reads=(tmp_path,))
    (tmp_path / "keys").mkdir()
    found = reach(tmp_path / pattern)
    assert (set(found.reads), found.lists) == (pictures, (tmp_path,))


def test_a_link_among_pictures_is_reached_where_it_leads(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "0.jpg").touch()
    (folder / "0.jpg").symlink_to(tmp_path / "0.jpg")
    assert reach(folder).reads == (folder / "0.jpg",)


def test_another_file_of_the_same_name_is_told_from_the_first(tmp_path: Path) -> None:
    video, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    video.touch()
    other.touch()
    before = identities(reach(video))
    assert identities(reach(video)) == before
    other.replace(video)
    assert identities(reach(video)) != before
