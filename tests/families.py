"""Families of networks for the tests."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemons import described, toml

from adainf.branch import REFERENCE, Branch, BranchSpace, FamilySpace, PartMacs
from adainf.profile import BranchTime, Calibration, Measured, Profile, Timings

TINY = BranchSpace(
    6,
    (False, True),
    {6: PartMacs(5, (12, 15), (0, 2), 3), 4: PartMacs(2, (6, 7), (0, 1), 3)},
)
"""The branches of a network that is smaller than `profiles.SMALL`."""


def beside(reference: Profile, other: Profile, **changes: object) -> Profile:
    """Return the profile of a family: `reference`, and beside its networks that of `other`.

    changes: what is said of that network, its name above all.
    """
    (network,) = other.networks
    branches = (m.model_copy(update={"branch": f"{changes['name']}/{m.branch}"}) for m in other.branches)
    update = {
        "networks": (*reference.networks, network.model_copy(update=changes)),
        "branches": (*reference.branches, *branches),
    }
    return Profile.model_validate(reference.model_copy(update=update).model_dump(by_alias=True))


@dataclass(frozen=True, slots=True)
class Family:
    """Two small networks that start fast: their weights by name, and a profile with timings made for this box.

    The profile describes a third network too, none of whose branches is worth its cost; its weights are nowhere.
    """

    weights: Mapping[str, Path]
    profile: Path

    def configuration(
        self,
        file: Path,
        *,
        bind: str,
        cameras: Sequence[Mapping[str, object]] = (),
        weights: Mapping[str, Path] | None = None,
        model: str = "",
    ) -> Path:
        """Write a configuration file that uses it. weights: instead of its own. model: more lines of [model]."""
        named = {name: str(path) for name, path in (self.weights if weights is None else weights).items()}
        lines = ["[model]", f"profile = {json.dumps(str(self.profile))}", f"weights = {toml(named)}", model]
        lines += ["[publish]", f"bind = [{json.dumps(bind)}]", 'host = "here"']
        for camera in cameras:
            lines += ["[[camera]]", *(f"{key} = {toml(value)}" for key, value in camera.items())]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return file


LARGE, LITTLE, UNWANTED = "resnet32", "resnet20", "resnet44"

_AGREEMENTS = {
    "32:111111111111111": 1.0,
    "32:111101111011110": 0.9,
    "resnet20/32:111111111": 0.85,
    "resnet20/24:111111111": 0.7,
    "resnet20/16:111111111": 0.6,
    "resnet44/32:111111111111111111111": 0.8,
}
"""Of each branch with the full one; the other network is better than the reference wherever it is cheaper."""


def small_family(folder: Path, labels: Sequence[str] = ()) -> Family:
    """Make it in `folder`; the branches' exports are kept in the cache folder that the environment names.

    labels: of all networks; by default those of a small network.
    """
    import torch

    from adainf.backbones import RANDOM, Options, load, weights
    from adainf.backbones.cifar import network
    from adainf.backbones.macs import branch_space
    from adainf.engines.opening import Opening
    from adainf.schedulers import wanted_branches

    torch.manual_seed(0)
    labels = labels or [f"class {number}" for number in range(10)]
    files = {name: folder / f"{name}.safetensors" for name in (LARGE, LITTLE)}
    for name, file in files.items():
        weights.write(file, network(name, len(labels)), labels)
    backbones = {name: load(f"cifar/{name}", Options(str(file))) for name, file in files.items()}
    backbones[UNWANTED] = load(f"cifar/{UNWANTED}", Options(RANDOM, tuple(labels)))
    spaces = {
        key: branch_space(backbones[name], [16, 24], key)
        for name, key in ((LARGE, REFERENCE), (LITTLE, LITTLE), (UNWANTED, UNWANTED))
    }
    space = FamilySpace(spaces)
    profile = Profile(
        networks=tuple(
            described(backbone, of) for backbone, of in zip(backbones.values(), spaces.values(), strict=True)
        ),
        calibration=Calibration(images=1, labelled=False, part="all", seed=0, created="2025-01-01", version="0"),
        branches=tuple(
            Measured(branch=text, macs=space.macs(Branch.parse(text)), accuracy=None, agreement=agreement)
            for text, agreement in _AGREEMENTS.items()
        ),
    )
    engine = Opening.of(profile, None, Options(), weights={name: str(file) for name, file in files.items()}).open()
    branches = wanted_branches(profile)
    engine.warm_up(branches)
    times = {str(branch): BranchTime(p50_ms=1 + space.fraction(branch), p95_ms=3.0) for branch in branches}
    profile = profile.with_timings(
        Timings(device=engine.device, engine=engine.name, threads=engine.threads, measured="", times=times)
    )
    profile.write(folder / "family.json")
    return Family(files, folder / "family.json")
