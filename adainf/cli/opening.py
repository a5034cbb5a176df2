"""Loading of profiles, runs, and networks with pictures from command options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from adainf.engines.opening import NetworkSource
    from adainf.evaluation.subject import Subject
    from adainf.profile import Profile
    from adainf.run import Run
    from adainf.training.ranks import Ranks

__all__ = [
    "check_examples_given",
    "open_profile",
    "open_profile_of",
    "open_run",
    "open_subject",
    "sources_of_backbones",
    "sources_of_profile",
    "weights_of",
]


def open_profile(name: str) -> tuple[Path, Profile]:
    """Read the profile given by a path or a shipped name; return its path and the profile."""
    from adainf import shipped
    from adainf.profile import Profile

    path = shipped.find("profiles", name, ".json")
    return path, Profile.read(path)


def open_profile_of(run: Run | None, profile: str | None) -> Profile:
    """Read the named profile, else the run's own.

    Raises InvalidInputError if the profile was calibrated without the run, and UsageError if neither is given.
    """
    from adainf.base import files
    from adainf.base.errors import InvalidInputError
    from adainf.profile import Profile

    if profile is None:
        if run is None:
            raise click.UsageError("Missing option '--run' or '--profile'")
        if not files.is_file(run.profile_path, "run"):
            raise InvalidInputError(f"run {run.folder}: has no profile; make it by `adainf calibrate --run`")
        return Profile.read(run.profile_path)
    path, read = open_profile(profile)
    if run is not None:
        run.check_calibrated(read, path)
    return read


def open_run(folder: Path) -> Run:
    """Read the run in a folder."""
    from adainf.run import Run

    return Run.read(folder)


def check_examples_given(images: Path | None, video: Path | None, spans: Path | None) -> None:
    """Raise UsageError unless a folder of pictures is given, or a video with spans."""
    if (video is None) != (spans is None) or (images is None) == (video is None):
        raise click.UsageError("give --images, or --video and --spans")


def open_subject(
    sources: Mapping[str, NetworkSource], options: Mapping[str, Any], ranks: Ranks | None = None
) -> Subject:
    """Load the networks and list the pictures given by a command's options."""
    from adainf.evaluation import subject
    from adainf.media.images import Part

    return subject.open_subject(
        sources,
        options["images"],
        labelled=not options["unlabelled"],
        part=Part.parse(options["part"]),
        limit=options["limit"],
        seed=options["seed"],
        threads=options["threads"],
        ranks=ranks,
    )


def sources_of_profile(profile: Profile, run: Run | None, options: Mapping[str, Any]) -> dict[str, NetworkSource]:
    """Return where the networks of a profile come from, with the weights, labels and statistics of the options."""
    from adainf.backbones import Options
    from adainf.engines.opening import sources

    weights, of_networks = weights_of(options["weights"])
    given = Options(weights, options["labels"], mean=options["mean"], std=options["std"])
    return sources(profile, run, given, of_networks)


def sources_of_backbones(
    backbones: Sequence[str], size: int | None, run: Run | None, options: Mapping[str, Any]
) -> dict[str, NetworkSource]:
    """Return where the networks to calibrate come from: the backbones, the first as reference, and the run's.

    Raises InvalidInputError if options do not go together.
    """
    from adainf.backbones import Options
    from adainf.backbones.defaults import default_weights
    from adainf.base.errors import InvalidInputError
    from adainf.branch import REFERENCE
    from adainf.engines.opening import NetworkSource
    from adainf.profile.version1 import ADAPTED

    weights, of_networks = weights_of(options["weights"])
    names = [backbone.rpartition("/")[2] for backbone in backbones]
    for name in {*names, *([ADAPTED] if run is not None else [])}:
        if [*names, ADAPTED].count(name) > 1:
            raise InvalidInputError(f"backbones: two networks would be called {name}; calibrate each by itself")
    for name in sorted(set(of_networks) - set(names)):
        raise InvalidInputError(f"weights {name}=…: no such network; these are {', '.join(names)}")
    if len(backbones) > 1 and (weights or size or options["mean"] or options["std"]):
        raise InvalidInputError(
            "with several backbones --size, --mean and --std do not go, and --weights is NAME=WEIGHTS for each of them"
        )
    found = {}
    for number, (name, backbone) in enumerate(zip(names, backbones, strict=True)):
        chosen = of_networks.get(name) or weights or default_weights(backbone)
        side = run.manifest.native_resolution if run is not None and run.manifest.backbone == backbone else None
        given = Options(chosen, options["labels"], size or side, options["mean"], options["std"])
        found[name if number else REFERENCE] = NetworkSource(name, backbone, given)
    if run is not None:
        base = next((source for source in found.values() if source.backbone == run.manifest.backbone), None)
        if base is None:
            raise InvalidInputError(f"run {run.folder}: is of {run.manifest.backbone}, none of {', '.join(backbones)}")
        if run.adapter_path is not None:
            found[ADAPTED] = NetworkSource(ADAPTED, base.backbone, base.options, run)
        elif base is not found[REFERENCE]:
            raise InvalidInputError(f"run {run.folder}: has no adapter, so {base.backbone} must be the first backbone")
    return found


def weights_of(given: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """Return the weights of the reference, and those of networks by name, from values of `--weights`.

    Raises UsageError if one is given twice.
    """
    reference: str | None = None
    of_networks: dict[str, str] = {}
    for value in given:
        name, equals, weights = value.partition("=")
        if equals and "/" not in name and name not in of_networks:
            of_networks[name] = weights
        elif not equals and reference is None:
            reference = value
        else:
            raise click.UsageError(f"--weights {value}: is given twice, or is neither WEIGHTS nor NETWORK=WEIGHTS")
    return reference, of_networks
