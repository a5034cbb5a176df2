"""Publishing of a camera's results, and of the events and changes of state that follow from them."""

import itertools
import time
from collections.abc import Sequence

from adainf.control import Budget, Signals
from adainf.debouncing.presence import Happening, Sighting
from adainf.debouncing.states import StateChange
from adainf.profile import Profile
from adainfd.answering.answer import ViewAnswer, event, result, shown, state
from adainfd.answering.session import CameraSession, RegionSession
from adainfd.capture.cameras.captured import Captured
from adainfd.wire import messages
from adainfd.wire.serving.publisher import Publisher

__all__ = ["Teller", "present", "states"]


def present(streams: Sequence[CameraSession]) -> list[messages.Present]:
    """Return the labels now present in each view of each camera, best first, up to the message limit."""
    return [
        messages.Present(
            stream.camera.name,
            view.region,
            [
                messages.Label(view.labels.names[label], view.labels.index(label), round(score, 4))
                for label, score in itertools.islice(view.presence.shown.items(), messages.MOST_LABELS)
            ],
        )
        for stream in streams
        for view in stream.views
    ]


def states(streams: Sequence[CameraSession]) -> list[messages.ViewState]:
    """Return the present state of each view that has states."""
    return [
        messages.ViewState(stream.camera.name, view.region, change.state, change.score, change.since_wall)
        for stream in streams
        for view in stream.views
        for change in ([] if view.states is None else [view.states.current])
    ]


class Teller:
    """The publisher of results, of events as labels appear, stay and go, and of changes of state."""

    def __init__(self, publisher: Publisher, host: str, profile: Profile) -> None:
        """host: the box's name in topics and messages."""
        self._publisher = publisher
        self._host = host
        self._networks = profile.of_key
        self._agreements = {measured.branch: measured.agreement for measured in profile.branches}

    def result(
        self,
        stream: CameraSession,
        view: RegionSession,
        captured: Captured,
        answer: ViewAnswer,
        chosen_by: messages.ChosenBy,
        budget: Budget,
        signals: Signals,
        timing: messages.Timing,
    ) -> None:
        """Publish the result for a view of a frame, then the events and the change of state it causes."""
        name, branch = stream.camera.name, str(answer.choice.branch)
        expected = view.audit.corrected(
            branch, answer.choice.expected_accuracy, self._agreements.get(branch, answer.choice.expected_accuracy)
        )
        self._publisher.send(
            f"result/{self._host}/{name}",
            lambda sequence: result(
                host=self._host,
                camera=name,
                region=view.region,
                sequence=sequence,
                captured=captured,
                published_at=time.time(),
                answer=answer,
                network=self._networks[answer.choice.branch.network],
                chosen_by=chosen_by,
                expected_accuracy=expected,
                budget=budget,
                signals=signals,
                timing=timing,
                account=stream.camera.account,
                minimum_score=view.presence.rule.minimum_score,
            ),
        )
        seen = Sighting(captured.number, captured.at, captured.wall)
        self._tell(stream, view, view.presence.see(seen, shown(answer, view.presence.rule.minimum_score)))
        if view.states is not None:
            best = answer.labels[0]
            self._tell_state(stream, view, view.states.see(seen, best.label, best.score, reused=chosen_by == "reuse"))

    def introduce(self, stream: CameraSession) -> None:
        """Publish the state of each view that has states, so that readers know the view and its options."""
        for view in stream.views:
            if view.states is not None:
                self._tell_state(stream, view, view.states.current)

    def blind(self, stream: CameraSession) -> None:
        """Publish that labels and states unseen for `gone_seconds` are gone, while the camera delivers no frames."""
        now = time.monotonic()
        for view in stream.views:
            self._tell(stream, view, view.presence.blind(now))
            if view.states is not None:
                self._tell_state(stream, view, view.states.blind(now))

    def let_go(self, stream: CameraSession) -> None:
        """Publish that every present label and state is gone: the camera is no longer watched."""
        for view in stream.views:
            self.forget(stream, view)

    def forget(self, stream: CameraSession, view: RegionSession) -> None:
        """Publish that a view's labels and state are gone: it is no longer watched, or its classes change."""
        self._tell(stream, view, view.presence.stop())
        if view.states is not None:
            self._tell_state(stream, view, view.states.stop())

    def _tell_state(self, stream: CameraSession, view: RegionSession, change: StateChange | None) -> None:
        if change is None:
            return
        host, camera, region = self._host, stream.camera.name, view.region
        self._publisher.send(
            "/".join(filter(None, ("state", host, camera, region))),
            lambda sequence: state(
                host=host, camera=camera, region=region, labels=view.labels, sequence=sequence, change=change
            ),
        )

    def _tell(self, stream: CameraSession, view: RegionSession, happenings: Sequence[Happening]) -> None:
        host, camera = self._host, stream.camera.name
        for happening in happenings:

            def make(sequence: int, happening: Happening = happening) -> messages.Event:
                labels, region = view.labels, view.region
                return event(
                    host=host, camera=camera, region=region, labels=labels, sequence=sequence, happening=happening
                )

            self._publisher.send(f"event/{host}/{camera}", make)
