"""Loading of profiles, runs, and networks with pictures from command options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pathlib import Path

    from adainf.evaluation.subject import Subject
    from adainf.profile import Profile
    from adainf.run import Run
    from adainf.training.ranks import Ranks

__all__ = ["open_profile", "open_profile_of", "open_run", "open_subject"]


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


def open_run(name: str) -> Run:
    """Read the run given by a folder or a shipped name."""
    from adainf import shipped
    from adainf.run import Run

    return Run.read(shipped.find_run(name))


def open_subject(
    backbone: str,
    size: int | None,
    options: dict[str, Any],
    run: Run | None = None,
    zoom: float = 0.0,
    strength: float = 1.0,
    ranks: Ranks | None = None,
) -> Subject:
    """Load the network and list the pictures given by a command's options."""
    from adainf.backbones import Options
    from adainf.evaluation import subject
    from adainf.media.images import Part

    return subject.open_subject(
        backbone,
        Options(options["weights"], options["labels"], size, options["mean"], options["std"], zoom),
        options["images"],
        labelled=not options["unlabelled"],
        part=Part.parse(options["part"]),
        limit=options["limit"],
        seed=options["seed"],
        threads=options["threads"],
        run=run,
        strength=strength,
        ranks=ranks,
    )
