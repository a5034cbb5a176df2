"""Profiles: the results of calibrating a backbone, read, validated and written as JSON files."""

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from adainf.base import documents, files
from adainf.base.errors import InvalidInputError, one_line
from adainf.branch import Branch, BranchSpace, PartMacs

__all__ = [
    "SCHEMA",
    "BranchTime",
    "Calibration",
    "Measured",
    "Parts",
    "Profile",
    "Scheduled",
    "Timings",
    "WeightSet",
    "write_atomically",
]

SCHEMA = "adainf.profile/1"
_LINE = 140

WeightSet = Literal["base", "adapted"]
"""The weights that a branch runs with: the backbone's own, or those with a run's adapter merged in."""


def _well_formed(text: str) -> str:
    try:
        Branch.parse(text)
    except InvalidInputError as error:
        raise ValueError(str(error)) from None
    return text


BranchText = Annotated[str, AfterValidator(_well_formed)]
# Up to here every integer is exact as a float too, so fractions compare exactly enough.
Count = Annotated[int, Field(ge=0, le=2**53)]
Resolution = Annotated[int, Field(ge=1, le=99999)]
Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Together = Annotated[int, Field(ge=2, le=1024)]


class _ProfileModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Parts(_ProfileModel):
    """MACs of each part at one resolution."""

    stem: Count
    blocks: tuple[Count, ...]
    shortcuts: tuple[Count, ...]
    head: Count


class Measured(_ProfileModel):
    """A branch: its MACs, and its accuracy on the calibration's pictures.

    accuracy: top-1 against labels; null if the pictures had none. agreement: top-1 equal to the full branch's.
    loss: mean cross-entropy in nats against the labels, or without labels against the full branch's probabilities,
    under the best scale of the scores; distinguishes branches whose accuracy on a few hundred pictures cannot.
    weights: the set it was measured with and runs with.
    """

    branch: BranchText
    macs: Count
    accuracy: Share | None
    agreement: Share
    loss: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    weights: WeightSet = "base"


class Calibration(_ProfileModel):
    """Everything needed to repeat the calibration. listing: SHA-256 of the pictures' names and labels."""

    images: Annotated[int, Field(ge=1)]
    labelled: bool
    part: str
    seed: int
    created: str
    version: str
    listing: str | None = None


class BranchTime(_ProfileModel):
    """Time of a forward pass along a branch, for one picture or a batch."""

    p50_ms: Milliseconds
    p95_ms: Milliseconds


class Timings(_ProfileModel):
    """Times of branches on one device with one engine.

    times: of a single picture. together: of batches along one branch, by batch size.
    """

    device: str
    engine: str
    threads: Annotated[int, Field(ge=1)]
    measured: str
    times: dict[BranchText, BranchTime]
    together: dict[Together, dict[BranchText, BranchTime]] = {}

    @property
    def every(self) -> dict[int, dict[str, BranchTime]]:
        """The times by batch size, starting with 1, and by branch."""
        return {1: self.times, **self.together}


class Scheduled(_ProfileModel):
    """The run's content-aware scheduler measured under one budget, a fraction of the full branch's MACs.

    accuracy, table: accuracy of the scheduler and of the lookup table on the calibration's pictures; without labels,
    their agreement with the full branch. better: whether the scheduler runs from this budget up to the next one.
    """

    budget: Share
    accuracy: Share
    table: Share
    better: bool


