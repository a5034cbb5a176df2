"""The recogniser: an engine, its ready branches, and the lookup table over them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from adainf.base.errors import InvalidInputError
from adainf.branch import Branch
from adainf.classes.taught import Taught
from adainf.control.costs import Costs, Times
from adainf.engines import Engine
from adainf.profile import Profile
from adainf.schedulers import LookupTable
from adainf.schedulers.content_aware import ContentAware

__all__ = ["Asked", "AskedOf", "LabelColumns", "Recogniser", "fits", "warm_up_content"]


@dataclass(frozen=True, slots=True)
class Recogniser:
    """An engine with everything needed to choose branches for it.

    ready: the branches that run without delay; `table` covers these. times: measured times of branches on this device;
    empty while unknown. content: the run's content-aware scheduler, for budgets at which it is better than the table.
    """

    engine: Engine
    profile: Profile
    ready: frozenset[Branch]
    table: LookupTable
    times: Times
    content: ContentAware | None = None

    @classmethod
    def of(
        cls,
        engine: Engine,
        profile: Profile,
        ready: Collection[Branch],
        times: Times,
        content: ContentAware | None = None,
    ) -> Self:
        """Return a recogniser with these branches ready."""
        table = LookupTable(profile, allowed=frozenset(ready).__contains__)
        return cls(engine, profile, frozenset(ready), table, times, content)

    def asked(self, taught: Taught | None) -> "Asked":
        """Return the branches to choose from for a question: the networks' own classes (None), or taught ones.

        Raises InvalidInputError if none of the branches that the classes were taught along is ready.
        """
        table = self.table
        if taught is not None:
            table = LookupTable(taught.profile, allowed=self.ready.__contains__)
        return Asked(table, Costs.of(table.frontier, self.times))

    @property
    def choosable(self) -> tuple[str, ...]:
        """The branches that the table may choose."""
        return tuple(str(choice.branch) for choice in self.table.frontier)

    @property
    def scheduler_macs(self) -> int:
        """MACs of one decision of the content-aware scheduler; 0 without one."""
        return 0 if self.content is None else self.content.scheduler.macs

    def along(self, branch: Branch) -> Self:
        """Return a copy with one more branch ready."""
        return self.of(self.engine, self.profile, self.ready | {branch}, self.times, self.content)


@dataclass(frozen=True, slots=True)
class Asked:
    """The ready branches for one question, by their accuracy there, and what they cost."""

    table: LookupTable
    costs: Costs


class AskedOf:
    """The branches for each question that a recogniser is asked, made when it is asked for the first time."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        self._made: dict[int, tuple[Taught | None, Asked]] = {}

    def __call__(self, taught: Taught | None) -> Asked:
        """Return the branches for a question; raises what `Recogniser.asked` raises."""
        if id(taught) not in self._made:  # the classes are kept too, so that no others get their identity
            self._made[id(taught)] = taught, self._recogniser.asked(taught)
        return self._made[id(taught)][1]


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """A camera's labels and their columns in the scores; None means all columns."""

    names: tuple[str, ...]
    columns: tuple[int, ...] | None

    @classmethod
    def of(cls, labels: tuple[str, ...], class_names: tuple[str, ...], camera: str | None = None) -> "LabelColumns":
        """Return the columns of `labels`; raises InvalidInputError on a label that the head lacks."""
        if not labels:
            return cls(class_names, None)
        for label in labels:
            if label not in class_names:
                whose = "" if camera is None else f"camera {camera}: "
                raise InvalidInputError(f"{whose}label {label!r} is none of the head's {len(class_names)}")
        return cls(labels, tuple(class_names.index(label) for label in labels))

    @classmethod
    def of_taught(cls, taught: Taught) -> "LabelColumns":
        """Return the columns of taught classes, `unknown` among them."""
        return cls(taught.names, None)

    def asked_for(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the camera's scores (labels,) out of the head's (classes,)."""
        return scores if self.columns is None else scores[list(self.columns)]

    def index(self, position: int) -> int:
        """Return the class index of the label at `position`."""
        return position if self.columns is None else self.columns[position]


def fits(engine: Engine, profile: Profile, named: str) -> bool:
    """Return whether the profile was made for the weights of the engine's networks.

    named: the profile as the user named it. Networks with an adapter count as their bases do. Raises InvalidInputError
    if the profile belongs to networks of another shape.
    """
    for key, outline in engine.outlines.items():
        network, space = profile.of_key[key], profile.space.networks[key]
        if outline.droppable != space.droppable or outline.preprocessing.size != network.native_resolution:
            raise InvalidInputError(
                f"profile {named!r}: was made for {network.native_resolution} pixels and blocks {network.droppable}, "
                f"not as this {network.backbone}; run `adainf calibrate`"
            )
    return all(
        outline.weights == profile.of_key[key].weights
        for key, outline in engine.outlines.items()
        if profile.of_key[key].adapter is None
    )


def warm_up_content(engine: Engine, content: ContentAware) -> None:
    """Prepare every part that the scheduler may ask for, so that no frame has to wait for one."""
    black = np.zeros((content.resolution, content.resolution, 3), np.uint8)
    prepared = engine.prepare(black, content.resolution, content.network)
    first = engine.look(prepared, content.resolution, content.network)
    all_kept = content.scheduler.space.full.keep
    all_skipped = tuple(not may for may in content.scheduler.space.droppable)
    for keep in (all_kept, all_skipped):
        engine.complete(first, keep)
