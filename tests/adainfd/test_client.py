import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from adainfd.client import Status, Subscriber
from adainfd.wire.publisher import Publisher

from adainf.errors import InvalidInputError

TOPIC = "status/here"


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Publisher, Subscriber]]:
    """A publisher and a subscriber that has reached it."""
    publisher = Publisher([f"ipc://{tmp_path}/s"])
    try:
        with Subscriber(*publisher.endpoints, topics=[TOPIC]) as subscriber:
            say(publisher)
            end = time.monotonic() + 5
            while subscriber.receive(0.05) is None:
                assert time.monotonic() < end
                publisher.greet()
            yield publisher, subscriber
    finally:
        publisher.close()


def say(publisher: Publisher, *sequences: int) -> None:
    """Statuses that say to be these of their topic; without any, the next one."""
    for told in sequences or [0]:
        publisher.send(
            TOPIC,
            lambda number, told=told: Status(host="here", sequence=told or number, state="ready", published_at=1),
        )


def hear(subscriber: Subscriber) -> int:
    message = subscriber.receive(5)
    assert message is not None
    return message.sequence


def test_nothing_is_lost_without_holes(both: tuple[Publisher, Subscriber]) -> None:
    publisher, subscriber = both
    for _ in range(3):
        say(publisher)
    assert [hear(subscriber) for _ in range(3)] == [2, 3, 4]
    assert subscriber.lost == 0


def test_holes_are_counted_as_lost(both: tuple[Publisher, Subscriber]) -> None:
    publisher, subscriber = both
    say(publisher, 2, 5, 6, 9)
    assert [hear(subscriber) for _ in range(4)] == [2, 5, 6, 9]
    assert subscriber.lost == 4


def test_daemon_that_starts_anew_counts_from_one(both: tuple[Publisher, Subscriber]) -> None:
    publisher, subscriber = both
    say(publisher, 7, 1, 2)
    assert [hear(subscriber) for _ in range(3)] == [7, 1, 2]
    assert subscriber.lost == 5


def test_silence(both: tuple[Publisher, Subscriber]) -> None:
    assert both[1].receive(0.05) is None
    assert both[1].receive(0) is None


def test_malformed_endpoint_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="65536"):
        Subscriber("tcp://127.0.0.1:65536")


def test_importing_it_brings_in_neither_torch_nor_opencv() -> None:
    code = "import sys, adainfd.client; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "adainfd.client" in modules
    assert not {"torch", "cv2", "onnxruntime", "pydantic"} & set(modules)
