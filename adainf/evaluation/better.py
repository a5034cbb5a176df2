"""Which set of weights each branch of a run's profile runs with."""

import math

from adainf.profile import Measured, Profile
from adainf.run import Run

__all__ = ["with_better_sets"]


def with_better_sets(measured: Profile, run: Run, known: Profile | None) -> Profile:
    """The profile with each branch once, with the set of the lower loss; the other measurement is set aside.

    measured: has branches with either set or both. known: measurements with the base weights that it lacks.
    The full branch keeps the base weights, whatever a few pictures say: it must not pay for the cheap ones. Only a run
    that was trained for it, by every weight or by the paper's recipe, may have it.
    """
    full = str(measured.space.full)
    may_have_full = run.manifest.adapter.kind == "full" or run.manifest.training.recipe == "paper"
    of_branch: dict[str, dict[str, Measured]] = {}
    for one in (*(known.branches if known is not None else ()), *measured.branches):
        of_branch.setdefault(one.branch, {})[one.weights] = one

    def taken(branch: str) -> Measured:
        sets = of_branch[branch]
        if branch == full and not may_have_full:
            return sets["base"]
        return min(sets.values(), key=lambda one: (math.inf if one.loss is None else one.loss, one.weights != "base"))

    order = sorted(of_branch, key=lambda branch: (-next(iter(of_branch[branch].values())).macs, branch))
    branches = tuple(taken(branch) for branch in order)
    aside = tuple(one for branch in order for one in of_branch[branch].values() if one not in branches)
    return measured.model_copy(update={"branches": branches, "set_aside": aside})
