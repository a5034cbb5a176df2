"""Validate a training request, then train and write the run.

Every check precedes the first step.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from pydantic import JsonValue

from adainf import __version__
from adainf.backbones import Backbone, Options, defaults, load
from adainf.backbones.adapters import Kind, attach
from adainf.backbones.macs import branch_space
from adainf.backbones.weights import fingerprint
from adainf.base import files
from adainf.base.errors import InvalidInputError
from adainf.branch import Branch
from adainf.media import images
from adainf.media.undecodable import PassedOver
from adainf.outline import check_same_classes
from adainf.profile import Profile
from adainf.run import AdapterSection, BatchNorm, Manifest, Run, Training, digest, now
from adainf.schedulers import LookupTable
from adainf.schedulers.block_scheduler import Bound
from adainf.training import devices
from adainf.training.checkpoint import checkpoint_path
from adainf.training.data.small import SmallViews, keep, may_be_shown
from adainf.training.data.sources import TrainingSource, open_sources
from adainf.training.data.views import Sampling, ViewFeed, Views
from adainf.training.loop import TrainingPlan, train
from adainf.training.ranks import Ranks
from adainf.training.recipes.block_scheduler import PaperRecipe
from adainf.training.recipes.distil import Distillation
from adainf.training.recipes.recipe import Recipe

__all__ = ["TrainingRequest", "adapt", "default_resolutions"]


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """A training request.

    bound, overrun_weight: for the recipe `paper`: whether its scheduler may exceed a budget (`soft`), and λ, the cost
    of exceeding it. mix: sampling weight of each source in `images`; empty means equal. resolutions: empty means the
    defaults. ceiling: the most MACs of a drawn branch, a fraction of the full branch's. profile: draw only branches in
    its lookup table. batch: views per step. zoom: how much less of a view smaller inputs show; None takes the
    profile's, else 0. least_area: see `Sampling`. resume: continue an unfinished training in `out`. threads: CPU
    threads; None takes this process's share of all. device: `cpu`, `cuda`, `cuda:1`; None selects a GPU if one is
    available. batch_norm: whether its running statistics are frozen or trained. teacher: the backbone that teaches with
    the recipe `distil`; None means the one that learns.
    """

    backbone: str
    options: Options
    images: tuple[Path, ...]
    labelled: bool
    mix: tuple[float, ...]
    recipe: Literal["distil", "paper"]
    bound: Bound
    overrun_weight: float
    adapt: Kind
    rank: int
    alpha: float
    resolutions: tuple[int, ...]
    ceiling: float
    profile: Path | None
    zoom: float | None
    least_area: float
    batch: int
    seed: int
    plan: TrainingPlan
    out: Path
    resume: bool
    threads: int | None = None
    device: str | None = None
    batch_norm: BatchNorm = "frozen"
    teacher: str | None = None
    teacher_weights: str | None = None


def adapt(request: TrainingRequest, ranks: Ranks) -> Run:
    """Train as requested and write the run; raises InvalidInputError if the request cannot be met."""
    _check_folder(request)
    if request.batch % ranks.count:
        raise InvalidInputError(f"batch {request.batch}: must be a multiple of the {ranks.count} processes")
    device = devices.chosen(request.device, ranks)
    threads = request.threads or ranks.threads
    torch.set_num_threads(threads)
    backbone = _load(request)
    weights = fingerprint(backbone)
    backbone.to(device)
    teacher = _teacher(request, backbone, device)
    sources = open_sources(request.images, backbone.classes if request.labelled else None, backbone.native_resolution)
    shares = request.mix or (1.0,) * len(sources)
    if len(shares) != len(sources) or min(shares) < 0 or not sum(shares):
        raise InvalidInputError(f"mix {shares}: must be {len(sources)} shares, one for each of the images' sources")
    profile = _profile(request, backbone, weights)
    menu = _menu(request, profile)
    zoom = request.zoom if request.zoom is not None else profile.reference.zoom if profile is not None else 0.0
    sides = _sides(request, backbone, menu)
    if max(sides) > backbone.native_resolution:
        raise InvalidInputError(
            f"resolution {max(sides)}: must be at most {backbone.native_resolution}, where {backbone.name} is native"
        )
    settings = _settings(request, backbone, weights, sources, shares, sides, menu, zoom)
    settings["teacher"] = None if teacher is backbone else fingerprint(teacher)
    recipe = _recipe(request, backbone, teacher, sides, menu, ranks)
    sampling = Sampling(
        shares,
        replace(backbone.preprocessing, zoom=zoom),
        request.batch,
        request.seed,
        ranks,
        recipe.resolutions,
        request.least_area,
    )
    views = _feed(sources, sampling, min(sides), device, threads)
    progress = train(recipe, views, request.plan, request.out, settings, ranks)
    passed_over = PassedOver()
    for source in sources:
        passed_over += source.passed_over
    passed_over.tell()
    manifest = Manifest(
        schema="adainf.run/1",
        backbone=backbone.name,
        weights=weights,
        native_resolution=backbone.native_resolution,
        adapter=_told(request),
        scheduler=_scheduler(request),
        training=Training(
            recipe=recipe.name,
            sources=tuple(source.name for source in sources),
            mix=tuple(share / sum(shares) for share in shares),
            images=sum(source.count for source in sources),
            labelled=request.labelled,
            resolutions=tuple(sides),
            ceiling=request.ceiling if recipe.name == "distil" else None,
            branches=tuple(map(str, menu)),
            teacher=request.teacher,
            least_area=request.least_area,
            zoom=zoom,
            steps=progress.step,
            batch=request.batch,
            learning_rate=request.plan.learning_rate,
            batch_norm=request.batch_norm,
            seed=request.seed,
            seconds=round(progress.seconds, 1),
            loss=progress.loss,
            agreement=progress.agreement,
            created=now(),
            version=__version__,
        ),
        files={},
    )
    if ranks.is_first:
        names = recipe.save(request.out)
        files = {name: digest(request.out / name) for name in names}
        run = Run.write(request.out, manifest.model_copy(update={"files": files}))
        checkpoint_path(request.out).unlink(missing_ok=True)
        return run
    return Run(request.out, manifest)


def _check_folder(request: TrainingRequest) -> None:
    files.check_new_folder(request.out)
    if (request.out / "manifest.json").exists():
        raise InvalidInputError(f"{request.out}: holds a finished run; give another folder")
    if checkpoint_path(request.out).exists() and not request.resume:
        raise InvalidInputError(f"{request.out}: holds an unfinished training; give --resume or another folder")


def _load(request: TrainingRequest) -> Backbone:
    options = replace(request.options, weights=request.options.weights or defaults.default_weights(request.backbone))
    if request.backbone.startswith("openclip/") and not options.labels and request.labelled:
        folders = [
            picture.folder
            for folder in request.images
            if files.is_folder(folder, "images")
            for picture in images.listing(folder, labelled=True)
            if picture.folder is not None
        ]
        options = replace(options, labels=images.label_texts(folders))
    backbone = load(request.backbone, options)
    return backbone.to(memory_format=torch.channels_last)


def _teacher(request: TrainingRequest, backbone: Backbone, device: torch.device) -> Backbone:
    """Return the network that teaches; raises InvalidInputError unless it has the classes of the one that learns."""
    if request.teacher is None:
        return backbone
    if request.recipe != "distil":
        raise InvalidInputError(f"teacher {request.teacher}: goes with the recipe 'distil'")
    weights = request.teacher_weights or defaults.default_weights(request.teacher)
    is_named = bool(request.options.labels) or request.teacher.startswith("openclip/")
    teacher = load(request.teacher, Options(weights, backbone.classes.names if is_named else ()))
    check_same_classes({backbone.name: backbone.classes.names, teacher.name: teacher.classes.names})
    return teacher.to(device).to(memory_format=torch.channels_last)


def _sides(request: TrainingRequest, backbone: Backbone, menu: Sequence[Branch]) -> tuple[int, ...]:
    if request.recipe == "distil":
        return request.resolutions or tuple({branch.resolution: 0 for branch in menu}) or default_resolutions(backbone)
    if request.resolutions not in ((), (backbone.native_resolution,)):
        raise InvalidInputError(
            f"resolutions {request.resolutions}: the recipe 'paper' knows the native one, "
            f"{backbone.native_resolution}, alone; leave them out or use the recipe 'distil'"
        )
    return (backbone.native_resolution,)


def _scheduler(request: TrainingRequest) -> Literal["none", "paper-hard", "paper-soft"]:
    if request.recipe == "distil":
        return "none"
    return "paper-hard" if request.bound == "hard" else "paper-soft"


def _profile(request: TrainingRequest, backbone: Backbone, weights: str) -> Profile | None:
    if request.profile is None:
        return None
    profile = Profile.read(request.profile)
    key = next((key for key, network in profile.of_key.items() if network.weights == weights), None)
    if key is None:
        raise InvalidInputError(f"profile {request.profile}: was calibrated for other weights of {backbone.name}")
    return profile.alone(key)


def _menu(request: TrainingRequest, profile: Profile | None) -> list[Branch]:
    """Return the branches of the profile's lookup table that are within the ceiling; none without a profile."""
    if profile is None:
        return []
    menu = [
        choice.branch
        for choice in LookupTable(profile).frontier
        if choice.macs_fraction <= request.ceiling
        and choice.branch.resolution in (request.resolutions or profile.reference.parts)
    ]
    missing = set(request.resolutions) - {branch.resolution for branch in menu}
    if missing or not menu:
        at = f" at {min(missing)} px" if missing else ""
        raise InvalidInputError(
            f"profile {request.profile}: its lookup table takes no branch{at} within the ceiling {request.ceiling}"
        )
    return menu


