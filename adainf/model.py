"""Adaptive inference as a library: each picture gets the compute that the policy and the box allow."""

import os
import statistics
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from adainf import shipped
from adainf.answer import Answer, CallTiming, ScoredLabel
from adainf.backbones.options import Options
from adainf.base.errors import InvalidInputError
from adainf.branch import Branch
from adainf.classes.taught import Taught
from adainf.control import Budget, Decider, Policy, Ran, Request, Signals
from adainf.control.costs import Times
from adainf.control.evidence import Evidence
from adainf.engines import Engine, devices
from adainf.engines.opening import Opening
from adainf.evaluation.timer import Timer
from adainf.inference import Inference, Inferred, Way, best, evidence_of
from adainf.media import pictures
from adainf.profile import Profile
from adainf.recogniser import LabelColumns, Recogniser, fits, warm_up_content
from adainf.run import Run
from adainf.schedulers import Choice, wanted_branches, wanted_of
from adainf.schedulers.content_aware import content_aware
from adainf.sensors import Sensors
from adainf.sensors.motion import Sketch, changed_share, sketch

__all__ = ["AdaptiveModel", "Answer", "CallTiming", "ScoredLabel", "load"]

_TIMED_ROUNDS = 5
_USUAL = "efficientnet-lite"

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Shown:
    """A stream's picture, its sketch, when it was given (monotonic seconds), and the decision about it."""

    picture: Picture
    sketch: Sketch
    at: float
    request: Request


@dataclass(slots=True)
class _Stream:
    """The state of one stream of pictures.

    last: its last picture; looked_again: whether that has had its second look. answered, answered_at: sketch and time
    (monotonic seconds) of the last picture that a branch ran on; evidence: of the scene so far.
    """

    decider: Decider
    mirror: bool = True
    last: _Shown | None = None
    looked_again: bool = False
    answered: Sketch | None = None
    answered_at: float = 0.0
    evidence: Evidence | None = None


