"""The configured model: its run, its profile, how to open it, and which of its branches are kept ready."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from adainf import shipped
from adainf.base import files
from adainf.base.errors import InvalidInputError
from adainf.branch import Branch
from adainf.engines import Engine
from adainf.profile import Profile
from adainf.run import Run
from adainf.schedulers import LookupTable, wanted_branches
from adainf.schedulers.content_aware import ContentAware, content_aware
from adainfd.config.configuration import Configuration, ModelSection
from adainfd.model.questions import NO_QUESTIONS, Questions

if TYPE_CHECKING:
    from adainf.engines.opening import Opening

__all__ = [
    "DEFAULT_PROFILE",
    "asked_for",
    "cheapest_of_each",
    "content_of",
    "needed_first",
    "opening",
    "read_profile",
    "read_run",
    "sizes_for",
    "wanted_branches",
]

DEFAULT_PROFILE = "efficientnet-lite"


def read_run(section: ModelSection) -> Run | None:
    """Read the configured run; raises InvalidInputError if it is missing, damaged or for another backbone."""
    if section.run is None:
        return None
    run = Run.read(section.run)
    if section.backbone not in (None, run.manifest.backbone):
        raise InvalidInputError(f"run {section.run}: is of {run.manifest.backbone}, the model is {section.backbone}")
    return run


def read_profile(section: ModelSection, questions: Questions = NO_QUESTIONS) -> Profile:
    """Read the configured profile, which also knows the branches of taught classes.

    Raises InvalidInputError if it is missing, corrupt, or of another backbone, run or taught network.
    """
    if questions.general is not None and section.profile is None and section.run is None:
        profile = questions.general.profile
        if section.backbone not in (None, *(network.backbone for network in profile.networks)):
            raise InvalidInputError(
                f"classes {section.classes}: are of {profile.title}, the model is {section.backbone}"
            )
        return questions.known_to(profile)
    return questions.known_to(_of_networks(section))


def _of_networks(section: ModelSection) -> Profile:
    run = read_run(section)
    path = _profile_path(section, run)
    profile = Profile.read(path)
    backbone = section.backbone or (None if run is None else run.manifest.backbone)
    if backbone not in (None, *(network.backbone for network in profile.networks)):
        raise InvalidInputError(f"profile {path}: is of {profile.title}, the model is {backbone}")
    if run is None and profile.adapted is not None:
        raise InvalidInputError(f"profile {path}: has branches with adapted weights; name their run with --run")
    if run is not None:
        run.check_calibrated(profile, path)
    return profile


def _profile_path(section: ModelSection, run: Run | None) -> Path:
    if section.profile is not None or run is None:
        return shipped.find("profiles", section.profile or DEFAULT_PROFILE, ".json")
    if not files.is_file(run.profile_path, "run"):
        raise InvalidInputError(f"run {section.run}: has no profile; make it by `adainf calibrate --run`")
    return run.profile_path


def asked_for(section: ModelSection, *, run: str | Path | None, profile: str | None) -> dict[str, str | None]:
    """Return the keys of [model] to set, or to remove where None, to switch to the run or profile.

    A run brings its own profile. A profile that was calibrated without a run replaces the configured run.
    Raises InvalidInputError if the profile or the configured run cannot be read.
    """
    if run is not None:
        return {"run": str(run), "profile": profile}
    if profile is None:
        return {}
    found = Profile.read(shipped.find("profiles", profile, ".json"))
    if read_run(section) is None or found.adapted is not None or found.scheduled:
        return {"profile": profile}
    return {"profile": profile, "run": None}


def opening(configuration: Configuration, profile: Profile, warn: Callable[[str], None] = lambda _: None) -> "Opening":
    """Return how to open the configured network; warn: called with each warning."""
    from adainf.backbones import Options
    from adainf.engines.opening import Opening

    section = configuration.model
    texts = (*section.labels, *(label for camera in configuration.camera for label in camera.labels))
    open_vocabulary = profile.reference.backbone.startswith("openclip/")
    options = Options(
        weights=section.weights if isinstance(section.weights, str) else None,
        labels=tuple(dict.fromkeys(texts)) if open_vocabulary else section.labels,
        size=section.size,
        mean=section.mean,
        std=section.std,
    )
    return Opening.of(
        profile,
        read_run(section),
        options,
        weights=section.weights if isinstance(section.weights, dict) else None,
        name=section.engine,
        device=section.device,
        threads=section.threads,
        warn=warn,
    )


def needed_first(profile: Profile) -> list[Branch]:
    """Return the branches required to start answering: each question's cheapest and best, and the full one."""
    own = (choice.branch for choice in LookupTable(profile, most=2).frontier)
    others = (branch for branches in profile.also for branch in branches[:2])
    return list(dict.fromkeys([profile.space.full, *own, *others]))


def cheapest_of_each(profile: Profile) -> list[Branch]:
    """Return each question's cheapest branch, which fits every budget."""
    others = (branches[0] if branches else profile.space.full for branches in profile.also)
    return list(dict.fromkeys([LookupTable(profile).frontier[0].branch, *others]))


def sizes_for(engine: Engine, pictures: int) -> tuple[int, ...]:
    """Return the engine's batch sizes, up to the first that holds `pictures`."""
    return tuple(size for index, size in enumerate(engine.sizes) if not index or engine.sizes[index - 1] < pictures)


def content_of(section: ModelSection, profile: Profile) -> ContentAware | None:
    """Return the run's content-aware scheduler if calibration found it better than the lookup table, else None."""
    return content_aware(read_run(section), profile)
