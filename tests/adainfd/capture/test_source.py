import pytest
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Kind, Source


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
    ],
)
def test_no_credentials_where_a_source_becomes_text(address: str) -> None:
    source = Source(address)
    assert "secret" not in f"{source} {source.stem} {source!r} {CameraSettings('door', source)}"
    assert "10.0.0.7" in str(source)