class AdaptiveModel:
    """A model whose compute follows a budget; created by `load`.

    >>> with adainf.load("efficientnet-lite", policy="low-latency") as model:
    ...     answer = model("photograph.jpg")
    ...     print(answer.labels[0].name, answer.budget.fraction, answer.budget.limited_by)

    Each stream of pictures has its own state: evidence, motion and savings. A `[share]` of the policy is for all
    streams together. Without `signals` the model reads this box's sensors, in a thread that runs from the first such
    call until `close`. Only one thread at a time may use a model.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        policy: Policy,
        labels: Sequence[str] = (),
        top: int = 5,
        device: str | None = None,
        taught: Taught | None = None,
    ) -> None:
        """labels: the classes to distinguish; none means all of the model's. top: labels per answer.

        taught: own classes, in place of the model's. device: the name of the GPU that `recogniser` runs on, if it does.
        Raises InvalidInputError on a label that is not one of the model's classes.
        """
        self._policy = policy
        self._recogniser = recogniser
        self._taught = taught
        self._labels = (
            LabelColumns.of(tuple(labels), recogniser.engine.class_names)
            if taught is None
            else LabelColumns.of_taught(taught)
        )
        self._top = top
        self._device = device
        self._asked = recogniser.asked(taught)
        self._inference = Inference(recogniser, self._asked.costs)
        self._streams: dict[str, _Stream] = {}
        self._sensors: Sensors | None = None

    def __call__(self, picture: Picture | Path | str, *, stream: str = "", signals: Signals | None = None) -> Answer:
        """Recognise the next picture of a stream: BGR bytes (height, width, 3), or the path of a file.

        signals: the controller's inputs; by default from the box's sensors, with motion and change from the stream's
        pictures. Raises InvalidInputError on any other picture, OutOfMemoryError if the GPU's memory is exhausted; the
        next call tries again.
        """
        began = time.monotonic()
        pixels = _picture(picture)
        state = self._stream(stream)
        sketched = sketch(pixels)
        if signals is None:
            signals = self._sensed(state, sketched)
        age = None if state.evidence is None else began - state.answered_at
        lead = None if state.evidence is None else state.evidence.lead
        request = state.decider.request(signals, age, lead, self._asked.table, self._asked.costs, began)
        if request.reuses and self._policy.second_look is not None:
            pixels = pixels.copy()  # `look_again` must see this picture, whatever becomes of the caller's memory
        shown = state.last = _Shown(pixels, sketched, began, request)
        state.looked_again = False
        last = state.decider.last
        if request.reuses and state.evidence is not None and last is not None:
            state.decider.settle(request, None)
            return self._answer(state.evidence, shown, last, request.budget, began, None)
        way = self._inference.within(request.budget, request.choice, self._taught)
        evidence, look = self._look(state, shown, way, began)
        state.decider.settle(request, look.ran(began))
        return self._answer(evidence, shown, look.inferred.choice, request.budget, began, look)

    def look_again(self, stream: str = "") -> Answer | None:
        """Improve the answer to the stream's last picture with what still pictures saved; None if no look is due.

        Call it when there is time before the next picture. A picture gets one second look. Raises OutOfMemoryError as a
        call does.
        """
        began = time.monotonic()
        state = self._streams.get(stream)
        if state is None or state.last is None or state.looked_again or not state.last.request.reuses:
            return None
        spent_ms = 1000 * (began - state.last.at)
        better = state.decider.better_look(self._asked.table, self._asked.costs, spent_ms)
        if better is None:
            return None
        budget, choice = better
        evidence, look = self._look(state, state.last, self._inference.along(choice, self._taught), began)
        state.decider.settle_better_look(look.ran(began))
        state.looked_again = True
        return self._answer(evidence, state.last, choice, budget, began, look)

    def forget(self, stream: str = "") -> None:
        """Discard a stream's state: its next picture is its first."""
        self._streams.pop(stream, None)
        self._divide_share()

    @property
    def policy(self) -> Policy:
        """The policy that sets the budgets."""
        return self._policy

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that the model distinguishes."""
        return self._labels.names

    @property
    def profile(self) -> Profile:
        """The model's calibration profile."""
        return self._recogniser.profile

    def close(self) -> None:
        """Stop the sensors' thread and close the engine. Idempotent."""
        if self._sensors is not None:
            self._sensors.stop()
            self._sensors = None
        self._recogniser.engine.close()
        self._streams.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stream(self, name: str) -> _Stream:
        if name not in self._streams:
            self._streams[name] = _Stream(Decider(self._policy))
            self._divide_share()
        return self._streams[name]

    def _divide_share(self) -> None:
        """Let the streams divide what the policy's `[share]` grants to all of them."""
        for state in self._streams.values():
            state.decider.policy = self._policy.part(1 / len(self._streams))

    def _sensed(self, state: _Stream, now: Sketch) -> Signals:
        on_gpu = self._recogniser.engine.on_gpu
        if self._sensors is None:
            device = devices.uuid(self._device) if on_gpu else None
            self._sensors = Sensors(lambda: [os.getpid()], lambda _name, _why: None, device=device)
            self._sensors.start()
        motion = None if state.last is None else changed_share(state.last.sketch, now)
        change = None if state.answered is None else changed_share(state.answered, now)
        return Signals.of(self._sensors.latest, motion=motion, change=change, on_gpu=on_gpu)

    def _look(self, state: _Stream, shown: _Shown, way: Way, began: float) -> tuple[Evidence, "_Look"]:
        """Run a picture; return the scene's evidence including it, and the run."""
        rule = self._policy.evidence
        mirror = rule is not None and rule.mirrored and not state.mirror
        prepared = self._recogniser.engine.prepare(
            shown.picture, way.resolution, way.network, mirrored=mirror, squeezed=way.squeezed
        )
        prepared_at = time.monotonic()
        (inferred,) = self._inference.run([way], [prepared])
        scores = self._labels.asked_for(inferred.scores)
        evidence = evidence_of(scores, inferred.choice, state.evidence, self._policy, shown.request.signals)
        state.mirror, state.evidence, state.answered, state.answered_at = mirror, evidence, shown.sketch, shown.at
        return evidence, _Look(inferred, 1000 * (prepared_at - began))

    def _answer(
        self,
        evidence: Evidence,
        shown: _Shown,
        choice: Choice,
        budget: Budget,
        began: float,
        look: "_Look | None",
    ) -> Answer:
        labels = tuple(ScoredLabel(*label) for label in best(evidence.log_shares, self._labels, self._top))
        prepare_ms, forward_ms = (0.0, 0.0) if look is None else (look.prepare_ms, look.forward_ms)
        return Answer(
            labels,
            choice.branch,
            budget,
            reused=look is None,
            macs_fraction=0.0 if look is None else choice.macs_fraction,
            signals=shown.request.signals,
            timing=CallTiming(prepare_ms, forward_ms, 1000 * (time.monotonic() - began)),
        )


@dataclass(frozen=True, slots=True)
class _Look:
    """A picture's forward pass, and the milliseconds of preparation before it."""

    inferred: Inferred
    prepare_ms: float

    @property
    def forward_ms(self) -> float:
        return 1000 * self.inferred.seconds

    def ran(self, began: float) -> Ran:
        """Return the outcome for the decider. began: start of the call, monotonic seconds."""
        around_ms = max(0.0, 1000 * (time.monotonic() - began) - self.forward_ms)
        return Ran(self.inferred.choice, self.forward_ms, around_ms, self.inferred.expected_ms)


