import contextlib
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from adainfd.capture.fault import Fault
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Kind, Source, SourceError
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

from adainf.base.errors import InvalidInputError


@pytest.mark.parametrize(
    ("address", "kind", "stem"),
    [
        ("clips/front door.mp4", Kind.FILE, "front-door"),
        ("0", Kind.DEVICE, "camera0"),
        ("/dev/video2", Kind.DEVICE, "video2"),
        ("rtsp://10.0.0.7:554/live/main", Kind.STREAM, "10.0.0.7-554-live-main"),
        ("rtsp://admin:secret@10.0.0.7/cam", Kind.STREAM, "10.0.0.7-cam"),
        ("http://[::1]/x", Kind.STREAM, "1-x"),
        ("/dev/v4l/by-id/usb-cam-index0", Kind.DEVICE, "usb-cam-index0"),
        ("/dev/clip.mp4", Kind.FILE, "clip"),
        ("shots/door-%04d.jpg", Kind.PICTURES, "shots"),
        ("shots/*.png", Kind.PICTURES, "shots"),
        ("a*b/clip.mp4", Kind.FILE, "clip"),
        ("/dev/door", Kind.DEVICE, "door"),
        ("²", Kind.FILE, "-"),
        ("1٣", Kind.FILE, "1-"),
        ("99999999999999999999", Kind.FILE, "99999999999999999999"),
        ("file:///clips/my%20door.mp4", Kind.FILE, "my-door"),
        ("FILE://localhost/clips/door.mp4", Kind.FILE, "door"),
        ("file:/clips/door.mp4", Kind.FILE, "door"),
        ("file:///shots/*.png", Kind.PICTURES, "shots"),
        ("RTSP://10.0.0.7/cam", Kind.STREAM, "10.0.0.7-cam"),
    ],
)
def test_kind_and_name_of_an_address(address: str, kind: Kind, stem: str) -> None:
    assert (Source(address).kind, Source(address).stem) == (kind, stem)


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://admin:secret@10.0.0.7/cam",
        "rtsp://secret@10.0.0.7/cam",
        "rtsp://admin:sec@secret@10.0.0.7/cam",
        "rtsp://admin:secret/secret@10.0.0.7/cam",
        "rtsp://10.0.0.7/cam?user=admin&password=secret",
        "http://10.0.0.7/snap?usr=admin&pwd=secret&channel=1",
        "RTSP://admin:secret@10.0.0.7",
        "rtsp://admin:secret#secret@10.0.0.7",
        "rtsp://admin:secret\nsecret@10.0.0.7",
        "rtsp:/admin:secret@10.0.0.7",
        "rtsp:admin:secret@10.0.0.7/cam",
    ],
)
def test_no_credentials_where_a_source_becomes_text(address: str) -> None:
    source = Source(address)
    assert "secret" not in f"{source} {source.stem} {source!r} {CameraSettings('door', source)}"
    assert "10.0.0.7" in str(source)


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[Path]:
    """A folder whose file `locked/clip.mp4` this user may not reach, and `unreadable.mp4` it may not read."""
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "clip.mp4").write_bytes(b"x")
    (tmp_path / "listed").mkdir()
    (tmp_path / "listed" / "1.jpg").write_bytes(b"x")
    (tmp_path / "unreadable.mp4").write_bytes(b"x")
    for name, mode in (("locked", 0), ("listed", 0o444), ("unreadable.mp4", 0)):
        (tmp_path / name).chmod(mode)
    import adainf.media.images  # noqa: F401  what it needs lies where only root may look

    privileged = os.geteuid() == 0
    if privileged:
        for folder in (tmp_path, *tmp_path.parents[:2]):
            folder.chmod(0o755)
        os.seteuid(65534)
    yield tmp_path
    if privileged:
        os.seteuid(0)
    for name in ("locked", "listed"):
        (tmp_path / name).chmod(0o755)


@pytest.mark.parametrize(
    "name", ["locked/clip.mp4", "locked/*.jpg", "locked", "listed", "listed/%d.jpg", "unreadable.mp4"]
)
def test_what_this_user_may_not_read(unprivileged: Path, name: str) -> None:
    refused = refusal(Source.parse(str(unprivileged / name)))
    assert (refused.fault, f"{name}: cannot be read (Permission denied)" in str(refused)) == (Fault.CANNOT_OPEN, True)


def refusal(source: Source) -> SourceError:
    with pytest.raises(SourceError) as refused:
        source.pictures() if source.kind is Kind.PICTURES else source.check_file()
    return refused.value


@pytest.mark.parametrize(
    "name", ["my%20door.mp4", "clip_%d.mp4", "a*b.mp4", "[x].mp4", "a:b.mp4", "file:x.mp4", " blank .mp4", "%04d", "*"]
)
def test_what_exists_is_no_pattern_and_no_escape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    for address in (name, f"./{name}", str(tmp_path / name), f"file://{tmp_path}/{name}"):
        source = Source.parse(address)
        assert source.kind is Kind.FILE
        assert Path(source.path).samefile(tmp_path / name)
        source.check_file()


def test_numbers_are_devices_and_files_where_they_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("0", "20261127"):
        (tmp_path / name).mkdir()
    assert [Source(address).kind for address in ("0", "./0", "20261127", "97")] == [
        Kind.DEVICE,
        Kind.PICTURES,
        Kind.PICTURES,
        Kind.DEVICE,
    ]


