"""Events queued for the broker: a bounded queue per box, served in turn."""

from collections import deque
from collections.abc import Callable

__all__ = ["Outbox"]

_MOST_OF_A_BOX = 1000


class Outbox:
    """Topics and payloads by box; events beyond 1000 of a box are lost, and counted in `lost`."""

    def __init__(self) -> None:
        self.lost = 0
        self._waiting: dict[str, deque[tuple[str, bytes]]] = {}

    def put(self, endpoint: str, topic: str, payload: bytes) -> bool:
        """Queue an event of a box; return False where the box's queue is full and the event is lost."""
        waiting = self._waiting.setdefault(endpoint, deque())
        if len(waiting) >= _MOST_OF_A_BOX:
            self.lost += 1
            return False
        waiting.append((topic, payload))
        return True

    def send(self, publish: Callable[[str, bytes], bool]) -> None:
        """Publish queued events, one of each box in turn, until `publish` returns False."""
        while self._waiting:
            endpoint = next(iter(self._waiting))
            waiting = self._waiting[endpoint]
            if not publish(*waiting[0]):
                return
            waiting.popleft()
            del self._waiting[endpoint]
            if waiting:
                self._waiting[endpoint] = waiting
