"""From a configuration to what recognises: engine, profile and lookup table, checked against each other."""

import os
from collections.abc import Collection

from adainf.branch import Branch
from adainf.engines import Engine, devices
from adainf.engines.gpu import libraries
from adainf.process.allocator import give_back
from adainf.profile import Profile
from adainf.recogniser import LabelColumns, Recogniser, fits, warm_up_content
from adainfd.base.keeping import Keeper
from adainfd.base.logs import Logger
from adainfd.config.configuration import Configuration, ModelSection
from adainfd.model.export_process import Exporter
from adainfd.model.selection import (
    DEFAULT_PROFILE,
    cheapest,
    content_of,
    needed_first,
    opening,
    wanted_branches,
)
from adainfd.model.timings import known_times
from adainfd.wire.observing import NOBODY, Observer

__all__ = ["load_recogniser", "open_model", "open_successor", "stand_in_of"]

# What steps of the start may take on a slow box, longer than which something is broken.
_LOAD_SECONDS = 900.0  # the weights may have to be downloaded
_EXPORT_SECONDS = 300.0


def load_recogniser(
    configuration: Configuration,
    profile: Profile,
    log: Logger,
    observer: Observer = NOBODY,
    exporter: Exporter | None = None,
    keeper: Keeper | None = None,
    stand_in: Engine | None = None,
) -> Recogniser:
    """Load the network, see that the profile is its own, and prepare the branches that may be chosen.

    exporter: makes their exports; then only the branches are prepared without which nothing can be answered.
    keeper: is told where exports cannot be kept. stand_in: recognises until another engine is open; nothing is loaded,
    and only the same few branches are prepared. On a GPU only the cheapest branch is prepared, which fits every budget.
    Raises UnavailableError where weights cannot be fetched, or the configured device cannot be used.
    """
    section = configuration.model
    observer.beginning(f"loading {profile.backbone}", _LOAD_SECONDS)
    exported = exporter is not None and exporter.have(needed_first(profile), log)
    asked = opening(configuration, profile, lambda text: log.warning("engine", detail=text))
    engine = stand_in or asked.open()
    if not fits(engine, profile, _named(section)):
        log.warning(
            "profile_of_other_weights",
            profile=_named(section),
            remedy="run `adainf calibrate`",
        )
    if exporter is not None and exporter.for_next_start and stand_in is None and not engine.on_gpu:
        exporter.begin()  # the GPU cannot be used, so it is this start that wants them
        exported = exporter.have(needed_first(profile), log)
    if exported:  # said no earlier: a start that is refused says why, and no more
        log.info("exporting", backbone=profile.backbone)
    whole = not exported and stand_in is None and not engine.on_gpu
    first = [cheapest(profile)] if engine.on_gpu else needed_first(profile)
    branches = wanted_branches(profile) if whole else first
    for number, branch in enumerate(branches, start=1):
        observer.beginning(f"preparing branch {number} of {len(branches)}", _EXPORT_SECONDS)
        engine.warm_up([branch])
    content = content_of(section, profile) if whole else None
    if content is not None:
        observer.beginning("preparing the scheduler", _EXPORT_SECONDS)
        warm_up_content(engine, content)
    if keeper is not None and not _exports_kept(engine, branches):
        keeper.missing("exports", "exports cannot be kept, and every start makes them anew")
    give_back()
    times = {} if stand_in is not None else known_times(engine, profile, wanted_branches(profile), log)
    return Recogniser.of(engine, profile, branches, times, content)


def _named(section: ModelSection) -> str:
    """The profile as the configuration names it."""
    return section.profile or section.run or DEFAULT_PROFILE


def _exports_kept(engine: Engine, branches: Collection[Branch]) -> bool:
    """Whether the next start finds the exports of these branches, where the engine has any."""
    if engine.name != "onnx":
        return True
    from adainf.engines.onnx import OnnxEngine  # onnxruntime may not be installed

    return not isinstance(engine, OnnxEngine) or all(map(engine.at_hand, branches))


def stand_in_of(configuration: Configuration, profile: Profile) -> Engine | None:
    """The processors' engine that can answer at once until the GPU's is open; None where there is none, or no GPU.

    Raises InvalidInputError or UnavailableError on a device that cannot be there.
    """
    asked = opening(configuration, profile)
    if asked.device is not None:
        devices.check(asked.device)
    if asked.name is not None or not asked.tries_gpu:
        return None
    engine = asked.on_processors.recall()
    return engine if engine is not None and all(map(engine.at_hand, needed_first(profile))) else None


def open_successor(configuration: Configuration, profile: Profile) -> Engine:
    """The GPU's engine, with what is needed first ready, opened while another thread answers.

    Raises UnavailableError where the GPU cannot be used.
    """
    libraries.load()
    engine = opening(configuration, profile).on_gpu.open()
    engine.warm_up(needed_first(profile))
    content = content_of(configuration.model, profile)
    if content is not None:
        warm_up_content(engine, content)
    return engine


def open_model(configuration: Configuration, profile: Profile) -> tuple[Engine, bool]:
    """The engine as the daemon would open it, and whether the profile was made for its weights; nothing is downloaded.

    Raises InvalidInputError where model, profile and the cameras' labels do not fit each other, UnavailableError where
    weights or a device are not here.
    """
    offline, before = "HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE")
    os.environ[offline] = "1"
    try:
        engine = opening(configuration, profile).open()
    finally:
        if before is None:
            del os.environ[offline]
        else:
            os.environ[offline] = before
    for camera in configuration.camera:
        LabelColumns.of(camera.labels, engine.class_names, camera.name)
    return engine, fits(engine, profile, _named(configuration.model))
