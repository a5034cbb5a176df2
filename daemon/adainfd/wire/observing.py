"""Observers of the daemon: systemd notification, metrics, the status page.

An observer neither decides nor blocks: the main loop calls it between frames.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adainfd.wire.messages import Message

if TYPE_CHECKING:  # `adainfd watch` observes too, where there is no NumPy
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["NOBODY", "Observer", "Observers"]


class Observer:
    """Callbacks for what the daemon does; each does nothing unless it is overridden."""

    def beginning(self, step: str, seconds: float) -> None:
        """Handle the beginning of a startup step that may take up to `seconds`, such as loading the model."""

    def published(self, message: Message) -> None:
        """Handle a published message: a result, an event, a state, or the status of the daemon or of a camera."""

    def answered(self, camera: str, picture: "NDArray[np.uint8]") -> None:
        """Handle an answered frame of `camera`; picture: (height, width, 3), BGR, valid only during this call."""

    def audited(self, camera: str, branch: str, *, agreed: bool) -> None:
        """Handle an audit: whether the full branch agreed on a frame that `branch` (or `reuse`) had answered."""

    def turned(self) -> None:
        """Handle an iteration of the main loop."""

    def broken(self) -> None:
        """Handle a part of the daemon that has ended by a defect; only a restart brings it back."""

    def reloading(self) -> None:
        """Handle the beginning of a configuration reload; a message reports its outcome."""

    def stopping(self) -> None:
        """Handle the beginning of the daemon's shutdown."""


NOBODY = Observer()
"""An observer that ignores everything."""


class Observers(Observer):
    """Several observers, called in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def beginning(self, step: str, seconds: float) -> None:
        """Call every observer."""
        for observer in self._observers:
            observer.beginning(step, seconds)

    def published(self, message: Message) -> None:
        """Call every observer."""
        for observer in self._observers:
            observer.published(message)

    def answered(self, camera: str, picture: "NDArray[np.uint8]") -> None:
        """Call every observer."""
        for observer in self._observers:
            observer.answered(camera, picture)

    def audited(self, camera: str, branch: str, *, agreed: bool) -> None:
        """Call every observer."""
        for observer in self._observers:
            observer.audited(camera, branch, agreed=agreed)

    def turned(self) -> None:
        """Call every observer."""
        for observer in self._observers:
            observer.turned()

    def broken(self) -> None:
        """Call every observer."""
        for observer in self._observers:
            observer.broken()

    def reloading(self) -> None:
        """Call every observer."""
        for observer in self._observers:
            observer.reloading()

    def stopping(self) -> None:
        """Call every observer."""
        for observer in self._observers:
            observer.stopping()
