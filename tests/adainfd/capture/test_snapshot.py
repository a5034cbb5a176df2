"""A single picture behind http, polled from a real server."""

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from email.message import Message

import cv2
import numpy as np
import pytest
from adainfd.capture.cameras.lifecycle import Limits
from adainfd.capture.fault import Fault
from adainfd.capture.reading.reader import Reader, open_reader
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source, SourceError
from daemons import PASSWORD
from stream_servers import Reply, WebPages


def grey(level: int, suffix: str = ".jpg") -> bytes:
    return cv2.imencode(suffix, np.full((48, 64, 3), level, np.uint8))[1].tobytes()


def picture(level: int, kind: str = "image/jpeg", suffix: str = ".jpg", **headers: str) -> Reply:
    return Reply(headers={"Content-Type": kind, **headers}, body=grey(level, suffix))


def opened(pages: WebPages, path: str = "snap", **more: object) -> Reader:
    settings = CameraSettings("door", Source(f"http://viewer:{PASSWORD}@{pages.host}/{path}"), **more)  # type: ignore[arg-type]
    return open_reader(settings)


def level_of(reader: Reader) -> float:
    assert reader.grab()
    shown = reader.retrieve()
    assert shown is not None
    return float(shown.mean())


def _watch(reader: Reader) -> None:
    while reader.grab():
        assert reader.retrieve() is None


@pytest.fixture
def pages() -> Iterator[WebPages]:
    with WebPages() as server:
        yield server


@pytest.mark.parametrize("kind", ["application/octet-stream", "text/plain", "", "image/gif"])
@pytest.mark.parametrize("suffix", [".jpg", ".gif", ".avif"])
def test_a_single_picture_is_known_by_its_first_bytes_where_the_camera_names_no_type_or_a_wrong_one(
    pages: WebPages, kind: str, suffix: str
) -> None:
    pages.pages["snap"] = Reply(headers={"Content-Type": kind} if kind else {}, body=grey(50, suffix))
    with closing(opened(pages, fps=50)) as reader:
        levels = [level_of(reader) for _ in range(4)]
    assert all(abs(level - 50) < 4 for level in levels)


@pytest.mark.parametrize("body", [b"", b"<html>"])
def test_pictures_none_of_which_can_be_decoded_are_a_failure_that_says_so(pages: WebPages, body: bytes) -> None:
    pages.pages["snap"] = Reply(headers={"Content-Type": "image/jpeg"}, body=body)
    with closing(opened(pages, fps=50, limits=Limits(stall_seconds=0.3))) as reader:
        with pytest.raises(SourceError, match="no picture that can be decoded") as error:
            _watch(reader)
        assert error.value.fault is Fault.NO_PICTURE
        assert sum(passed.frames for passed in reader.take_undecodable()) > 1


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("image/jpeg", ".jpg"), ("image/png", ".png"), ("IMAGE/JPEG; x=y", ".jpg"), ("image/webp", ".webp")],
)
def test_each_fetch_is_a_frame_and_the_newest_picture(pages: WebPages, kind: str, suffix: str) -> None:
    pages.pages["snap"] = picture(50, kind, suffix)
    with closing(opened(pages, fps=50)) as reader:
        assert abs(level_of(reader) - 50) < 3
        assert abs(level_of(reader) - 50) < 3
        for level in (100, 150, 200):
            pages.pages["snap"] = picture(level, kind, suffix)
            assert abs(level_of(reader) - level) < 3


def test_it_is_fetched_at_its_rate(pages: WebPages) -> None:
    pages.pages["snap"] = picture(50)
    with closing(opened(pages, fps=20)) as reader:
        assert all(reader.grab() for _ in range(2))
        begun = time.monotonic()
        assert all(reader.grab() for _ in range(10))
        assert 0.4 < time.monotonic() - begun < 2
    with closing(opened(pages, limits=Limits(stall_seconds=0.2))) as reader:
        assert all(reader.grab() for _ in range(2))
        begun = time.monotonic()
        assert all(reader.grab() for _ in range(4))
        assert time.monotonic() - begun < 2, "slower than it may stall"


@pytest.mark.parametrize("validator", ["ETag", "Last-Modified"])
def test_unchanged_picture_is_not_sent_again(pages: WebPages, validator: str) -> None:
    sent: list[int] = []
    version = 1

    def snap(headers: Message) -> Reply:
        value = f'"{version}"' if validator == "ETag" else f"Thu, 0{version} Jan 2026 00:00:00 GMT"
        if value in (headers.get("If-None-Match"), headers.get("If-Modified-Since")):
            return Reply(304)
        sent.append(version)
        return picture(50 * version, **{validator: value})

    pages.pages["snap"] = snap
    with closing(opened(pages, fps=50)) as reader:
        assert all(reader.grab() for _ in range(2))
        before = len(sent)
        levels = [level_of(reader) for _ in range(3)]
        version = 2
        levels += [level_of(reader) for _ in range(3)]
    assert [round(level, -1) for level in levels] == [50] * 3 + [100] * 3
    assert len(sent) == before + 1


