"""Says in status messages what state the daemon and its cameras are in."""

import time

from adainfd.capture.camera import Camera
from adainfd.control.audit import Audit
from adainfd.wire import messages
from adainfd.wire.publisher import Publisher

__all__ = ["Announcer"]


class Announcer:
    """Publishes `status/HOST` and `status/HOST/CAMERA`."""

    def __init__(self, publisher: Publisher, host: str) -> None:
        self._publisher = publisher
        self._host = host
        self._state: messages.DaemonState = "started"
        self._model: messages.Model | None = None

    def daemon(
        self, state: messages.DaemonState, detail: str | None = None, *, model: messages.Model | None = None
    ) -> None:
        """The daemon is in `state`; what is known of its model stays known."""
        self._model = model or self._model
        if state in ("ready", "degraded"):
            self._state = state
        self._publisher.send(
            f"status/{self._host}",
            lambda sequence: messages.Status(
                host=self._host,
                sequence=sequence,
                state=state,
                published_at=time.time(),
                detail=detail,
                model=self._model,
                refused=self._publisher.refused,
            ),
        )

    def beat(self) -> None:
        """The daemon is still there, and still ready or degraded."""
        self.daemon(self._state)

    def camera(
        self, camera: Camera, state: messages.CameraState, detail: str | None = None, audit: Audit | None = None
    ) -> None:
        """The camera is in `state`; its counts, and what its audit found, go with that."""
        counts = camera.counts
        audited = (
            {branch: messages.Audited(audit.frames[branch], audit.agreed[branch]) for branch in audit.frames}
            if audit
            else None
        )
        self._publisher.send(
            f"status/{self._host}/{camera.name}",
            lambda sequence: messages.Status(
                host=self._host,
                camera=camera.name,
                sequence=sequence,
                state=state,
                published_at=time.time(),
                detail=detail,
                captured=counts.captured,
                published=counts.published,
                dropped=messages.Dropped(counts.newer_frame, counts.too_old, counts.model_parked),
                second_looks=counts.second_looks,
                audit=audited,
            ),
        )
