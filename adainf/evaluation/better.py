"""Which set of weights each branch of a run's profile runs with."""

import math

from adainf.profile import Measured, Profile
from adainf.run import Run

__all__ = ["trained_up_to", "with_better_sets"]


def trained_up_to(run: Run) -> float:
    """The most MACs of a branch that the run was trained for, a fraction of the full branch's."""
    ceiling = run.manifest.training.ceiling
    return 1.0 if ceiling is None else ceiling


def with_better_sets(measured: Profile, run: Run, known: Profile | None) -> Profile:
    """The profile with each branch once, with the set of the lower loss; the other measurement is set aside.

    measured: has branches with either set or both. known: measurements with the base weights that it lacks.
    Branches dearer than those the run was trained for keep the base weights, whatever a few pictures say: they must not
    pay for the cheap ones. The full branch may run with a run of the paper's recipe, or of every weight up to it.
    """
    ceiling = trained_up_to(run) * measured.space.macs(measured.space.full)
    of_branch: dict[str, dict[str, Measured]] = {}
    for one in (*(known.branches if known is not None else ()), *measured.branches):
        of_branch.setdefault(one.branch, {})[one.weights] = one

    def taken(branch: str) -> Measured:
        sets = of_branch[branch]
        if "base" in sets and sets["base"].macs > ceiling:
            return sets["base"]
        return min(sets.values(), key=lambda one: (math.inf if one.loss is None else one.loss, one.weights != "base"))

    order = sorted(of_branch, key=lambda branch: (-next(iter(of_branch[branch].values())).macs, branch))
    branches = tuple(taken(branch) for branch in order)
    aside = tuple(one for branch in order for one in of_branch[branch].values() if one not in branches)
    return measured.model_copy(update={"branches": branches, "set_aside": aside})
