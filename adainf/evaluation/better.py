"""Selection of the network with or without a run's adapter for each branch of a profile."""

import math

from adainf.branch import Branch
from adainf.profile import Measured, Profile
from adainf.run import Run

__all__ = ["trained_up_to", "with_better_weights"]


def trained_up_to(run: Run) -> float:
    """Return the most MACs of a branch that the run was trained for, a fraction of the full branch's."""
    ceiling = run.manifest.training.ceiling
    return 1.0 if ceiling is None else ceiling


def with_better_weights(measured: Profile, run: Run, adapted: tuple[str, str]) -> Profile:
    """Return the profile in which each branch runs either with or without the run's adapter, as its loss is lower.

    adapted: what branches name the network with the adapter, and the network that it adapts. The other measurement is
    set aside. Branches above the MACs that the run was trained for keep the base weights, even where a few pictures
    favour the adapted ones: training for cheap branches must not cost the expensive ones accuracy. All blocks can run
    adapted only if the run was trained up to them, as with the paper's recipe. The full branch is kept in any case,
    since it is the reference.
    """
    network, base = adapted
    own = measured.space.networks[base]
    ceiling = trained_up_to(run) * own.macs(own.full)
    by_path: dict[str, dict[str, Measured]] = {}
    others = []
    for candidate in measured.branches:
        branch = Branch.parse(candidate.branch)
        if branch.network in adapted:
            by_path.setdefault(branch.path, {})[branch.network] = candidate
        else:
            others.append(candidate)

    def selected(of_path: dict[str, Measured]) -> Measured:
        if base in of_path and of_path[base].macs > ceiling:
            return of_path[base]
        return min(
            of_path.items(), key=lambda item: (math.inf if item[1].loss is None else item[1].loss, item[0] == network)
        )[1]

    full = str(measured.space.full)
    kept = [*others, *map(selected, by_path.values())]
    kept += [m for m in measured.branches if m.branch == full and m not in kept]
    order = sorted(measured.branches, key=lambda m: (m.branch != full, -m.macs, Branch.parse(m.branch)))
    branches = tuple(candidate for candidate in order if candidate in kept)
    aside = tuple(candidate for candidate in order if candidate not in kept)
    return measured.model_copy(update={"branches": branches, "set_aside": aside})
