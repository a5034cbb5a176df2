"""For programs that read the daemon's stream: `Subscriber`. Imports neither torch nor OpenCV."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

import msgspec
import zmq

from adainfd.wire import endpoint as endpoints
from adainfd.wire.messages import Message, Result, Status

__all__ = ["Message", "Result", "Status", "Subscriber"]


class Subscriber:
    """Receives the messages of one or more daemons.

    >>> with Subscriber("tcp://127.0.0.1:5600") as messages:    # doctest: +SKIP
    ...     for message in messages:
    ...         print(message.camera, message.labels[0].label)
    """

    def __init__(self, *connect: str, topics: Iterable[str] = ("result/",)) -> None:
        """connect: endpoints of daemons. topics: prefixes of the topics wanted.

        Raises InvalidInputError on a malformed endpoint. A daemon that is not there yet is waited for.
        """
        for endpoint in connect:
            endpoints.check(endpoint, to_bind=False)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        for topic in topics:
            self._socket.setsockopt_string(zmq.SUBSCRIBE, topic)
        for endpoint in connect:
            self._socket.connect(endpoint)
        self._decoders: dict[str, msgspec.json.Decoder[Result] | msgspec.json.Decoder[Status]] = {
            "result": msgspec.json.Decoder(Result),
            "status": msgspec.json.Decoder(Status),
        }
        self._last: dict[str, int] = {}
        self.lost = 0
        """Messages that were published and did not reach this subscriber, told by holes in their sequences."""

    def receive(self, seconds: float | None = None) -> Message | None:
        """The next message; None where none came within `seconds`."""
        if not self._socket.poll(None if seconds is None else max(0, round(seconds * 1000))):
            return None
        topic_bytes, body = self._socket.recv_multipart()
        topic = topic_bytes.decode()
        message = self._decoders[topic.partition("/")[0]].decode(body)
        last = self._last.get(topic)
        if last is not None and message.sequence > last:
            self.lost += message.sequence - last - 1
        self._last[topic] = message.sequence
        return message

    def __iter__(self) -> Iterator[Message]:
        while True:
            message = self.receive()
            if message is not None:
                yield message

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
