"""Measured accuracy of a profile: the lookup table's branch at each ceiling, and its top-1 on the pictures."""

from collections.abc import Iterable
from dataclasses import dataclass

from adainf.branch import Branch
from adainf.evaluation.progress import progress
from adainf.evaluation.subject import Subject, check_subject
from adainf.profile import Profile
from adainf.schedulers import Choice, LookupTable

__all__ = ["CurvePoint", "evaluate"]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The outcome at one ceiling on the MACs.

    ceiling: a fraction of the full branch's MACs. choice: None if no branch fits. top1: the share of right answers, by
    labels if there are any, else by the full branch's answers. relative: `top1` divided by the full branch's.
    """

    ceiling: float
    choice: Choice | None
    top1: float | None
    relative: float | None


def evaluate(subject: Subject, profile: Profile, ceilings: Iterable[float]) -> list[CurvePoint]:
    """Evaluate the profile at each ceiling with the subject's networks and pictures; return one point per ceiling.

    Raises InvalidInputError if the profile is of other networks or weights.
    """
    check_subject(profile, subject)
    table = LookupTable(profile)
    choices = [(ceiling, table.choose(ceiling) if ceiling >= table.floor else None) for ceiling in ceilings]
    full = subject.full
    branch_at = {ceiling: choice.branch for ceiling, choice in choices if choice}
    top1 = _top1(subject, {full, *branch_at.values()}, full)
    points = []
    for ceiling, choice in choices:
        share = top1[branch_at[ceiling]] if choice else None
        relative = None if share is None or top1[full] == 0 else share / top1[full]
        points.append(CurvePoint(ceiling, choice, share, relative))
    return points


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
