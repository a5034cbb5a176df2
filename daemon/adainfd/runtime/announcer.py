"""Status messages with the state of the daemon and its cameras."""

import time
from collections.abc import Mapping, Sequence

from adainf.base.errors import printable
from adainf.base.hindrances import Hindrances
from adainfd.answering.answer import dropped
from adainfd.answering.audit import Audit
from adainfd.capture.cameras.account import FrameCounts
from adainfd.capture.cameras.camera import Camera
from adainfd.capture.cameras.lifecycle import Change
from adainfd.wire import messages
from adainfd.wire.serving.publisher import Publisher

__all__ = ["Announcer", "dropped"]

_LONGEST_DETAIL = 2000


def _account(account: FrameCounts, state: messages.CameraState) -> messages.Account:
    return messages.Account(
        state=state,
        captured=account.captured,
        published=account.published,
        reused=account.reused,
        waiting=account.waiting,
        dropped=dropped(account),
        second_looks=account.second_looks,
    )


def _text(detail: str | None) -> str | None:
    """Make `detail` encodable, at most 2000 characters: a file name that is not UTF-8 cannot be sent."""
    return None if detail is None else printable(detail, _LONGEST_DETAIL)


class Announcer:
    """The publisher of `status/HOST` and `status/HOST/CAMERA`."""

    def __init__(self, publisher: Publisher, host: str) -> None:
        self._publisher = publisher
        self._host = host
        self._state: messages.DaemonState = "started"
        self._model: messages.Model | None = None

    def daemon(
        self,
        state: messages.DaemonState,
        detail: str | None = None,
        *,
        model: messages.Model | None = None,
        cameras: Sequence[Camera] | None = None,
        present: Sequence[messages.Present] | None = None,
        states: Sequence[messages.ViewState] | None = None,
        lost: Mapping[str, int] | None = None,
        recording: str | None = None,
    ) -> None:
        """Publish the daemon's state; the last model given is repeated.

        lost: number of lost items since the start, by kind. recording: the trace being recorded.
        """
        self._model = model or self._model
        if state in ("ready", "degraded"):
            self._state = state
        accounts = (
            {camera.name: _account(camera.account, camera.lifecycle.state.value) for camera in cameras}
            if cameras is not None
            else None
        )
        self._publisher.send(
            f"status/{self._host}",
            lambda sequence: messages.Status(
                host=self._host,
                sequence=sequence,
                state=state,
                published_at=time.time(),
                detail=_text(detail),
                model=self._model,
                subscriptions=self._publisher.subscriptions,
                refused=self._publisher.refused,
                hung_up=self._publisher.hung_up,
                cameras=accounts,
                present=None if present is None else list(present),
                states=None if states is None else list(states),
                lost=None if lost is None else dict(lost),
                recording=_text(recording),
            ),
        )

    def runs(self, model: messages.Model) -> None:
        """Set the model for the next heartbeat, after a change of engine or newly measured times."""
        self._model = model

    def beat(
        self,
        cameras: Sequence[Camera],
        present: Sequence[messages.Present],
        states: Sequence[messages.ViewState],
        hindrances: Hindrances,
        recording: str | None,
    ) -> None:
        """Publish the heartbeat: state, hindrances, camera accounts, present labels, states and the recording."""
        self.daemon(
            self._state,
            hindrances.text,
            cameras=cameras,
            present=present,
            states=states,
            lost=hindrances.lost,
            recording=recording,
        )

    def camera(self, camera: Camera, change: Change, audits: Mapping[str, Audit]) -> None:
        """Publish a camera's change of state, with its frame account and its audits."""
        self._camera(
            camera,
            change.state.value,
            audits,
            detail=change.detail,
            code=change.fault.value if change.fault is not None else None,
            retry_in=change.retry_in,
            failures=change.failures,
        )

    def camera_stopped(self, camera: Camera, audits: Mapping[str, Audit]) -> None:
        """Publish that the daemon has stopped the camera."""
        self._camera(camera, "stopped", audits)

    def _camera(
        self,
        camera: Camera,
        state: messages.CameraState,
        audits: Mapping[str, Audit],
        *,
        detail: str | None = None,
        code: str | None = None,
        retry_in: float | None = None,
        failures: int = 0,
    ) -> None:
        # The keys of a region are prefixed: "REGION BRANCH".
        audited = {
            (branch if view == camera.name else f"{view.removeprefix(camera.name + '/')} {branch}"): messages.Audited(
                audit.frames[branch], audit.agreed[branch]
            )
            for view, audit in audits.items()
            for branch in audit.frames
        }
        self._publisher.send(
            f"status/{self._host}/{camera.name}",
            lambda sequence: messages.Status(
                host=self._host,
                camera=camera.name,
                sequence=sequence,
                state=state,
                published_at=time.time(),
                detail=_text(detail),
                code=code,
                account=_account(camera.account, state),
                retry_in=retry_in,
                failures=failures,
                audit=audited,
            ),
        )
