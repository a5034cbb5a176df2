"""Reload on SIGHUP: disconnect removed clients in any case, then apply policies and recording, all or nothing."""

from collections.abc import Callable, Sequence

from adainf.base.errors import InvalidInputError
from adainfd.answering.pipeline import Pipeline
from adainfd.answering.session import CameraSession
from adainfd.base.logs import Logger
from adainfd.base.sighup import ReloadRequest
from adainfd.config.configuration import Configuration
from adainfd.model.questions import Questions, same_classes
from adainfd.runtime.announcer import Announcer
from adainfd.runtime.policies import Policies
from adainfd.tracing.recording import Recording, Target
from adainfd.wire.observing import Observer
from adainfd.wire.serving.publisher import Publisher

__all__ = ["Reloader"]


class Reloader:
    """The reload of policies, taught classes and recording; a configuration with any other change is refused whole."""

    def __init__(
        self,
        request: ReloadRequest,
        configure: Callable[[], Configuration],
        configuration: Configuration,
        streams: Sequence[CameraSession],
        pipeline: Pipeline,
        recording: Recording,
        target: Callable[[Configuration], Target | None],
        publisher: Publisher,
        announcer: Announcer,
        observer: Observer,
        log: Logger,
    ) -> None:
        """configure: reads the current configuration. configuration: the one the daemon started with.

        target: returns where a configuration wants its trace, if anywhere.
        """
        self._request = request
        self._configure = configure
        self._configuration = configuration
        self._streams = streams
        self._pipeline = pipeline
        self._recording = recording
        self._target = target
        self._publisher = publisher
        self._announcer = announcer
        self._observer = observer
        self._log = log

    def reload_if_requested(self) -> None:
        """Reload if SIGHUP has arrived since the last call; publish and log the outcome."""
        if not self._request.take():
            return
        self._observer.reloading()
        self._publisher.revoke()  # first: a removed client loses access even if the reload fails
        try:
            configuration = self._configure()
            _refuse_changes_beside_the_policy(self._configuration, configuration)
            policies = Policies.read(configuration)
            questions = Questions.read(configuration)
            for taught in questions.every:
                self._pipeline.check_asked(taught)
            self._publisher.check_clients()
            self._recording.take_up(self._target(configuration))
        except InvalidInputError as error:
            self._log.error("reload_failed", why=str(error), policy="the one before stays")
            self._announcer.daemon("reload_failed", str(error))
            return
        self._ask(configuration, questions)
        policies.put_in_force(self._streams)
        self._recording.policy(policies.in_force(self._streams))
        recording = self._recording.state
        self._log.info("reloaded", policy=configuration.model.policy, recording=recording)
        self._announcer.daemon(
            "reloaded", f"policy {configuration.model.policy}{f'; recording {recording}' if recording else ''}"
        )

    def _ask(self, configuration: Configuration, questions: Questions) -> None:
        """Put the questions whose classes have changed to the views."""
        for stream, section in zip(self._streams, configuration.camera, strict=True):
            for view in stream.views:
                taught = questions.of(section.name, view.region)
                if not same_classes(view.taught, taught):
                    self._pipeline.ask(stream, view, taught, section.labels)


def _refuse_changes_beside_the_policy(before: Configuration, now: Configuration) -> None:
    for section in Configuration.model_fields.keys() - {"record"}:  # a reload applies [record]
        old, new = getattr(before, section), getattr(now, section)
        if section == "model":
            old = old.model_copy(update={"policy": new.policy, "classes": new.classes})
        if section == "camera" and len(old) == len(new):
            old = tuple(
                before.model_copy(update={"policy": now.policy, "classes": now.classes})
                for before, now in zip(old, new, strict=True)
            )
        if old != new:
            raise InvalidInputError(f"{section}: cannot change while running; restart the daemon")
