"""Profiles: the results of calibrating a family of networks, read, validated and written as JSON files."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, PrivateAttr, ValidationError, model_validator

from adainf.base import documents, files
from adainf.base.errors import InvalidInputError, one_line
from adainf.branch import REFERENCE, Branch, FamilySpace
from adainf.profile import version1
from adainf.profile.entries import BranchTime, Calibration, Measured, Network, Parts, ProfileModel, Scheduled, Timings

__all__ = [
    "SCHEMA",
    "BranchTime",
    "Calibration",
    "Measured",
    "Network",
    "Parts",
    "Profile",
    "Scheduled",
    "Timings",
    "write_atomically",
]

SCHEMA = "adainf.profile/2"


class Profile(ProfileModel):
    """The calibration of a family: networks that answer with the same classes.

    networks: the first is the reference. Its full branch is the one that fractions of MACs, budgets and agreement refer
    to. branches: those that may run. set_aside: what was measured of branches that may not. scheduled: measurements of
    the content-aware scheduler of the run whose adapter is merged into one of the networks, or that left the
    reference's weights alone, by rising budgets; empty without one.

    >>> profile = adainf.Profile.read(Path("profile.json"))
    >>> print([network.name for network in profile.networks], len(profile.branches))
    """

    schema_: Literal["adainf.profile/2"] = Field("adainf.profile/2", alias="schema")
    networks: Annotated[tuple[Network, ...], Field(min_length=1, max_length=16)]
    calibration: Calibration
    branches: Annotated[tuple[Measured, ...], Field(min_length=1)]
    set_aside: tuple[Measured, ...] = ()
    scheduled: tuple[Scheduled, ...] = ()
    timings: tuple[Timings, ...] = ()
    _also: tuple[tuple[Branch, ...], ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [network.name for network in self.networks]
        if len(set(names)) < len(names):
            raise ValueError(f"networks: two have one name, of {', '.join(names)}")
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
            branch = Branch.parse(measured.branch)
            if measured.macs != space.macs(branch):
                raise ValueError(f"branch {branch}: macs are {measured.macs}, its parts sum to {space.macs(branch)}")
        budgets = [scheduled.budget for scheduled in self.scheduled]
        if budgets != sorted(set(budgets)):
            raise ValueError(f"scheduled: budgets must rise, these are {budgets}")
        if str(space.full) not in {measured.branch for measured in self.branches}:
            raise ValueError(f"branches: the full branch {space.full} is missing")
        return self

    @property
    def reference(self) -> Network:
        """The network that answers along the full branch."""
        return self.networks[0]

    @cached_property
    def of_key(self) -> dict[str, Network]:
        """Each network by what its branches name it: `REFERENCE`, or its name."""
        return {(network.name if number else REFERENCE): network for number, network in enumerate(self.networks)}

    @cached_property
    def space(self) -> FamilySpace:
        """The networks' branches and their MACs."""
        return FamilySpace({key: network.space(key) for key, network in self.of_key.items()})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values; what is cached belongs to the values of the original."""
        copied = super().model_copy(update=update, deep=deep)
        for cached in ("of_key", "space"):
            copied.__dict__.pop(cached, None)
        return copied

    @property
    def adapted(self) -> str | None:
        """What its branches name the network with a run's adapter; None if there is none."""
        return next((key for key, network in self.of_key.items() if network.adapter is not None), None)

    @property
    def scheduled_network(self) -> str:
        """The key of the network that a run's scheduler decides for: the adapted one, if any, else the reference."""
        return self.adapted or REFERENCE

    @property
    def also(self) -> tuple[tuple[Branch, ...], ...]:
        """The branches of each other question to keep ready beside the profile's own; see `with_branches`."""
        return self._also

    def with_branches(self, other: "Profile", branches: Iterable[Branch]) -> "Profile":
        """Return the profile that knows of more branches: those of classes taught to the same networks.

        other: the profile that has measured them. branches: the most needed first. The lookup table of this profile
        does not choose them. Raises InvalidInputError, which names the network, if one of the branches belongs to a
        network with other weights.
        """
        added = tuple(branches)
        for key in {branch.network for branch in added}:
            theirs, own = other.of_key[key], self.of_key.get(key)
            if own is None or (own.backbone, own.weights, own.zoom) != (theirs.backbone, theirs.weights, theirs.zoom):
                raise InvalidInputError(
                    f"taught with the features of network {theirs.name}, which the profile "
                    f"{'lacks' if own is None else 'has with other weights'}"
                )
        networks = tuple(
            network
            if key not in other.of_key
            else network.model_copy(update={"parts": {**other.of_key[key].parts, **network.parts}})
            for key, network in self.of_key.items()
        )
        copied = self.model_copy(update={"networks": networks})
        copied._also = tuple(dict.fromkeys((*self._also, added)))  # noqa: SLF001
        return copied

    @property
    def title(self) -> str:
        """The networks' backbones, for people."""
        return ", ".join(dict.fromkeys(network.backbone for network in self.networks))

    def of_networks(self, keys: Iterable[str]) -> "Profile":
        """Return the profile without the branches and times of other networks than these and the reference."""
        kept = {REFERENCE, *keys}

        def chosen(measured: Mapping[str, BranchTime]) -> dict[str, BranchTime]:
            return {text: time for text, time in measured.items() if Branch.parse(text).network in kept}

        def times(timings: Timings) -> Timings:
            together = {pictures: chosen(times) for pictures, times in timings.together.items()}
            return timings.model_copy(update={"times": chosen(timings.times), "together": together})

        limited = self._limited_to(lambda branch: branch.network in kept).model_copy(
            update={
                "networks": tuple(network for key, network in self.of_key.items() if key in kept),
                "scheduled": self.scheduled if self.adapted is None or self.adapted in kept else (),
                "timings": tuple(map(times, self.timings)),
            }
        )
        limited._also = tuple(  # noqa: SLF001
            tuple(branch for branch in branches if branch.network in kept) for branches in self._also
        )
        return limited

    def with_only(self, key: str) -> "Profile":
        """Return the profile with every measured branch of one network, and no other."""
        full = str(self.space.networks[key].full)
        kept = [m for m in (*self.branches, *self.set_aside) if Branch.parse(m.branch).network == key]
        kept.sort(key=lambda m: (m.branch != full, -m.macs, m.branch))
        return self.model_copy(update={"branches": tuple(kept), "set_aside": ()})

    def alone(self, key: str) -> "Profile":
        """Return the profile of one network by itself, which is then the reference.

        Raises InvalidInputError if not all blocks of it were measured at its native resolution.
        """
        limited, full = self.with_only(key), str(self.space.networks[key].full)
        if all(measured.branch != full for measured in limited.branches):
            raise InvalidInputError(f"profile: the branch {full} was not measured")
        network = self.of_key[key].model_copy(update={"scale": 1.0})
        branches = tuple(m.model_copy(update={"branch": Branch.parse(m.branch).path}) for m in limited.branches)
        update = {"networks": (network,), "branches": branches, "scheduled": (), "timings": ()}
        return limited.model_copy(update=update)

    def at(self, resolutions: Iterable[int]) -> "Profile":
        """Return the profile limited to branches at these resolutions, plus the full one, the reference for all.

        Raises InvalidInputError on a resolution without branches.
        """
        wanted = set(resolutions)
        every = {resolution for network in self.networks for resolution in network.parts}
        missing = sorted(wanted - every)
        if missing:
            known = ", ".join(map(str, sorted(every)))
            raise InvalidInputError(f"resolution {missing[0]}: the profile's are {known}")
        return self._limited_to(lambda branch: branch.resolution in wanted)

    def _limited_to(self, wanted: Callable[[Branch], bool]) -> "Profile":
        """Return the profile limited to the branches that are `wanted`, plus the full one."""

        def kept(measured: tuple[Measured, ...]) -> tuple[Measured, ...]:
            return tuple(m for m in measured if (of := Branch.parse(m.branch)) == self.space.full or wanted(of))

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
        schema = loaded.get("schema") if isinstance(loaded, Mapping) else type(loaded).__name__
        if not isinstance(loaded, Mapping) or schema not in (SCHEMA, version1.SCHEMA):
            raise InvalidInputError(
                f"profile {path}: schema is {schema!r}; must be {SCHEMA!r}, as written by `adainf calibrate`"
            )
        return cls.of_document(loaded, f"profile {path}")

    @classmethod
    def of_document(cls, loaded: Mapping[str, JsonValue], subject: str) -> "Profile":
        """Return the profile that a JSON object describes; raises InvalidInputError, naming the `subject`."""
        with documents.refusing(subject):
            return cls._validated(loaded, subject)

    @classmethod
    def _validated(cls, loaded: Mapping[str, JsonValue], subject: str) -> "Profile":
        is_old = loaded.get("schema") == version1.SCHEMA
        try:
            return cls.model_validate(version1.upgraded(loaded) if is_old else loaded)
        except ValidationError as error:
            first = error.errors()[0]
            location = first["loc"][2 if is_old and first["loc"][:1] == ("networks",) else 0 :]
            key = one_line(".".join(map(str, location)) or "profile", 120)
            message = first["msg"].removeprefix("Value error, ")
            shown = "" if first["type"] in ("missing", "value_error") else f" {one_line(repr(first['input']), 60)}:"
            raise InvalidInputError(f"{subject}: {key}:{shown} {one_line(message)}") from None

    def document(self) -> dict[str, Any]:
        """Return the JSON object that describes the profile."""
        document = self.model_dump(mode="json", by_alias=True)
        # Keys that say nothing are left out: people read profiles too.
        for key in ("set_aside", "scheduled"):
            if not document[key]:
                del document[key]
        for network in document["networks"]:
            if network["adapter"] is None:
                del network["adapter"], network["strength"]
        for timings in document["timings"]:
            if not timings["together"]:
                del timings["together"]
        return document

    def write(self, path: Path) -> None:
        """Write the profile to `path` atomically."""
        write_atomically(path, documents.legible_json(self.document()) + "\n")


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
