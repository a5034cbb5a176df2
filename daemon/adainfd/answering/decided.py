"""A frame on its way through the pipeline: taken, decided, and recorded."""

from dataclasses import dataclass
from typing import Literal

from adainf.schedulers import Choice
from adainfd.answering.admission import RegionRequest
from adainfd.answering.answer import Moments, ViewAnswer
from adainfd.answering.inference import Looked, Shown
from adainfd.answering.session import CameraSession
from adainfd.tracing.lines import Frame, Remembered

__all__ = ["Decided", "Record", "Taken", "preparing_each"]


@dataclass(frozen=True, slots=True)
class Decided:
    """The decision for one view of a frame, not yet published or settled.

    shown: the view's picture. looked: the look behind the answer; None if the last answer is given again.
    """

    ask: RegionRequest
    shown: Shown
    answer: ViewAnswer
    chosen_by: Literal["lookup", "scheduler", "reuse"]
    choice: Choice
    moments: Moments
    looked: Looked | None = None

    @property
    def expected_ms(self) -> float | None:
        """As in `Looked`."""
        return None if self.looked is None else self.looked.expected_ms

    @property
    def reused(self) -> bool:
        """Whether the last answer was reused, so no branch ran."""
        return self.chosen_by == "reuse"


@dataclass(frozen=True, slots=True)
class Record:
    """The trace record of a view of a frame; before: the view's state when the frame was decided."""

    frame: Frame
    before: Remembered


@dataclass(frozen=True, slots=True)
class Taken:
    """A frame taken for answering; waited_for_others: seconds it waited for other cameras before it was taken."""

    stream: CameraSession
    shown: Shown
    waited_for_others: float


def preparing_each(decided: list[list[Decided]], begun: float) -> float | None:
    """Return the preprocessing time per picture in milliseconds; None if no picture was preprocessed."""
    prepared = [decision.moments.prepared for decisions in decided for decision in decisions]
    return 1000 * (max(prepared) - begun) / len(prepared) if prepared else None
