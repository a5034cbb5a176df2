"""Subscribers that are plain ZeroMQ: no client of ours."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

Connect = Callable[..., "zmq.Socket[bytes]"]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """A new subscriber, connected; keyword arguments are socket options, set before that."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    connected = []

    def subscriber(endpoint: str, topic: bytes = b"", **options: Any) -> zmq.Socket[bytes]:
        socket = context.socket(zmq.SUB)
        for name, value in options.items():
            setattr(socket, name, value)
        socket.setsockopt(zmq.SUBSCRIBE, topic)
        socket.connect(endpoint)
        connected.append(socket)
        return socket

    yield subscriber
    context.destroy(linger=0)
