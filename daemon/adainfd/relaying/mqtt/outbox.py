"""Events that wait for the broker: of each box in turn, so many at most."""

from collections import deque
from collections.abc import Callable

__all__ = ["Outbox"]

_MOST_OF_A_BOX = 1000


class Outbox:
    """Topics and payloads by box; what is beyond the bound is lost and counted."""

    def __init__(self) -> None:
        self.lost = 0
        self._waiting: dict[str, deque[tuple[str, bytes]]] = {}

    def put(self, endpoint: str, topic: str, payload: bytes) -> bool:
        """Whether there is room for one more of this box."""
        waiting = self._waiting.setdefault(endpoint, deque())
        if len(waiting) >= _MOST_OF_A_BOX:
            self.lost += 1
            return False
        waiting.append((topic, payload))
        return True

    def send(self, publish: Callable[[str, bytes], bool]) -> None:
        """Publish what waits, one of each box in turn, until `publish` refuses."""
        while self._waiting:
            endpoint = next(iter(self._waiting))
            waiting = self._waiting[endpoint]
            if not publish(*waiting[0]):
                return
            waiting.popleft()
            del self._waiting[endpoint]
            if waiting:
                self._waiting[endpoint] = waiting
