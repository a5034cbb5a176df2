"""Options that are accepted and have no effect are named."""

import pytest
from adainfd.config.configuration import Configuration
from adainfd.config.unused import unused

RTSP = "rtsp://me:hunter2@camera.local/stream"


@pytest.mark.parametrize(
    ("camera", "named"),
    [
        ({"source": RTSP, "loop": True}, "loop"),
        ({"source": "/dev/video0", "loop": True}, "loop"),
        ({"source": RTSP, "fps": 5}, "fps"),
        ({"source": "http://camera.local/picture.jpg", "fps": 5}, None),  # so often is a single picture fetched
        ({"source": 0, "fps": 5}, "fps"),
        ({"source": "http://camera.local/stream", "transport": "udp"}, "transport"),
        ({"source": "door.mp4", "transport": "tcp"}, "transport"),
        ({"source": "door.mp4", "follow": ["cdn.example"]}, "follow"),
        ({"source": RTSP, "follow": ["cdn.example"]}, None),
        ({"source": RTSP, "transport": "udp", "max_fps": 5}, None),
        ({"source": RTSP.replace("rtsp", "RTSP"), "transport": "udp"}, None),
        ({"source": "door.mp4", "loop": True, "fps": 5}, None),
    ],
)
def test_of_a_camera(camera: dict[str, object], named: str | None) -> None:
    configuration = Configuration.model_validate({"camera": [{"name": "door", **camera}]})
    found = list(unused(configuration))
    assert "hunter2" not in str(found)
    assert [text.partition(" has no effect")[0] for text in found] == ([f"camera door: {named}"] if named else [])


@pytest.mark.parametrize(
    ("publish", "named"),
    [
        ({"bind": ["tcp://0.0.0.0:5600"], "unprotected": True}, "unprotected has no effect"),
        ({"bind": ["ipc://s"]}, "key and clients have no effect"),
        ({"bind": ["ipc://s", "tcp://127.0.0.1:5600"]}, None),
    ],
)
def test_of_publishing(publish: dict[str, object], named: str | None) -> None:
    keys = {"key": "a.key_secret", "clients": "clients"}
    (*found,) = unused(Configuration.model_validate({"publish": publish | keys}))
    assert [named in text for text in found if named] == ([True] if named else [])
    assert len(found) == (named is not None)
    without = {"bind": ["ipc://s"]}
    assert not list(unused(Configuration.model_validate({"publish": without})))


def test_of_collecting() -> None:
    def found(**camera: object) -> list[str]:
        told = {"collect": {}, "camera": [{"name": "door", "source": "door.mp4", **camera}]}
        return list(unused(Configuration.model_validate(told)))

    assert ["collect has no effect" in text for text in found()] == [True]
    assert not found(classes="door.classes")
    assert not found(regions={"gate": [0, 0, 1, 1]}, classes={"gate": "gate.classes"})