def test_pictures_whose_names_look_like_patterns(tmp_path: Path) -> None:
    folder = tmp_path / "a*b"
    folder.mkdir()
    for name in ("[x]2.jpg", "[x]10.jpg", "x3.jpg", "shot_%d.jpg", "shot_7.jpg"):
        (folder / name).write_bytes(b"x")
    found = {
        pattern: [file.name for file in Source(f"{folder}/{pattern}").pictures()]
        for pattern in ("[x]*.jpg", "[x]%d.jpg", "shot_%d.jpg", "shot_%02d.jpg", "*_*.jpg", "?3.jpg*")
    }
    assert found == {
        "[x]*.jpg": ["[x]2.jpg", "[x]10.jpg"],
        "[x]%d.jpg": ["[x]2.jpg", "[x]10.jpg"],
        "shot_%d.jpg": ["shot_%d.jpg"],  # it exists
        "shot_%02d.jpg": ["shot_7.jpg"],
        "*_*.jpg": ["shot_7.jpg", "shot_%d.jpg"],
        "?3.jpg*": [],
    }
    assert len(Source(str(folder)).pictures()) == 5


def test_kinds_of_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as other:
        other.bind(str(tmp_path / "socket"))
    for name, target in (("door", "/dev/null"), ("gone", "/dev/video97"), ("loop", "loop"), ("none", "nowhere.mp4")):
        (tmp_path / name).symlink_to(target)
    kinds = {
        name: Source(str(tmp_path / name)).kind for name in ("pipe", "socket", "door", "gone", "loop", "none", "pipe/x")
    }
    assert kinds == {
        "pipe": Kind.PIPE,
        "socket": Kind.FILE,
        "door": Kind.DEVICE,  # a camera that udev named
        "gone": Kind.DEVICE,  # the same while it is unplugged
        "loop": Kind.FILE,
        "none": Kind.FILE,
        "pipe/x": Kind.FILE,
    }
    assert [Source(str(tmp_path / name)).live for name in ("pipe", "door", "gone", "none")] == [True] * 3 + [False]
    assert Source(str(tmp_path / "gone")).device == 97
    assert Source(str(tmp_path / "door")).device == str(tmp_path / "door")
    said = {name: str(refusal(Source(str(tmp_path / name)))) for name in ("socket", "loop", "none", "pipe/x")}
    for name, words in (("socket", "is a socket"), ("loop", "symbolic links"), ("none", "no such file")):
        assert words in said[name]
    assert "Not a directory" in said["pipe/x"]


_NO_ADDRESSES = (
    "rtsp://",
    "HTTP:///x",
    "http://[::1/x",
    "rtsp://door:abc/x",
    "https://door:99999/",
    "rtsps://door:0/x",
    "rtsp://viewer@/x",
    "RTSP://viewer:secret@:554/x",
    "rtsp://viewer:sec/ret@/x",
    "http://viewer:secret@door:99999/x",
    "http://viewer:secret@door:abc/x",
)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "must be a video file"),
        (" \t\n", "must be a video file"),
        ("a\0b.mp4", "NUL"),
        ("rtsp://h/\0", "NUL"),
        ("caf\udce9.mp4", "UTF-8"),
        ("a" * 256, "longer"),
        ("file:///" + "a" * 256, "longer"),
        ("a/" * 3000, "longer"),
        ("é" * 200, "longer"),
        ("file://nas/clip.mp4", "another host"),
        ("FILE://clip.mp4", "another host"),
        *((text, "no valid address") for text in _NO_ADDRESSES),
    ],
)
def test_what_can_be_no_source(text: str, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        Source.parse(text)


@pytest.mark.parametrize("password", ["se/cret", "se?cret", "se#cret", "se[cret", "se@cret", "se:cret", "99999", "%zz"])
def test_a_password_may_hold_any_character(password: str) -> None:
    assert Source.parse(f"rtsp://viewer:{password}@door:554/x").kind is Kind.STREAM


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("  rtsp://h/CAM\n", "rtsp://h/CAM"),
        ("RTSP://H/Cam", "rtsp://H/Cam"),
        ("\u00a0HTTPS://h/?A=B ", "https://h/?A=B"),
        (" clip.mp4 ", "clip.mp4"),
        (" 0", "0"),
    ],
)
def test_blanks_and_the_case_of_a_scheme_do_not_matter(text: str, address: str) -> None:
    assert Source.parse(text).address == address


pieces = st.sampled_from(
    [
        "rtsp",
        "http",
        "file",
        "FILE",
        "://",
        ":",
        "/",
        "//",
        "me:secret@",
        "h",
        "..",
        "%20",
        "%d",
        "%00",
        "%ff",
        "*",
        "0",
    ]
)
more = st.sampled_from(
    ["/dev/video", "/dev/null", "/dev", "/home/x", "/etc/shadow", "²", " ", "[", "?", "=", "#", "a" * 260, "\udce9"]
)
addresses = st.one_of(
    st.text(max_size=20), st.lists(pieces | more, max_size=6).map("".join), st.text(alphabet="\udce9a/", max_size=4)
)


@pytest.mark.generated
@given(address=addresses)
@generous(200)
def test_any_text_is_a_source_or_is_refused(address: str) -> None:
    try:
        source = Source.parse(address)
    except InvalidInputError:
        return
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", source.stem)
    assert str(source).isprintable()
    assert "secret@" not in str(source) or not re.match(r"\s*[a-z]+://", address)
    assert Source.parse(source.address) == source
    if source.kind not in (Kind.STREAM, Kind.DEVICE, Kind.PIPE):
        with contextlib.suppress(SourceError):
            source.pictures() if source.kind is Kind.PICTURES else source.check_file()
