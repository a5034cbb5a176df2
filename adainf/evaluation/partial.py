"""Counts of an unfinished calibration, saved beside its profile so that an interrupted calibration resumes."""

import json
import tempfile
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from adainf.base import documents, files
from adainf.base.errors import InvalidInputError
from adainf.profile import write_atomically
from adainf.profile.entries import BranchText

__all__ = ["Partial", "check_writable", "partial_path"]


class Partial(BaseModel):
    """Counts over the first `images` pictures.

    settings: everything the outcome depends on, including the fingerprints of weights and listing.
    zooms: of each network, by what its branches name it. strength: of the adapter.
    branches: the measured branches.
    right, agreed: for each branch, the answers equal to the truth (`Subject.truth`) and to the full branch's answers.
    losses: for each branch, summed cross-entropies, one per scale of the scores.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["adainf.partial/2"] = Field("adainf.partial/2", alias="schema")
    settings: dict[str, JsonValue]
    created: str
    zooms: dict[str, float]
    strength: float
    branches: tuple[BranchText, ...]
    images: int
    right: tuple[int, ...]
    agreed: tuple[int, ...]
    losses: tuple[tuple[float, ...], ...]

    @classmethod
    def read(cls, path: Path, settings: dict[str, JsonValue]) -> "Partial | None":
        """Return the counts in `path`, or None if the file does not exist.

        Raises InvalidInputError if the file is unreadable or belongs to other settings; the message names the first
        setting that differs.
        """
        if not files.is_file(path, "calibration"):
            return None
        if (partial := documents.kept(path, cls.model_validate_json)) is None:
            raise InvalidInputError(f"{path}: is no unfinished calibration; delete it to start anew")
        for key, wanted in settings.items():
            if partial.settings.get(key) != wanted:
                was, now = json.dumps(partial.settings.get(key)), json.dumps(wanted)
                raise InvalidInputError(
                    f"{path}: belongs to a calibration with {key} {was}, not {now}; "
                    "repeat its settings, or delete it to start anew"
                )
        return partial

    def write(self, path: Path) -> None:
        """Write the counts to `path` atomically."""
        write_atomically(path, self.model_dump_json(by_alias=True) + "\n")


def partial_path(profile: Path) -> Path:
    """Return the path of an unfinished profile's counts."""
    return profile.with_name(f"{profile.name}.partial")


def check_writable(path: Path) -> None:
    """Raise InvalidInputError unless a file can be written at `path`."""
    try:
        files.check_new_file(path)
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be written ({error.strerror})") from None
