"""Decision points: places in the network where branches part, so that what was computed there tells which to take."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adainf.evaluation.subject import Point
from adainf.profile import Profile
from adainf.research.mixture import expected, hull
from adainf.schedulers.lookup import Choice, LookupTable

__all__ = ["DecisionPoint", "decisions_of"]

# How much accuracy a group's own mixtures may be behind the lookup table's: what lies further back no look makes up.
_BEHIND = 0.03
_STEPS = 21


@dataclass(frozen=True, slots=True)
class DecisionPoint:
    """A point, and the branches among which is decided there, cheapest first; all come by the point."""

    point: Point
    menu: tuple[Choice, ...]


def decisions_of(profile: Profile, most: int) -> tuple[DecisionPoint, ...]:
    """At most `most` decisions after later blocks than the first, from the profile alone.

    The branches at a point are those on the upper hull of expected accuracy over MACs, two at least. Of points with the
    same branches the last one counts: nothing more is paid for there, and the most is known. Those come first whose
    branches, mixed without any content, are least behind the lookup table at the same MACs.
    """
    full = profile.space.macs(profile.space.full)
    groups: defaultdict[Point, list[Choice]] = defaultdict(list)
    for choice in (Choice.of(measured, full) for measured in profile.branches):
        branch = choice.branch
        for length in range(2, len(branch.keep)):
            groups[Point(branch.resolution, choice.weights, branch.keep[:length])].append(choice)
    last = {}
    for point in sorted(groups, key=lambda point: len(point.kept)):
        menu = hull(groups[point])
        if len(menu) > 1:
            last[menu] = point
    table = hull(LookupTable(profile).frontier)
    behind = {DecisionPoint(point, menu): _behind(menu, table) for menu, point in last.items()}
    near = [decision for decision in behind if behind[decision] <= _BEHIND]
    return tuple(sorted(near, key=lambda decision: (behind[decision], decision.point))[:most])


def _behind(menu: Sequence[Choice], table: Sequence[Choice]) -> float:
    """By how much expected accuracy mixtures of `menu` are behind those of `table`, over the MACs of `menu`."""
    means = np.linspace(menu[0].macs_fraction, menu[-1].macs_fraction, _STEPS)
    return float(np.mean([expected(table, mean) - expected(menu, mean) for mean in means]))
