"""From a configuration to what recognises: engine, profile and lookup table, checked against each other."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from adainf import shipped
from adainf.allocator import give_back
from adainf.branch import Branch
from adainf.engines import Engine
from adainf.errors import AdainfError, InvalidInputError
from adainf.profile import BranchTime, Profile, Timings, write_atomically
from adainf.run import Run
from adainf.schedulers import LookupTable
from adainf.schedulers.content_aware import ContentAware, content_aware
from adainfd import state
from adainfd.config import Configuration, ModelSection
from adainfd.logs import Logger
from adainfd.observing import NOBODY, Observer

__all__ = ["LabelColumns", "Recogniser", "fits", "load_recogniser", "open_model", "read_profile", "read_run"]

_BACKBONE = "timm/tf_efficientnet_lite0"
_PROFILE = "efficientnet-lite0"
_MEASURE_SECONDS = 4.0
# Each is exported at the first start and keeps its own copy of the weights ready: 19 MB for EfficientNet-Lite0.
_MOST_BRANCHES = 12
# What steps of the start may take on a slow box, longer than which something is broken.
_LOAD_SECONDS = 900.0  # the weights may have to be downloaded
_EXPORT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Recogniser:
    """What recognises. times: median milliseconds of the forward pass along branches on this device, as measured.

    content: the run's content-aware scheduler, for the budgets at which it is better than the table.
    """

    engine: Engine
    profile: Profile
    table: LookupTable
    times: dict[str, float]
    content: ContentAware | None = None


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """The columns of the scores that one camera's labels stand in; None means all of them."""

    names: tuple[str, ...]
    columns: tuple[int, ...] | None

    @classmethod
    def of(cls, labels: tuple[str, ...], class_names: tuple[str, ...], camera: str) -> "LabelColumns":
        """The columns of `labels`; raises InvalidInputError on one that the head has not."""
        if not labels:
            return cls(class_names, None)
        for label in labels:
            if label not in class_names:
                raise InvalidInputError(f"camera {camera}: label {label!r} is none of the head's {len(class_names)}")
        return cls(labels, tuple(class_names.index(label) for label in labels))

    def asked_for(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of the head's scores (classes,) those of this camera's labels (labels,)."""
        return scores if self.columns is None else scores[list(self.columns)]

    def index(self, position: int) -> int:
        """The class index of the label at `position`."""
        return position if self.columns is None else self.columns[position]


def read_run(section: ModelSection) -> Run | None:
    """The configured run; raises InvalidInputError where it is missing, damaged or another backbone's."""
    if section.run is None:
        return None
    run = Run.read(shipped.find_run(section.run))
    if section.backbone not in (None, run.manifest.backbone):
        raise InvalidInputError(f"run {section.run}: is of {run.manifest.backbone}, the model is {section.backbone}")
    return run


def read_profile(section: ModelSection) -> Profile:
    """The configured profile; raises InvalidInputError where it is missing, corrupt, or another backbone's or run's."""
    run = read_run(section)
    if section.profile is None and run is not None:
        path = run.profile_path
        if not path.is_file():
            raise InvalidInputError(f"run {section.run}: has no profile; make it by `adainf calibrate --run`")
    else:
        path = shipped.find("profiles", section.profile or _PROFILE, ".json")
    profile = Profile.read(path)
    backbone = section.backbone or (_BACKBONE if run is None else run.manifest.backbone)
    if profile.backbone != backbone:
        raise InvalidInputError(f"profile {path}: is of {profile.backbone}, the model is {backbone}")
    if run is None and profile.adapter is not None:
        raise InvalidInputError(f"profile {path}: has branches with adapted weights; name their run with --run")
    if run is not None and profile.adapter not in (None, run.manifest.files.get("adapter.safetensors")):
        raise InvalidInputError(f"profile {path}: was calibrated with another adapter than run {section.run} has")
    return profile


def load_recogniser(
    configuration: Configuration, profile: Profile, log: Logger, observer: Observer = NOBODY
) -> Recogniser:
    """Load the network, see that the profile is its own, and prepare every branch that may be chosen."""
    observer.beginning(f"loading {profile.backbone}", _LOAD_SECONDS)
    engine = open_model(configuration, profile, lambda text: log.warning("engine", detail=text))
    section = configuration.model
    if not fits(engine, profile, section):
        log.warning(
            "profile_of_other_weights",
            profile=section.profile or section.run or _PROFILE,
            remedy="run `adainf calibrate`",
        )
    table = LookupTable(profile, most=_MOST_BRANCHES)
    branches = [choice.branch for choice in table.frontier]
    wanted = sorted({profile.space.full, *branches})
    for number, branch in enumerate(wanted, start=1):
        observer.beginning(f"preparing branch {number} of {len(wanted)}", _EXPORT_SECONDS)
        engine.warm_up([branch])
    content = content_aware(read_run(section), profile)
    if content is not None:
        observer.beginning("preparing the scheduler", _EXPORT_SECONDS)
        _warm_up(engine, content)
    times = _times(engine, profile, wanted, observer, log)
    give_back()
    return Recogniser(engine, profile, table, {branch: time.p50_ms for branch, time in times.items()}, content)


def _warm_up(engine: Engine, content: ContentAware) -> None:
    """Have every part that the scheduler may ask for ready, so that none is made on a frame's way."""
    black = np.zeros((content.resolution, content.resolution, 3), np.uint8)
    seen = engine.look(engine.prepare(black, content.resolution), content.resolution, content.weights)
    every = content.scheduler.space.full.keep
    skipped = tuple(not may for may in content.scheduler.space.droppable)
    for keep in (every, skipped):
        engine.complete(seen, keep)


def fits(engine: Engine, profile: Profile, section: ModelSection) -> bool:
    """Whether the model's weights are those that the profile was made for.

    Raises InvalidInputError where the profile is of a model of another shape.
    """
    outline = engine.outline
    if outline.droppable != profile.space.droppable or outline.preprocessing.size != profile.native_resolution:
        raise InvalidInputError(
            f"profile {section.profile or section.run or _PROFILE!r}: was made for {profile.native_resolution} pixels "
            f"and blocks {profile.droppable}, not as this {profile.backbone}; run `adainf calibrate`"
        )
    return outline.weights == profile.weights


def open_model(configuration: Configuration, profile: Profile, warn: Callable[[str], None]) -> Engine:
    """The engine with the configured network; raises UnavailableError where weights cannot be fetched."""
    from adainf.backbones import Options
    from adainf.backbones.defaults import default_weights
    from adainf.engines.opening import open_engine

    section = configuration.model
    run = read_run(section)
    texts = (*section.labels, *(label for camera in configuration.camera for label in camera.labels))
    open_vocabulary = profile.backbone.startswith("openclip/")
    options = Options(
        weights=section.weights or default_weights(profile.backbone),
        labels=tuple(dict.fromkeys(texts)) if open_vocabulary else section.labels,
        size=section.size or (None if run is None else run.manifest.native_resolution),
        mean=section.mean,
        std=section.std,
        zoom=profile.zoom,
    )
    return open_engine(
        section.engine,
        profile.backbone,
        options,
        run=run if profile.adapted or profile.scheduled else None,
        strength=profile.strength,
        runs_adapted=profile.adapted,
        device=section.device,
        threads=section.threads,
        warn=warn,
    )


def _times(
    engine: Engine, profile: Profile, branches: Sequence[Branch], observer: Observer, log: Logger
) -> dict[str, BranchTime]:
    """Times of these branches here: the profile's, those kept from an earlier start, or measured now and kept."""
    shipped_times = profile.timings_on(engine.device, engine.name, engine.threads)
    if shipped_times is not None:
        return shipped_times.times
    if profile.timings:
        others = sorted({timings.device for timings in profile.timings})
        log.warning("timings_of_another_device", measured_on=others, this=engine.device, remedy="measured anew here")
    path = state.file(
        "timings", "after a rest", profile.weights, str(profile.parts), engine.device, engine.name, str(engine.threads)
    )
    try:
        kept = Timings.model_validate_json(path.read_bytes()).times
    except (OSError, ValueError):
        kept = {}
    if all(str(branch) in kept for branch in branches):
        return kept
    from adainf.evaluation.timing import measure

    observer.beginning(f"measuring {len(branches)} branches", 10 * _MEASURE_SECONDS)
    log.info("measuring", branches=len(branches), device=engine.device, seconds_at_most=_MEASURE_SECONDS)
    measured = Timings(
        device=engine.device,
        engine=engine.name,
        threads=engine.threads,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        times={str(branch): time for branch, time in measure(engine, branches, _MEASURE_SECONDS).items()},
    )
    try:
        write_atomically(path, json.dumps(measured.model_dump(mode="json"), indent=1) + "\n")
    except AdainfError as error:
        log.warning("timings_not_kept", reason=str(error))
    return measured.times