def load(
    profile: str | None = None,
    *,
    classes: str | Path | None = None,
    policy: str | Policy = "balanced",
    run: str | Path | None = None,
    labels: Sequence[str] = (),
    weights: str | Mapping[str, str] | None = None,
    device: str | None = None,
    threads: int | None = None,
    top: int = 5,
) -> AdaptiveModel:
    """Load a model that is ready to answer.

    profile: the name of a shipped profile, or the path of one, by default efficientnet-lite; `run`, the folder of a
    run, brings its own, and so does classes, a file made by `adainf teach`, whose labels take the place of the
    networks'. policy: the name of a shipped policy, the path of one, or a `Policy`. labels: for an OpenCLIP network the
    texts to distinguish; for any other, which of its classes. weights: a file, or a name at the family's hub, of the
    profile's first network, or of its networks by name; by default an installed package's or the hub's. device: `cpu`,
    `cuda`, `cuda:1`…; by default a GPU if there is one. threads: CPU threads, by default one per processor. top: labels
    per answer.

    The first load exports the branches (a minute); later ones find the exports in the cache. Warns if a slower engine
    or the CPU has to be used, and about weights that the profile was not made for. Raises InvalidInputError on invalid
    names and files, UnavailableError if weights or a device are missing. A profile that was calibrated with its own
    `--mean` or `--std` needs the daemon, which can be configured with them.

    >>> model = adainf.load("efficientnet-lite", policy="low-latency")
    >>> for picture in frames:
    ...     answer = model(picture)
    """
    rules = Policy.read(policy) if isinstance(policy, str) else policy
    opened = None if run is None else Run.read(Path(run))
    taught = None if classes is None else Taught.read(Path(classes))
    if taught is not None and (labels or run is not None):
        raise InvalidInputError(f"classes {classes}: go with neither labels nor a run")
    known = taught.profile if taught is not None and profile is None else _profile(profile or _USUAL, opened)
    if taught is not None:
        known = known.with_branches(taught.profile, wanted_of(taught.profile))
    named = str(run or profile or classes or _USUAL)
    texts = tuple(labels) if known.reference.backbone.startswith("openclip/") else ()
    of_reference, of_networks = (weights, {}) if weights is None or isinstance(weights, str) else (None, weights)
    options = Options(weights=of_reference, labels=texts, size=known.reference.native_resolution)
    warn = partial(warnings.warn, stacklevel=2)
    opening = Opening.of(known, opened, options, weights=of_networks, device=device, threads=threads, warn=warn)
    engine = opening.open()
    try:
        known = known.of_networks(engine.outlines)
        if not fits(engine, known, named):
            warn(f"profile {named}: was made for other weights; run `adainf calibrate`")
        LabelColumns.of(tuple(labels), engine.class_names)  # refuses a wrong label before the slow part
        branches = wanted_branches(known)
        engine.warm_up(branches)
        content = content_aware(opened, known)
        if content is not None:
            warm_up_content(engine, content)
        recogniser = Recogniser.of(engine, known, branches, _times(engine, known, branches), content)
        return AdaptiveModel(recogniser, rules, labels, top, device, taught)
    except BaseException:
        engine.close()
        raise


def _profile(name: str, run: Run | None) -> Profile:
    if run is None:
        profile = Profile.read(shipped.find("profiles", name, ".json"))
        if profile.adapted is not None:
            raise InvalidInputError(f"profile {name}: has branches with adapted weights; name their run")
        return profile
    profile = Profile.read(run.profile_path)
    run.check_calibrated(profile, run.profile_path)
    return profile


def _times(engine: Engine, profile: Profile, branches: Sequence[Branch]) -> Times:
    """Return the median milliseconds along each branch: the profile's for this device, or measured now."""
    shipped_times = profile.timings_on(engine.device, engine.name, engine.threads)
    if shipped_times is not None and all(str(branch) in shipped_times.times for branch in branches):
        return {1: {str(branch): shipped_times.times[str(branch)].p50_ms for branch in branches}}
    timer = Timer(engine)
    measured: dict[Branch, list[float]] = {branch: [] for branch in branches}
    for _ in range(_TIMED_ROUNDS):
        for branch, seconds in measured.items():
            seconds.append(timer.seconds(branch))
    return {1: {str(branch): 1000 * statistics.median(seconds) for branch, seconds in measured.items()}}


def _picture(picture: Picture | Path | str) -> Picture:
    if isinstance(picture, str | Path):
        return pictures.decode(Path(picture))
    shape, dtype = getattr(picture, "shape", None), getattr(picture, "dtype", None)
    if dtype != np.uint8 or shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise InvalidInputError(f"picture of {dtype} {shape}: must be bytes (height, width, 3), BGR")
    return picture
