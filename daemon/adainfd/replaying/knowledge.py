"""The model that a trace was recorded with: its branches and their costs."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from adainf.base.errors import InvalidInputError, one_line
from adainf.branch import Branch
from adainf.control import Budget, Costs
from adainf.profile import Profile
from adainf.schedulers import Choice, LookupTable
from adainf.schedulers.content_aware import better_at
from adainfd.tracing.lines import Frame, Header, InForce, Prepared

__all__ = ["Knowledge", "KnownModel"]


@dataclass(frozen=True, slots=True)
class KnownModel:
    """The model as known from a trace: of the networks' own classes, and of those taught to a view.

    line: the branches that were ready, and their times.
    """

    general: "Knowledge"
    taught: dict[str, "Knowledge"]
    line: Header | Prepared

    @classmethod
    def read(cls, path: Path, header: Header) -> "KnownModel":
        """Read the model from a header; raises InvalidInputError if one of its profiles is damaged."""
        general = Knowledge.of(_profile(path, header.profile), header)
        return cls(general, {}, header).asked(path, header)

    def of(self, view: str) -> "Knowledge":
        """Return the model for the question that a view asks."""
        return self.taught.get(view, self.general)

    def asked(self, path: Path, line: InForce) -> "KnownModel":
        """Return the model after the views' questions have changed; raises as `read` does."""
        taught = {
            view: Knowledge.of(_profile(path, profile), self.line, ready=True) for view, profile in line.taught.items()
        }
        return replace(self, taught=taught)

    def prepared(self, line: Prepared) -> "KnownModel":
        """Return the model after more branches have become ready."""
        taught = {view: Knowledge.of(known.profile, line, ready=True) for view, known in self.taught.items()}
        return KnownModel(Knowledge.of(self.general.profile, line), taught, line)


def _profile(path: Path, document: Mapping[str, Any]) -> Profile:
    try:
        return Profile.model_validate(document)
    except ValidationError as error:
        raise InvalidInputError(f"trace {path}: its profile is damaged ({one_line(error, 120)})") from None


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The branches for one question, as known from a trace. choices: all branches of the profile, by their text."""

    table: LookupTable
    costs: Costs
    profile: Profile
    scheduler_macs: int
    choices: dict[str, Choice]

    @classmethod
    def of(cls, profile: Profile, line: Header | Prepared, *, ready: bool = False) -> "Knowledge":
        """Return what a line tells; ready: the question may choose whatever was ready, not the general table's."""
        allowed = {*line.branches, *(line.ready if ready else ())}
        table = LookupTable(profile, allowed=lambda branch: str(branch) in allowed)
        full_macs = profile.space.full_macs
        choices = {measured.branch: Choice.of(measured, full_macs) for measured in profile.branches}
        return cls(
            table, Costs.of(table.frontier, {1: line.times, **line.together}), profile, line.scheduler_macs, choices
        )

    def has(self, branch: str, *, scheduled: bool) -> bool:
        """Return whether a branch exists: in the profile, or with `scheduled` anywhere in its networks' spaces."""
        if not scheduled:
            return branch in self.choices
        with contextlib.suppress(InvalidInputError):
            return Branch.parse(branch) in self.profile.space
        return False

    def ran(self, frame: Frame) -> Choice:
        """Return the recorded branch as it ran."""
        if frame.chosen_by != "scheduler":
            return self.choices[frame.branch]
        space, branch = self.profile.space, Branch.parse(frame.branch)
        macs = space.macs(branch) + self.scheduler_macs
        level = better_at(self.profile.scheduled, frame.budget.fraction)
        return Choice(branch, macs, macs / space.macs(space.full), 0.0 if level is None else level.accuracy)

    def choose(self, frame: Frame, budget: Budget, lookup: Choice) -> Choice:
        """Return the branch that runs under a budget; lookup: the choice of the lookup table.

        The scheduler's choice depends on the picture, so it is known only for the recorded budget.
        """
        scheduled = frame.chosen_by == "scheduler" and budget.fraction == frame.budget.fraction
        return self.ran(frame) if scheduled else lookup