def test_picture_is_the_readers_own(pages: WebPages) -> None:
    """A mask is painted over it; the next frame may be the same one."""
    whole = picture(50, ETag='"1"')
    pages.pages["snap"] = lambda headers: Reply(304) if headers["If-None-Match"] else whole
    with closing(opened(pages, fps=50)) as reader:
        for _ in range(5):
            assert reader.grab()
            shown = reader.retrieve()
            assert shown is not None
            assert abs(float(shown.mean()) - 50) < 3
            shown[:] = 255


@pytest.mark.parametrize(
    ("becomes", "fault"),
    [
        (Reply(401), Fault.ACCESS_DENIED),
        (Reply(404), Fault.NO_SUCH_PATH),
        (Reply(503), Fault.CANNOT_OPEN),
        (Reply(302, {"Location": "http://nosuch.invalid/"}), Fault.LED_ELSEWHERE),
        (Reply(302, {"Location": "http://["}), Fault.CANNOT_OPEN),
        (Reply(200, {"Content-Length": "5000"}, grey(1)), Fault.CANNOT_OPEN),
    ],
)
def test_camera_that_refuses_later(pages: WebPages, becomes: Reply, fault: Fault) -> None:
    pages.pages["snap"] = picture(50)
    with closing(opened(pages, fps=50)) as reader:
        assert all(reader.grab() for _ in range(3))
        pages.pages["snap"] = becomes
        with pytest.raises(SourceError) as lost:
            reader.grab()
    assert lost.value.fault is fault
    assert PASSWORD not in str(lost.value)


def test_picture_that_trickles_in(pages: WebPages) -> None:
    pages.pages["snap"] = picture(50)
    with closing(opened(pages, fps=50, limits=Limits(stall_seconds=0.2))) as reader:
        assert all(reader.grab() for _ in range(3))

        def slow(headers: Message) -> Reply:
            time.sleep(1)
            return picture(50)

        pages.pages["snap"] = slow
        begun = time.monotonic()
        with pytest.raises(SourceError) as lost:
            reader.grab()
    assert lost.value.fault is Fault.READ_TIMEOUT
    assert time.monotonic() - begun < 0.9


def test_what_cannot_be_decoded_is_one_frame_that_is_none(pages: WebPages) -> None:
    pages.pages["snap"] = picture(50)
    with closing(opened(pages, fps=50)) as reader:
        assert all(reader.grab() for _ in range(3))
        for broken in (b"", b"\xff\xd8 no picture", grey(1)[:200]):
            pages.pages["snap"] = Reply(headers={"Content-Type": "image/jpeg"}, body=broken)
            assert reader.grab()
            reader.retrieve()
        pages.pages["snap"] = picture(90)
        assert abs(level_of(reader) - 90) < 3


def test_camera_whose_first_picture_opencv_cannot_open(pages: WebPages) -> None:
    pages.pages["snap"] = Reply(headers={"Content-Type": "image/jpeg"}, body=b"not yet")
    with closing(opened(pages, fps=50)) as reader:
        pages.pages["snap"] = picture(90)
        assert abs(level_of(reader) - 90) < 3


def _basic(asked: Callable[[Message], Reply]) -> Callable[[Message], Reply]:
    token = base64.b64encode(f"viewer:{PASSWORD}".encode()).decode()

    def page(headers: Message) -> Reply:
        if headers.get("Authorization") != f"Basic {token}":
            return Reply(401, {"WWW-Authenticate": 'Basic realm="camera"'})
        return asked(headers)

    return page


def test_login_is_asked_for_once_and_kept_from_other_hosts(pages: WebPages) -> None:
    with WebPages(picture=picture(70)) as other:
        pages.pages["snap"] = _basic(lambda _: Reply(302, {"Location": f"http://localhost:{other.host[10:]}/picture"}))
        pages.pages["near"] = _basic(lambda _: picture(50))
        with closing(opened(pages, fps=50, follow=(f"localhost:{other.host[10:]}",))) as reader:
            assert abs(level_of(reader) - 70) < 3
            level_of(reader)
            before = len(other.asked)
            level_of(reader)
        assert all(headers["Authorization"] is None for _, headers in other.asked[before:])
    with closing(opened(pages, "near", fps=50)) as reader:
        level_of(reader)
        level_of(reader)
        before = len(pages.asked)
        assert all(reader.grab() for _ in range(5))
    assert len(pages.asked) == before + 5