class Profile(_ProfileModel):
    """The calibration of a backbone with certain weights, and of a run's adapter if there is one.

    weights: fingerprint of the base weights. adapter: SHA-256 of the run's adapter file; None without a run.
    branches: each with the better of its weight sets. set_aside: what was measured with the other set.
    strength: how far the adapted weights move from the base to the run's (`adainf.backbones.adapters`).
    zoom: how much less of a picture smaller inputs show (`Preprocessing`); the measurements hold for this value only.
    scheduled: measurements of the run's content-aware scheduler, by rising budgets; empty without one.

    >>> profile = adainf.Profile.read(Path("profile.json"))
    >>> print(profile.backbone, len(profile.branches))
    """

    schema_: Literal["adainf.profile/1"] = Field("adainf.profile/1", alias="schema")
    backbone: str
    weights: str
    native_resolution: Resolution
    zoom: Share = 0.0
    droppable: Annotated[str, Field(pattern="^0[01]*$")]
    parts: dict[Resolution, Parts]
    calibration: Calibration
    adapter: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    strength: Annotated[float, Field(gt=0, le=1)] = 1.0
    branches: Annotated[tuple[Measured, ...], Field(min_length=1)]
    set_aside: tuple[Measured, ...] = ()
    scheduled: tuple[Scheduled, ...] = ()
    timings: tuple[Timings, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        blocks = len(self.droppable)
        for resolution, parts in self.parts.items():
            if len(parts.blocks) != blocks or len(parts.shortcuts) != blocks:
                raise ValueError(f"parts of resolution {resolution}: must name {blocks} blocks and shortcuts")
        if self.native_resolution not in self.parts:
            raise ValueError(f"parts: the native resolution {self.native_resolution} is missing")
        space = self.space
        if not space.macs(space.full):
            raise ValueError(f"parts: the full branch {space.full} takes no MACs")
        timed = [text for timings in self.timings for times in timings.every.values() for text in times]
        every = (*self.branches, *self.set_aside)
        for text in (*(measured.branch for measured in every), *timed):
            try:
                space.check(Branch.parse(text))
            except InvalidInputError as error:
                raise ValueError(str(error)) from None
        for measured in every:
            self._check(measured)
        budgets = [scheduled.budget for scheduled in self.scheduled]
        if budgets != sorted(set(budgets)):
            raise ValueError(f"scheduled: budgets must rise, these are {budgets}")
        if str(space.full) not in {measured.branch for measured in self.branches}:
            raise ValueError(f"branches: the full branch {space.full} is missing")
        return self

    def _check(self, measured: Measured) -> None:
        branch = Branch.parse(measured.branch)
        if measured.weights == "adapted" and self.adapter is None:
            raise ValueError(f"branch {branch}: runs with adapted weights, but no adapter is named")
        if measured.macs != self.space.macs(branch):
            raise ValueError(f"branch {branch}: macs are {measured.macs}, its parts sum to {self.space.macs(branch)}")

    @cached_property
    def space(self) -> BranchSpace:
        """The backbone's branches and their MACs."""
        return BranchSpace(
            self.native_resolution,
            tuple(digit == "1" for digit in self.droppable),
            {
                resolution: PartMacs(parts.stem, parts.blocks, parts.shortcuts, parts.head)
                for resolution, parts in self.parts.items()
            },
        )

    @cached_property
    def adapted(self) -> frozenset[Branch]:
        """The branches that run with adapted weights."""
        return frozenset(Branch.parse(measured.branch) for measured in self.branches if measured.weights == "adapted")

    def with_only(self, weights: WeightSet) -> "Profile":
        """Return the profile with each branch on these weights, limited to the branches measured with them.

        Raises InvalidInputError if the full branch was not.
        """
        kept = tuple(m for m in (*self.branches, *self.set_aside) if m.weights == weights)
        full = str(self.space.full)
        if all(measured.branch != full for measured in kept):
            raise InvalidInputError(f"profile: its full branch was not measured with {weights} weights")
        kept = tuple(sorted(kept, key=lambda m: (m.branch != full, -m.macs, m.branch)))
        return self.model_copy(update={"branches": kept, "set_aside": ()})

    def at(self, resolutions: Iterable[int]) -> "Profile":
        """Return the profile limited to branches at these resolutions, plus the full one, the reference for all.

        Raises InvalidInputError on a resolution without branches.
        """
        wanted = set(resolutions)
        missing = sorted(wanted - set(self.parts))
        if missing:
            known = ", ".join(map(str, sorted(self.parts)))
            raise InvalidInputError(f"resolution {missing[0]}: the profile's are {known}")

        def kept(measured: tuple[Measured, ...]) -> tuple[Measured, ...]:
            full = str(self.space.full)
            return tuple(m for m in measured if m.branch == full or Branch.parse(m.branch).resolution in wanted)

        return self.model_copy(update={"branches": kept(self.branches), "set_aside": kept(self.set_aside)})

    def timings_on(self, device: str, engine: str, threads: int) -> Timings | None:
        """Return the times measured with this device, engine and number of threads; None if there are none."""
        wanted = (device, engine, threads)
        return next((t for t in self.timings if (t.device, t.engine, t.threads) == wanted), None)

    def faster_engine(self, device: str, threads: int) -> str | None:
        """Return the engine with the fastest full branch on this device; None if fewer than two were timed."""
        full = str(self.space.full)
        full_ms = {
            timings.engine: timings.times[full].p50_ms
            for timings in self.timings
            if (timings.device, timings.threads) == (device, threads) and full in timings.times
        }
        return min(full_ms, key=lambda engine: full_ms[engine]) if len(full_ms) > 1 else None

    def with_timings(self, timings: Timings) -> "Profile":
        """Return the profile with `timings`, replacing older ones of the same device, engine and threads."""
        wanted = (timings.device, timings.engine, timings.threads)
        others = tuple(t for t in self.timings if (t.device, t.engine, t.threads) != wanted)
        return self.model_copy(update={"timings": (*others, timings)})

    @classmethod
    def read(cls, path: Path) -> "Profile":
        """Read a profile file; raises InvalidInputError naming the file, the key, the value and what is allowed."""
        loaded = documents.json_file(path, "profile")
        if not isinstance(loaded, Mapping) or loaded.get("schema") != SCHEMA:
            found = loaded.get("schema") if isinstance(loaded, Mapping) else type(loaded).__name__
            raise InvalidInputError(
                f"profile {path}: schema is {found!r}; must be {SCHEMA!r}, as written by `adainf calibrate`"
            )
        with documents.refusing(f"profile {path}"):
            return cls._validated(loaded, path)

    @classmethod
    def _validated(cls, loaded: Mapping[str, JsonValue], path: Path) -> "Profile":
        try:
            return cls.model_validate(loaded)
        except ValidationError as error:
            first = error.errors()[0]
            key = one_line(".".join(map(str, first["loc"])) or "profile", 120)
            message = first["msg"].removeprefix("Value error, ")
            shown = "" if first["type"] in ("missing", "value_error") else f" {one_line(repr(first['input']), 60)}:"
            raise InvalidInputError(f"profile {path}: {key}:{shown} {one_line(message)}") from None

    def write(self, path: Path) -> None:
        """Write the profile to `path` atomically."""
        document = self.model_dump(mode="json", by_alias=True)
        # A profile without a run omits the keys that only a run fills.
        for key in ("adapter", "set_aside", "scheduled"):
            if not document[key]:
                del document[key]
        if self.adapter is None:
            del document["strength"]
        for timings in document["timings"]:
            if not timings["together"]:
                del timings["together"]
        for measured in (*document["branches"], *document.get("set_aside", ())):
            if measured["weights"] == "base":
                del measured["weights"]
        write_atomically(path, _dump(document) + "\n")


def _dump(value: JsonValue, depth: int = 0, before: int = 0) -> str:
    # Values that fit on a line stay on one: people read, compare and diff profiles too.
    flat = json.dumps(value)
    if isinstance(value, dict):
        keys = {key: f"{json.dumps(key)}: " for key in value}
        brackets, parts = "{}", [keys[key] + _dump(item, depth + 1, len(keys[key])) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        brackets, parts = "[]", [_dump(item, depth + 1) for item in value]
    else:
        return flat
    if depth and before + len(flat) <= _LINE:
        return flat
    inner = "\n" + " " * (depth + 1)
    return brackets[0] + inner + f",{inner}".join(parts) + inner[:-1] + brackets[1]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name beside `path`, then rename it; raises InvalidInputError if that fails.

    A file that it replaces passes on its owner and mode.
    """
    files.check_new_file(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, content.encode() if isinstance(content, str) else content, 0o644)
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be written ({error.strerror})") from None