def _feed(
    sources: Sequence[TrainingSource], sampling: Sampling, smallest: int, device: torch.device, threads: int
) -> ViewFeed:
    """Return views of pictures held in memory if they are small enough, else of pictures decoded on demand.

    smallest: side of the smallest input, pixels.
    """
    kept = keep(sources, device, threads)
    if kept is not None and may_be_shown(kept, smallest):
        return SmallViews(kept, sampling)
    return Views(sources, sampling, device, threads)


def _recipe(
    request: TrainingRequest,
    backbone: Backbone,
    teacher: Backbone,
    sides: Sequence[int],
    menu: Sequence[Branch],
    ranks: Ranks,
) -> Recipe:
    if request.recipe == "paper" and not any(backbone.droppable):
        raise InvalidInputError(f"backbone {backbone.name!r}: has no block to skip, so nothing to schedule")
    if request.recipe == "distil" and request.adapt == "none":
        raise InvalidInputError("adapt 'none': leaves nothing to train with the recipe 'distil'; give lora or full")
    space = branch_space(backbone, sides)
    adapter = attach(backbone, request.adapt, request.rank, request.alpha, request.seed)
    if request.batch_norm == "train":
        adapter.move_statistics()
    if request.recipe == "distil":
        return Distillation(
            teacher, adapter, space, resolutions=sides, ceiling=request.ceiling, seed=request.seed, menu=menu
        )
    return PaperRecipe(
        backbone,
        adapter,
        space,
        bound=request.bound,
        overrun_weight=request.overrun_weight,
        batch=request.batch,
        seed=request.seed,
        ranks=ranks,
    )


