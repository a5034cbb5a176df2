"""Publishing of a camera's results, and of the events that follow from them."""

import itertools
import time
from collections.abc import Sequence

from adainf.control import Budget, Signals
from adainf.control.presence import Happening, Sighting
from adainf.profile import Profile
from adainfd.answering.answer import ViewAnswer, event, result, shown
from adainfd.answering.session import CameraSession, RegionSession
from adainfd.capture.cameras.captured import Captured
from adainfd.wire import messages
from adainfd.wire.serving.publisher import Publisher

__all__ = ["Teller", "present"]


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


class Teller:
    """The publisher of results, and of events as labels appear, stay and go."""

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
        """Publish the result for a view of a frame, then the events it causes."""
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

    def blind(self, stream: CameraSession) -> None:
        """Publish `gone` for labels unseen for `gone_seconds` while the camera delivers no frames."""
        for view in stream.views:
            self._tell(stream, view, view.presence.blind(time.monotonic()))

    def let_go(self, stream: CameraSession) -> None:
        """Publish `gone` for every present label: the camera is no longer watched."""
        for view in stream.views:
            self.let_go_of(stream, view)

    def let_go_of(self, stream: CameraSession, view: RegionSession) -> None:
        """Publish `gone` for every label present in a view."""
        self._tell(stream, view, view.presence.stop())

    def _tell(self, stream: CameraSession, view: RegionSession, happenings: Sequence[Happening]) -> None:
        host, camera = self._host, stream.camera.name
        for happening in happenings:

            def make(sequence: int, happening: Happening = happening) -> messages.Event:
                labels, region = view.labels, view.region
                return event(
                    host=host, camera=camera, region=region, labels=labels, sequence=sequence, happening=happening
                )

            self._publisher.send(f"event/{host}/{camera}", make)
