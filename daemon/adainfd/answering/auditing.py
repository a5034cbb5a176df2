"""Auditing: while the box is idle, the full branch also runs on a share of the frames after they are answered."""

from collections.abc import Callable

from adainf.recogniser import Recogniser
from adainf.sensors import Readings
from adainfd.answering.admission import RegionRequest
from adainfd.answering.audit import REUSE
from adainfd.answering.inference import Shown
from adainfd.wire.observing import Observer

__all__ = ["Auditor"]

# The box counts as idle while other programs use at most this share of the CPU and of the GPU.
_IDLE_BELOW = 0.1
_UNTROUBLED = ("maximum", "motion")


class Auditor:
    """An auditor that compares answers with those of the full branch."""

    def __init__(self, recogniser: Recogniser, readings: Callable[[], Readings], observer: Observer) -> None:
        """readings: returns the latest sensor readings. observer: notified of each audit."""
        self._recogniser = recogniser
        self._readings = readings
        self._observer = observer

    def audit(self, camera: str, ask: RegionRequest, shown: Shown, *, reused: bool) -> None:
        """Audit the view that was just answered if its audit is due and the box is idle.

        reused: whether the last answer was reused instead of running a branch.
        """
        view, engine = ask.view, self._recogniser.engine
        view.since_audit += 1
        full, answer = self._recogniser.profile.space.full, view.answer
        if answer is None or not self._is_due(ask):
            return
        view.since_audit = 0
        if answer.choice.branch == full and not reused:
            return
        prepared = engine.prepare(shown.picture, full.resolution)
        if not shown.holds():
            return
        scores = engine.run([prepared], [full])[0]
        full_answer = view.labels.index(int(view.labels.asked_for(scores).argmax()))
        given = answer.labels[0].index if reused else answer.alone
        audited = REUSE if reused else str(answer.choice.branch)
        view.audit.note(audited, given == full_answer)
        self._observer.audited(camera, audited, agreed=given == full_answer)

    def _is_due(self, ask: RegionRequest) -> bool:
        policy, now = ask.view.policy, self._readings()
        return (
            ask.view.taught is None  # the full branch may not be one that the classes were taught along
            and self._recogniser.profile.space.full in self._recogniser.ready
            and policy.budget.mean is None  # an audit's compute belongs to no frame and would exceed the mean
            and bool(policy.audit.share)
            and ask.view.since_audit * policy.audit.share >= 1
            and ask.request.budget.limited_by in _UNTROUBLED
            and max(now.cpu_foreign or 0.0, now.gpu_foreign or 0.0) <= _IDLE_BELOW
        )
