"""SIGHUP: hang up on removed clients, whatever else is wrong; then take up policies and recording, all or nothing."""

from collections.abc import Callable, Sequence

from adainf.base.errors import InvalidInputError
from adainfd.answering.session import CameraSession
from adainfd.base.logs import Logger
from adainfd.base.sighup import ReloadRequest
from adainfd.config.configuration import Configuration
from adainfd.runtime.announcer import Announcer
from adainfd.runtime.policies import Policies
from adainfd.tracing.recording import Recording, Target
from adainfd.wire.observing import Observer
from adainfd.wire.serving.publisher import Publisher

__all__ = ["Reloader"]


class Reloader:
    """Takes up policies and recording again when asked; other changes are refused, and then all stays as it was."""

    def __init__(
        self,
        request: ReloadRequest,
        configure: Callable[[], Configuration],
        configuration: Configuration,
        streams: Sequence[CameraSession],
        recording: Recording,
        target: Callable[[Configuration], Target | None],
        publisher: Publisher,
        announcer: Announcer,
        observer: Observer,
        log: Logger,
    ) -> None:
        """configure: gives the configuration as it stands now. configuration: as it stood when the daemon started.

        target: where a configuration wants a trace.
        """
        self._request = request
        self._configure = configure
        self._configuration = configuration
        self._streams = streams
        self._recording = recording
        self._target = target
        self._publisher = publisher
        self._announcer = announcer
        self._observer = observer
        self._log = log

    def reload_if_requested(self) -> None:
        """Reload where SIGHUP has come since; says in a status message and in the log how that went."""
        if not self._request.take():
            return
        self._observer.reloading()
        self._publisher.revoke()  # first: whatever else is wrong, whoever may not read does so no more
        try:
            configuration = self._configure()
            _refuse_changes_beside_the_policy(self._configuration, configuration)
            policies = Policies.read(configuration)
            self._publisher.check_clients()
            self._recording.take_up(self._target(configuration))
        except InvalidInputError as error:
            self._log.error("reload_failed", why=str(error), policy="the one before stays")
            self._announcer.daemon("reload_failed", str(error))
            return
        policies.put_in_force(self._streams)
        self._recording.policy(policies.in_force(self._streams))
        recording = self._recording.state
        self._log.info("reloaded", policy=configuration.model.policy, recording=recording)
        self._announcer.daemon(
            "reloaded", f"policy {configuration.model.policy}{f'; recording {recording}' if recording else ''}"
        )


def _refuse_changes_beside_the_policy(before: Configuration, now: Configuration) -> None:
    for section in Configuration.model_fields.keys() - {"record"}:  # which a reload takes up
        old, new = getattr(before, section), getattr(now, section)
        if section == "model":
            old = old.model_copy(update={"policy": new.policy})
        if section == "camera" and len(old) == len(new):
            own = [camera.policy for camera in new]
            old = tuple(camera.model_copy(update={"policy": name}) for camera, name in zip(old, own, strict=True))
        if old != new:
            raise InvalidInputError(f"{section}: cannot change while running; restart the daemon")
