"""The audit: how often branches agree with the full one on this camera, not on the calibration's pictures."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adainf.base import documents
from adainf.base.errors import InvalidInputError
from adainf.profile import write_atomically

__all__ = ["REUSE", "Audit"]

REUSE = "reuse"
"""Stands for a branch where the last answer was given again."""

# Until a branch has been audited this often, the calibration's agreement weighs more than this camera's.
_CALIBRATION_WEIGHS = 20
_MOST_FRAMES = 2**53


@dataclass(slots=True)
class Audit:
    """Audited frames of one camera, by branch: how many there were, and on how many the full branch said the same."""

    frames: dict[str, int] = field(default_factory=dict)
    agreed: dict[str, int] = field(default_factory=dict)

    def note(self, branch: str, agrees: bool) -> None:
        """One more audited frame."""
        self.frames[branch] = self.frames.get(branch, 0) + 1
        self.agreed[branch] = self.agreed.get(branch, 0) + agrees

    def corrected(self, branch: str, expected_accuracy: float, agreement: float) -> float:
        """The accuracy to expect of `branch` on this camera.

        expected_accuracy, agreement: what calibration found. The calibration's agreement counts as a number of frames
        seen before the audit's (a beta prior); accuracy is taken to change in the same proportion.
        """
        frames, agreed = self.frames.get(branch, 0), self.agreed.get(branch, 0)
        if not frames or agreement <= 0:
            return expected_accuracy
        posterior = (agreement * _CALIBRATION_WEIGHS + agreed) / (_CALIBRATION_WEIGHS + frames)
        return min(1.0, expected_accuracy * posterior / agreement)

    @property
    def text(self) -> str:
        """All of it, as `load` reads it."""
        return json.dumps({"frames": self.frames, "agreed": self.agreed}, indent=1) + "\n"

    def save(self, path: Path) -> None:
        """Write to `path`; raises InvalidInputError where that is not possible."""
        write_atomically(path, self.text)

    @classmethod
    def load(cls, path: Path) -> "Audit":
        """What `save` wrote; an empty audit where there is nothing, or nothing that makes sense."""
        return documents.kept(path, cls._parsed) or cls()

    @classmethod
    def _parsed(cls, content: bytes) -> "Audit":
        """Raises whatever comes of what is not an audit."""
        loaded = documents.parsed_json(content, "audit")
        frames, agreed = (_counts(loaded[key]) for key in ("frames", "agreed"))
        if frames.keys() != agreed.keys() or any(not 0 <= agreed[branch] <= frames[branch] for branch in frames):
            raise InvalidInputError("audit: more agreed than there were")
        return cls(frames, agreed)


def _counts(loaded: Mapping[str, object]) -> dict[str, int]:
    return {branch: min(int(str(count)), _MOST_FRAMES) for branch, count in loaded.items()}
