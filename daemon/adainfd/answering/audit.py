"""The audit: how often branches agree with the full branch on this camera rather than on calibration pictures."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adainf.base import documents
from adainf.base.errors import InvalidInputError
from adainf.profile import write_atomically

__all__ = ["REUSE", "Audit"]

REUSE = "reuse"
"""The key in place of a branch where the last answer was reused."""

# Pseudo-count of the prior: until a branch has this many audits, the calibration's agreement outweighs this camera's.
_CALIBRATION_WEIGHS = 20
_MOST_FRAMES = 2**53


@dataclass(slots=True)
class Audit:
    """The counts per branch of a camera's audited frames, and of those on which the full branch agreed."""

    frames: dict[str, int] = field(default_factory=dict)
    agreed: dict[str, int] = field(default_factory=dict)

    def note(self, branch: str, agrees: bool) -> None:
        """Count an audited frame."""
        self.frames[branch] = self.frames.get(branch, 0) + 1
        self.agreed[branch] = self.agreed.get(branch, 0) + agrees

    def corrected(self, branch: str, expected_accuracy: float, agreement: float) -> float:
        """Return the accuracy to expect of `branch` on this camera.

        expected_accuracy, agreement: as calibration measured them. The calibration's agreement is the beta prior with
        a weight of 20 frames; accuracy is assumed to scale with the posterior agreement.
        """
        frames, agreed = self.frames.get(branch, 0), self.agreed.get(branch, 0)
        if not frames or agreement <= 0:
            return expected_accuracy
        posterior = (agreement * _CALIBRATION_WEIGHS + agreed) / (_CALIBRATION_WEIGHS + frames)
        return min(1.0, expected_accuracy * posterior / agreement)

    @property
    def text(self) -> str:
        """The counts as JSON, the format that `load` reads."""
        return json.dumps({"frames": self.frames, "agreed": self.agreed}, indent=1) + "\n"

    def save(self, path: Path) -> None:
        """Write the counts to `path`; raises InvalidInputError if it cannot be written."""
        write_atomically(path, self.text)

    @classmethod
    def load(cls, path: Path) -> "Audit":
        """Read what `save` wrote; a missing or invalid file gives an empty audit."""
        return documents.kept(path, cls._parsed) or cls()

    @classmethod
    def _parsed(cls, content: bytes) -> "Audit":
        """Parse an audit; invalid content may raise any exception."""
        loaded = documents.parsed_json(content, "audit")
        frames, agreed = (_counts(loaded[key]) for key in ("frames", "agreed"))
        if frames.keys() != agreed.keys() or any(not 0 <= agreed[branch] <= frames[branch] for branch in frames):
            raise InvalidInputError("audit: more agreed than there were")
        return cls(frames, agreed)


def _counts(loaded: Mapping[str, object]) -> dict[str, int]:
    return {branch: min(int(str(count)), _MOST_FRAMES) for branch, count in loaded.items()}
