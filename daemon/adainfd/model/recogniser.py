"""The recogniser of a configuration: engine, profile and lookup table, checked against each other."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterator

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
    cheapest_of_each,
    content_of,
    needed_first,
    opening,
    wanted_branches,
)
from adainfd.model.timings import known_times
from adainfd.wire.observing import NOBODY, Observer

__all__ = ["load_recogniser", "offline", "open_model", "open_successor", "stand_in_of"]

# Time limits for startup steps on a slow box; a step that takes longer counts as hung.
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
    """Load the network, check that the profile matches its weights, and prepare the branches that may be chosen.

    exporter: exports the branches; then only those needed first are prepared here. keeper: notified if exports cannot
    be kept. stand_in: answers until the GPU engine is open; then nothing is loaded, and only the branches needed first
    are prepared. On a GPU only the cheapest branch is prepared, which fits every budget.
    Raises UnavailableError if weights cannot be fetched, or the configured device cannot be used.
    """
    section = configuration.model
    observer.beginning(f"loading {profile.title}", _LOAD_SECONDS)
    warn = _warning_once(log)
    opened = None if exporter is None else exporter.have_first(log)
    asked = opening(configuration, profile, warn)
    if opened is not None:
        for text in opened.warnings:
            warn(text)
        asked = asked.of_networks(opened.networks)
    engine = stand_in or asked.open()
    if not fits(engine, profile, _named(section)):
        log.warning(
            "profile_of_other_weights",
            profile=_named(section),
            remedy="run `adainf calibrate`",
        )
    profile = profile.of_networks(engine.outlines)
    if exporter is not None and exporter.for_next_start and stand_in is None and not engine.on_gpu:
        exporter.begin()  # the GPU cannot be used, so this start needs the exports
        opened = exporter.have_first(log)
    exported = opened is not None
    if exported:  # logged only here: a refused start logs its reason and nothing else
        log.info("exporting", backbone=profile.title)
    whole = not exported and stand_in is None and not engine.on_gpu
    first = cheapest_of_each(profile) if engine.on_gpu else needed_first(profile)
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


def _warning_once(log: Logger) -> Callable[[str], None]:
    """Return a function that logs each warning of an engine once: the exporter and the daemon both have it."""
    seen: set[str] = set()

    def warn(text: str) -> None:
        if text not in seen:
            seen.add(text)
            log.warning("engine", detail=text)

    return warn


def _named(section: ModelSection) -> str:
    """Return the profile as the configuration names it."""
    return str(section.profile or section.run or DEFAULT_PROFILE)


def _exports_kept(engine: Engine, branches: Collection[Branch]) -> bool:
    """Return whether the next start will find the exports of these branches; True if the engine has none."""
    if engine.name != "onnx":
        return True
    from adainf.engines.onnx import OnnxEngine  # onnxruntime may not be installed

    return not isinstance(engine, OnnxEngine) or all(map(engine.at_hand, branches))


def stand_in_of(configuration: Configuration, profile: Profile) -> Engine | None:
    """Return the CPU engine that can answer at once until the GPU's is open; None without one, or without a GPU.

    Raises InvalidInputError or UnavailableError on a device that cannot exist here.
    """
    asked = opening(configuration, profile)
    if asked.device is not None:
        devices.check(asked.device)
    if asked.name is not None or not asked.tries_gpu:
        return None
    engine = asked.on_processors.recall()
    return engine if engine is not None and all(map(engine.at_hand, needed_first(profile))) else None


def open_successor(configuration: Configuration, profile: Profile, log: Logger) -> Engine:
    """Open the GPU engine with the branches needed first ready; another thread answers meanwhile.

    Raises UnavailableError if the GPU cannot be used.
    """
    libraries.load()
    engine = opening(configuration, profile, _warning_once(log)).on_gpu.open()
    profile = profile.of_networks(engine.outlines)
    engine.warm_up(needed_first(profile))
    content = content_of(configuration.model, profile)
    if content is not None:
        warm_up_content(engine, content)
    return engine


def open_model(
    configuration: Configuration, profile: Profile, warn: Callable[[str], None] = lambda _: None
) -> tuple[Engine, bool]:
    """Open the engine as the daemon would, without downloads; return it and whether the profile fits its weights.

    warn: called with each warning. Raises InvalidInputError if model, profile and the cameras' labels do not match,
    UnavailableError if weights or the device are missing here.
    """
    with offline():
        engine = opening(configuration, profile, warn).open()
    for camera in configuration.camera:
        LabelColumns.of(camera.labels, engine.class_names, camera.name)
    return engine, fits(engine, profile, _named(configuration.model))


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Keep the hub's client from downloading anything."""
    name, before = "HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE")
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
