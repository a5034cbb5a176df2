"""The entries of a profile: networks and their parts, measured branches and their times."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from adainf.base.errors import InvalidInputError
from adainf.branch import NETWORK_NAME, Branch, BranchSpace, PartMacs

__all__ = [
    "BranchText",
    "BranchTime",
    "Calibration",
    "Measured",
    "Network",
    "Parts",
    "ProfileModel",
    "Scheduled",
    "Timings",
]


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


class ProfileModel(BaseModel):
    """An object of a profile: unknown keys are refused, instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Parts(ProfileModel):
    """MACs of each part at one resolution."""

    stem: Count
    blocks: tuple[Count, ...]
    shortcuts: tuple[Count, ...]
    head: Count


class Network(ProfileModel):
    """A network of the family, with certain weights.

    weights: their fingerprint, without an adapter. zoom: how much less of a picture smaller inputs show
    (`Preprocessing`); the measurements hold for this value only. scale: the factor that brings the network's scores to
    the scale of the reference's. adapter: SHA-256 of the adapter file of a run that is merged into the weights; None
    without one. strength: how far the adapter moves the weights from the base's to the run's
    (`adainf.backbones.adapters`).
    """

    name: Annotated[str, Field(pattern=f"^{NETWORK_NAME}$")]
    backbone: str
    weights: str
    native_resolution: Resolution
    zoom: Share = 0.0
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    droppable: Annotated[str, Field(pattern="^0[01]*$")]
    parts: dict[Resolution, Parts]
    adapter: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    strength: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        blocks = len(self.droppable)
        for resolution, parts in self.parts.items():
            if len(parts.blocks) != blocks or len(parts.shortcuts) != blocks:
                raise ValueError(f"parts of resolution {resolution}: must name {blocks} blocks and shortcuts")
        if self.native_resolution not in self.parts:
            raise ValueError(f"parts: the native resolution {self.native_resolution} is missing")
        return self

    @property
    def identity(self) -> str:
        """What tells its weights from others: their fingerprint, with that of an adapter."""
        return self.weights if self.adapter is None else f"{self.weights} {self.adapter} {self.strength}"

    def space(self, key: str) -> BranchSpace:
        """Return the network's branches and their MACs; key: `REFERENCE`, or the network's name."""
        return BranchSpace(
            self.native_resolution,
            tuple(digit == "1" for digit in self.droppable),
            {
                resolution: PartMacs(parts.stem, parts.blocks, parts.shortcuts, parts.head)
                for resolution, parts in self.parts.items()
            },
            key,
        )


class Measured(ProfileModel):
    """A branch: its MACs, and its accuracy on the calibration's pictures.

    accuracy: top-1 against labels; null if the pictures had none. agreement: top-1 equal to the full branch's.
    loss: mean cross-entropy in nats against the labels, or without labels against the full branch's probabilities,
    under the best scale of the scores; distinguishes branches whose accuracy on a few hundred pictures cannot.
    """

    branch: BranchText
    macs: Count
    accuracy: Share | None
    agreement: Share
    loss: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class Calibration(ProfileModel):
    """Everything needed to repeat the calibration. listing: SHA-256 of the pictures' names and labels."""

    images: Annotated[int, Field(ge=1)]
    labelled: bool
    part: str
    seed: int
    created: str
    version: str
    listing: str | None = None


class BranchTime(ProfileModel):
    """Time of a forward pass along a branch, for one picture or a batch."""

    p50_ms: Milliseconds
    p95_ms: Milliseconds


class Timings(ProfileModel):
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


class Scheduled(ProfileModel):
    """The run's content-aware scheduler measured under one budget, a fraction of the full branch's MACs.

    accuracy, table: accuracy of the scheduler and of the lookup table on the calibration's pictures; without labels,
    their agreement with the full branch. better: whether the scheduler runs from this budget up to the next one.
    """

    budget: Share
    accuracy: Share
    table: Share
    better: bool
