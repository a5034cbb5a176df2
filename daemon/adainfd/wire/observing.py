"""Whoever wants to know what the daemon does is told here: systemd, metrics, the status page.

An observer neither decides nor waits: the main loop calls it between frames.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adainfd.wire.messages import Message

if TYPE_CHECKING:  # `adainfd watch` observes too, where there is no NumPy
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["NOBODY", "Observer", "Observers"]


class Observer:
    """Is told what happens, and by default does nothing with it; override what is of interest."""

    def beginning(self, step: str, seconds: float) -> None:
        """A step of the start begins that may take up to `seconds`, such as to load the model."""

    def published(self, message: Message) -> None:
        """A message went out: a result, or the state of the daemon or of a camera."""

    def answered(self, camera: str, picture: "NDArray[np.uint8]") -> None:
        """A frame of `camera` was answered; picture: (height, width, 3), BGR, gone when this returns."""

    def audited(self, camera: str, branch: str, *, agreed: bool) -> None:
        """The full branch ran too on a frame that `branch` (or `reuse`) had answered, and agreed or not."""

    def turned(self) -> None:
        """The main loop went round once more."""

    def broken(self) -> None:
        """A part of the daemon has ended by a defect; only a restart brings it back."""

    def reloading(self) -> None:
        """The configuration is read again; a message says how that went."""

    def stopping(self) -> None:
        """The daemon ends."""


NOBODY = Observer()
"""Where nobody wants to know."""


class Observers(Observer):
    """Several, told in turn."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def beginning(self, step: str, seconds: float) -> None:
        """Tell all of them."""
        for observer in self._observers:
            observer.beginning(step, seconds)

    def published(self, message: Message) -> None:
        """Tell all of them."""
        for observer in self._observers:
            observer.published(message)

    def answered(self, camera: str, picture: "NDArray[np.uint8]") -> None:
        """Tell all of them."""
        for observer in self._observers:
            observer.answered(camera, picture)

    def audited(self, camera: str, branch: str, *, agreed: bool) -> None:
        """Tell all of them."""
        for observer in self._observers:
            observer.audited(camera, branch, agreed=agreed)

    def turned(self) -> None:
        """Tell all of them."""
        for observer in self._observers:
            observer.turned()

    def broken(self) -> None:
        """Tell all of them."""
        for observer in self._observers:
            observer.broken()

    def reloading(self) -> None:
        """Tell all of them."""
        for observer in self._observers:
            observer.reloading()

    def stopping(self) -> None:
        """Tell all of them."""
        for observer in self._observers:
            observer.stopping()