def _told(request: TrainingRequest) -> AdapterSection:
    if request.adapt == "lora":
        return AdapterSection(kind="lora", rank=request.rank, alpha=request.alpha)
    return AdapterSection(kind=request.adapt)


def default_resolutions(backbone: Backbone) -> tuple[int, ...]:
    """Return the two resolutions of cheap branches: about 4/7 and 5/7 of the native one; 128 and 160 for 224."""
    step = backbone.resolution_step
    sides = (round(backbone.native_resolution * share / 7 / step) * step for share in (4, 5))
    return tuple(dict.fromkeys(max(step, side) for side in sides))


def _settings(
    request: TrainingRequest,
    backbone: Backbone,
    weights: str,
    sources: Sequence[TrainingSource],
    shares: Sequence[float],
    sides: Sequence[int],
    menu: Sequence[Branch],
    zoom: float,
) -> dict[str, JsonValue]:
    """Return everything the outcome depends on, for the checkpoint."""
    identity = repr([(source.identity, source.labels) for source in sources])
    return {
        "version": __version__,
        "backbone": backbone.name,
        "weights": weights,
        "preprocessing": repr(backbone.preprocessing),
        "images": hashlib.sha256(identity.encode()).hexdigest(),
        "labelled": request.labelled,
        "mix": list(shares),
        "recipe": request.recipe,
        "scheduler": _scheduler(request),
        "overrun weight": request.overrun_weight,
        "adapt": request.adapt,
        "rank": request.rank,
        "alpha": request.alpha,
        "batch norm": request.batch_norm,
        "resolutions": list(sides),
        "ceiling": request.ceiling,
        "branches": list(map(str, menu)),
        "zoom": zoom,
        "least area": request.least_area,
        "batch": request.batch,
        "seed": request.seed,
        "learning rate": request.plan.learning_rate,
        "steps": request.plan.steps,
        "seconds": request.plan.seconds,
    }
