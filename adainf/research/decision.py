"""Decision points: positions where branches diverge, so that the output there can inform the choice between them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adainf.evaluation.subject import Point
from adainf.profile import Profile
from adainf.research.mixture import expected, hull
from adainf.schedulers.lookup import Choice, LookupTable

__all__ = ["DecisionPoint", "decisions_of"]

# The most expected accuracy that a group's mixtures may trail the lookup table's by; a look cannot make up for more.
_BEHIND = 0.03
_STEPS = 21


@dataclass(frozen=True, slots=True)
class DecisionPoint:
    """A point, and the menu of branches to decide between there, cheapest first; all pass the point."""

    point: Point
    menu: tuple[Choice, ...]


def decisions_of(profile: Profile, most: int) -> tuple[DecisionPoint, ...]:
    """Return at most `most` decision points after the second block or later, from the profile alone.

    A point's menu is the upper hull of expected accuracy over MACs of the branches that pass it, at least two. Of
    points with the same menu the last one counts: it costs nothing extra, and the features there say the most. Points
    are sorted by how little their menu, mixed without content, trails the lookup table at the same MACs.
    """
    full = profile.space.macs(profile.space.full)
    groups: defaultdict[Point, list[Choice]] = defaultdict(list)
    for choice in (Choice.of(measured, full) for measured in profile.branches):
        branch = choice.branch
        for length in range(2, len(branch.keep)):
            groups[Point(branch.resolution, branch.keep[:length], branch.network)].append(choice)
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
    """Return the mean expected accuracy that mixtures of `menu` trail those of `table` by, over the menu's MACs."""
    means = np.linspace(menu[0].macs_fraction, menu[-1].macs_fraction, _STEPS)
    return float(np.mean([expected(table, mean) - expected(menu, mean) for mean in means]))
