"""The publisher: topics, sequences without holes, and the last status again for those who come late."""

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import zmq

from adainfd.observing import NOBODY, Observer
from adainfd.wire import endpoint as endpoints
from adainfd.wire.messages import Message, Status

__all__ = ["Publisher"]

# A second of silence, then a subscriber that reads nothing loses messages, which its sequences show.
_MESSAGES_QUEUED_A_SUBSCRIBER = 1000
_LAST_WORDS_MS = 1000
_SUBSCRIBES = 1


class Publisher:
    """Sends messages to whoever subscribes, and waits for nobody."""

    def __init__(self, bind: Sequence[str], observer: Observer = NOBODY) -> None:
        """Bind every endpoint; raises InvalidInputError, with nothing bound, where one cannot be."""
        self._observer = observer
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.SNDHWM, _MESSAGES_QUEUED_A_SUBSCRIBER)
        self._socket.setsockopt(zmq.LINGER, _LAST_WORDS_MS)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._encode = msgspec.json.Encoder().encode
        self._sequences: Counter[str] = Counter()
        self._statuses: dict[str, Status] = {}
        self.endpoints: tuple[str, ...] = ()
        try:
            for endpoint in bind:
                self.endpoints += (endpoints.bind(self._socket, endpoint),)
        except BaseException:
            endpoints.unlink(self.endpoints)
            self._context.destroy(linger=0)
            raise

    def send(self, topic: str, make: Callable[[int], Message]) -> None:
        """Send `make(sequence)` under `topic`, where sequence counts the topic's messages."""
        self._sequences[topic] += 1
        message = make(self._sequences[topic])
        if isinstance(message, Status):
            self._statuses[topic] = message
        self._socket.send_multipart((topic.encode(), self._encode(message)))
        self._observer.published(message)

    @property
    def readable(self) -> int:
        """A file descriptor that becomes readable when subscribers come; call `greet` then."""
        descriptor = self._socket.getsockopt(zmq.FD)
        if not isinstance(descriptor, int):
            raise TypeError("zmq.FD is not a file descriptor")
        return descriptor

    def greet(self) -> None:
        """Send the last status of each topic again to those who have subscribed to it since."""
        prefixes = set()
        while self._socket.poll(0, zmq.POLLIN):
            request = self._socket.recv()
            if request[:1] == bytes([_SUBSCRIBES]):
                prefixes.add(request[1:])
        for topic, status in self._statuses.items():
            if any(topic.encode().startswith(prefix) for prefix in prefixes):
                again = msgspec.structs.replace(status, repeated=True)
                self._socket.send_multipart((topic.encode(), self._encode(again)))

    def close(self) -> None:
        """Let the last messages go out, for a second at most, and close."""
        endpoints.unlink(self.endpoints)
        self._socket.close()
        self._context.term()
