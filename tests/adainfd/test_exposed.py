"""A port of the daemon that a camera's process may reach is named."""

import pytest
from adainfd.config.configuration import Configuration
from adainfd.config.exposed import exposed


@pytest.mark.parametrize(
    ("source", "told", "named"),
    [
        ("http://10.0.0.9:9600/video", {"web": {}}, ["web"]),
        ("http://10.0.0.9/video", {"web": {"bind": "127.0.0.1:443"}}, ["web"]),  # it may lead there
        ("ftp://10.0.0.9/video", {"web": {}}, ["web", "publish"]),
        ("tcp://10.0.0.9:5600", {"web": {}}, ["publish"]),
        ("tcp://10.0.0.9:5600", {"publish": {"key": "a.key_secret", "clients": "clients"}}, []),
        ("tcp://10.0.0.9:5600", {"publish": {"bind": ["ipc://s"]}}, []),
        ("rtsp://10.0.0.9/cam", {"web": {}}, []),
        ("door.mp4", {"web": {}}, []),
        ("http://10.0.0.9:9600/video", {}, []),
    ],
)
def test_of_a_camera_and_a_port(source: str, told: dict[str, object], named: list[str]) -> None:
    configuration = Configuration.model_validate({"camera": [{"name": "door", "source": source}], **told})
    found = list(exposed(configuration, [section.settings() for section in configuration.camera]))
    assert [text.partition(": the process of camera door")[0] for text in found] == named
