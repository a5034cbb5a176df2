"""Measured accuracy of a profile: the lookup table's branch at each ceiling, and its top-1 on the pictures."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from adainf.base.errors import InvalidInputError
from adainf.branch import Branch
from adainf.evaluation.progress import progress
from adainf.evaluation.subject import Subject, check_subject
from adainf.profile import Profile, Timings
from adainf.schedulers import Choice, LookupTable
from adainf.schedulers.lookup import badness_in

__all__ = ["CurvePoint", "by_macs", "by_time", "evaluate", "shares_of_time"]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The outcome at one ceiling.

    ceiling: a fraction of the full branch's MACs, or of its time. choice: None if no branch fits. time: the branch's,
    as a fraction of the full branch's; None if it was not timed. top1: the share of right answers, by labels if there
    are any, else by the full branch's answers. relative: `top1` divided by the full branch's.
    """

    ceiling: float
    choice: Choice | None
    time: float | None
    top1: float | None
    relative: float | None


def evaluate(
    subject: Subject, profile: Profile, ceilings: Iterable[float], times: Timings | None = None
) -> list[CurvePoint]:
    """Evaluate the profile at each ceiling with the subject's networks and pictures; return one point per ceiling.

    times: of branches on a device; the ceilings then limit these instead of the MACs. Raises InvalidInputError if the
    profile is of other networks or weights, or the full branch was not timed.
    """
    check_subject(profile, subject)
    full = subject.full
    shares = {} if times is None else shares_of_time(times, full)
    choose = by_macs(profile) if times is None else by_time(profile, shares)
    choices = [(ceiling, choose(ceiling)) for ceiling in ceilings]
    branch_at = {ceiling: choice.branch for ceiling, choice in choices if choice}
    top1 = _top1(subject, {full, *branch_at.values()}, full)
    points = []
    for ceiling, choice in choices:
        share = top1[branch_at[ceiling]] if choice else None
        relative = None if share is None or top1[full] == 0 else share / top1[full]
        time = shares.get(str(choice.branch)) if choice else None
        points.append(CurvePoint(ceiling, choice, time, share, relative))
    return points


def shares_of_time(times: Timings, full: Branch) -> dict[str, float]:
    """Return the median times as fractions of the full branch's."""
    if str(full) not in times.times:
        raise InvalidInputError(f"times of {times.engine} on {times.device}: are not of the full branch {full}")
    full_ms = times.times[str(full)].p50_ms
    return {branch: time.p50_ms / full_ms for branch, time in times.times.items()}


def by_macs(profile: Profile) -> Callable[[float], Choice | None]:
    """Return the lookup table's choice within a fraction of the full branch's MACs; None where no branch fits."""
    table = LookupTable(profile)
    return lambda ceiling: table.choose(ceiling) if ceiling >= table.floor else None


def by_time(profile: Profile, shares: Mapping[str, float]) -> Callable[[float], Choice | None]:
    """Return the choice of the best branch within a fraction of the full branch's time."""
    timed = [measured for measured in profile.branches if measured.branch in shares]
    full_macs = profile.space.full_macs

    def choose(ceiling: float) -> Choice | None:
        within = [measured for measured in timed if shares[measured.branch] <= ceiling]
        return Choice.of(min(within, key=badness_in(within)), full_macs) if within else None

    return choose


def _top1(subject: Subject, branches: Iterable[Branch], full: Branch) -> dict[Branch, float]:
    right = dict.fromkeys(sorted(branches, reverse=True), 0)
    with progress("evaluating, images", len(subject.paths)) as advance:
        for rows, pictures in subject.batches():
            answers = subject.top1(pictures, right)
            truth = subject.truth(rows, answers[full])
            for branch in right:
                right[branch] += int((answers[branch] == truth).sum())
            advance(len(pictures))
    return {branch: count / len(subject.paths) for branch, count in right.items()}
