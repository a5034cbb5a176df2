"""Which of many file descriptors are readable, asked some thousand times a second."""

import select
from collections.abc import Sequence

__all__ = ["Readable"]


class Readable:
    """Remembers which descriptors it was asked for, so that they are registered once and not at every call."""

    def __init__(self) -> None:
        self._asked: Sequence[int] = ()
        self._poll = select.poll()

    def among(self, descriptors: Sequence[int], seconds: float) -> set[int]:
        """Those of these descriptors that are readable, or whose other end is gone; waits for one for so long."""
        if descriptors != self._asked:
            self._poll = select.poll()
            for descriptor in descriptors:
                self._poll.register(descriptor, select.POLLIN)
            self._asked = descriptors
        return {descriptor for descriptor, _ in self._poll.poll(1000 * seconds)}
