"""A broker and boxes for the relay's tests."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from brokers import Attacker, Beating, Broker, Views


@pytest.fixture
def mosquitto() -> str:
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("needs a broker: apt-get install mosquitto")
    return program


@pytest.fixture
def broker(mosquitto: str, tmp_path: Path) -> Iterator[Broker]:
    started = Broker(mosquitto, tmp_path)
    started.start()
    yield started
    started.kill()


@pytest.fixture
def boxes(tmp_path: Path) -> Iterator[Callable[..., Beating]]:
    """Start a box: `boxes(NAME OF ITS SOCKET, host, views)`."""
    started: list[Beating] = []

    def start(name: str, host: str, views: Views, **more: str) -> Beating:
        started.append(Beating(f"ipc://{tmp_path}/{name}", host, views, **more))
        return started[-1]

    yield start
    for box in started:
        box.end()


@pytest.fixture
def attacker(tmp_path: Path) -> Iterator[Attacker]:
    box = Attacker(f"ipc://{tmp_path}/evil")
    yield box
    box.close()


@pytest.fixture
def flooder(tmp_path: Path) -> Iterator[Attacker]:
    """An attacker who sends without end."""
    box = Attacker(f"ipc://{tmp_path}/evil", queued=1000)
    yield box
    box.close()
