"""Polling of many file descriptors some thousand times a second."""

import select
from collections.abc import Sequence

__all__ = ["Readable"]


class Readable:
    """A poll object that registers the descriptors anew only when they change between calls."""

    def __init__(self) -> None:
        self._asked: Sequence[int] = ()
        self._poll = select.poll()

    def among(self, descriptors: Sequence[int], seconds: float) -> set[int]:
        """Wait at most `seconds`; return the descriptors that are readable or whose other end is closed."""
        if descriptors != self._asked:
            self._poll = select.poll()
            for descriptor in descriptors:
                self._poll.register(descriptor, select.POLLIN)
            self._asked = descriptors
        return {descriptor for descriptor, _ in self._poll.poll(1000 * seconds)}
