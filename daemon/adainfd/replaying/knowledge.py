"""The model that a trace was recorded with: its branches and their costs."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from adainf.base.errors import InvalidInputError, one_line
from adainf.branch import Branch
from adainf.control import Budget, Costs
from adainf.profile import Profile
from adainf.schedulers import Choice, LookupTable
from adainf.schedulers.content_aware import better_at
from adainfd.tracing.lines import Frame, Header, Prepared

__all__ = ["Knowledge"]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The model as known from a trace. choices: all branches of the profile, by their text."""

    table: LookupTable
    costs: Costs
    profile: Profile
    scheduler_macs: int
    choices: dict[str, Choice]

    @classmethod
    def read(cls, path: Path, header: Header) -> "Knowledge":
        """Read the model from a header; raises InvalidInputError if its profile is damaged."""
        try:
            profile = Profile.model_validate(header.profile)
        except ValidationError as error:
            raise InvalidInputError(f"trace {path}: its profile is damaged ({one_line(error, 120)})") from None
        return cls._of(profile, header)

    @classmethod
    def _of(cls, profile: Profile, line: Header | Prepared) -> "Knowledge":
        table = LookupTable(profile, allowed=lambda branch: str(branch) in line.branches)
        full_macs = profile.space.full_macs
        choices = {measured.branch: Choice.of(measured, full_macs) for measured in profile.branches}
        return cls(
            table, Costs.of(table.frontier, {1: line.times, **line.together}), profile, line.scheduler_macs, choices
        )

    def prepared(self, line: Prepared) -> "Knowledge":
        """Return the model after more branches have become ready."""
        return self._of(self.profile, line)

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
