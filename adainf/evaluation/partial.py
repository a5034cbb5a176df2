"""What a calibration has counted so far, kept beside its profile so that a killed one goes on where it was."""

import json
import tempfile
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from adainf.base import documents, files
from adainf.base.errors import InvalidInputError
from adainf.profile import BranchText, WeightSet, write_atomically

__all__ = ["Partial", "check_writable", "partial_path"]


class Partial(BaseModel):
    """Counts over the first `images` pictures.

    settings: everything the outcome depends on, the weights' and the listing's fingerprints among them.
    zoom, strength: as `Profile` has them.
    branches, weights: what is counted: a branch, and the set of weights it ran with.
    right, agreed: for each branch, answers equal to the truth (`Subject.truth`) and to the full branch's.
    losses: for each branch the summed cross-entropies, one for each scale of the scores.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["adainf.partial/1"] = Field("adainf.partial/1", alias="schema")
    settings: dict[str, JsonValue]
    created: str
    zoom: float
    strength: float
    branches: tuple[BranchText, ...]
    weights: tuple[WeightSet, ...]
    images: int
    right: tuple[int, ...]
    agreed: tuple[int, ...]
    losses: tuple[tuple[float, ...], ...]

    @classmethod
    def read(cls, path: Path, settings: dict[str, JsonValue]) -> "Partial | None":
        """The counts in `path`, or None where there is no such file.

        Raises InvalidInputError where they belong to other settings, naming the first that differs.
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
        """Write the counts to `path`, whole or not at all."""
        write_atomically(path, self.model_dump_json(by_alias=True) + "\n")


def partial_path(profile: Path) -> Path:
    """Where the counts of an unfinished `profile` are."""
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
