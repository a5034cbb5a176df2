"""The model of a trace: its branches, and what they cost."""

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
    """What a trace says of the model. choices: all branches of the profile, by their text."""

    table: LookupTable
    costs: Costs
    profile: Profile
    scheduler_macs: int
    choices: dict[str, Choice]

    @classmethod
    def read(cls, path: Path, header: Header) -> "Knowledge":
        """What a header says; raises InvalidInputError where its profile is damaged."""
        try:
            profile = Profile.model_validate(header.profile)
        except ValidationError as error:
            raise InvalidInputError(f"trace {path}: its profile is damaged ({one_line(error, 120)})") from None
        return cls._of(profile, header)

    @classmethod
    def _of(cls, profile: Profile, line: Header | Prepared) -> "Knowledge":
        table = LookupTable(profile, allowed=lambda branch: str(branch) in line.branches)
        full_macs = profile.space.macs(profile.space.full)
        choices = {measured.branch: Choice.of(measured, full_macs) for measured in profile.branches}
        return cls(
            table, Costs.of(table.frontier, {1: line.times, **line.together}), profile, line.scheduler_macs, choices
        )

    def prepared(self, line: Prepared) -> "Knowledge":
        """What is known once more branches are ready."""
        return self._of(self.profile, line)

    def has(self, branch: str, *, scheduled: bool) -> bool:
        """Whether there is such a branch; scheduled: it need not be one of the profile's, but of its backbone."""
        if not scheduled:
            return branch in self.choices
        with contextlib.suppress(InvalidInputError):
            return Branch.parse(branch) in self.profile.space
        return False

    def ran(self, frame: Frame) -> Choice:
        """The branch that was recorded, as it ran."""
        if frame.chosen_by != "scheduler":
            return self.choices[frame.branch]
        space, branch = self.profile.space, Branch.parse(frame.branch)
        macs = space.macs(branch) + self.scheduler_macs
        level = better_at(self.profile.scheduled, frame.budget.fraction)
        return Choice(branch, macs, macs / space.macs(space.full), 0.0 if level is None else level.accuracy)

    def choose(self, frame: Frame, budget: Budget, lookup: Choice) -> Choice:
        """The branch that runs under a budget; lookup: the table's.

        What a picture shows is known by the scheduler's choice for it, under the recorded budget only.
        """
        scheduled = frame.chosen_by == "scheduler" and budget.fraction == frame.budget.fraction
        return self.ran(frame) if scheduled else lookup
