"""Selection of base or adapted weights for each branch of a run's profile."""

import math

from adainf.profile import Measured, Profile
from adainf.run import Run

__all__ = ["trained_up_to", "with_better_sets"]


def trained_up_to(run: Run) -> float:
    """Return the most MACs of a branch that the run was trained for, a fraction of the full branch's."""
    ceiling = run.manifest.training.ceiling
    return 1.0 if ceiling is None else ceiling


def with_better_sets(measured: Profile, run: Run, known: Profile | None) -> Profile:
    """Return the profile with each branch once, with the weights of the lower loss; the other measurement is set aside.

    measured: branches with either set of weights or both. known: measurements with the base weights that `measured`
    lacks. Branches above the MACs that the run was trained for keep the base weights, even where a few pictures favour
    the adapted ones: training for cheap branches must not cost the expensive ones accuracy. The full branch can take
    adapted weights only if the run was trained up to it, as with the paper's recipe.
    """
    ceiling = trained_up_to(run) * measured.space.macs(measured.space.full)
    of_branch: dict[str, dict[str, Measured]] = {}
    for candidate in (*(known.branches if known is not None else ()), *measured.branches):
        of_branch.setdefault(candidate.branch, {})[candidate.weights] = candidate

    def selected(branch: str) -> Measured:
        sets = of_branch[branch]
        if "base" in sets and sets["base"].macs > ceiling:
            return sets["base"]
        return min(
            sets.values(),
            key=lambda candidate: (math.inf if candidate.loss is None else candidate.loss, candidate.weights != "base"),
        )

    order = sorted(of_branch, key=lambda branch: (-next(iter(of_branch[branch].values())).macs, branch))
    branches = tuple(selected(branch) for branch in order)
    aside = tuple(
        candidate for branch in order for candidate in of_branch[branch].values() if candidate not in branches
    )
    return measured.model_copy(update={"branches": branches, "set_aside": aside})
