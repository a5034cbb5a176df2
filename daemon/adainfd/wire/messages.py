"""The daemon's message types, from which `docs/schemas/` is generated.

Unknown values are null, never 0. Adding a field keeps the schema's number; renaming or removing one raises it.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "LONGEST_LABEL",
    "LONGEST_NAME",
    "LONGEST_TEXT",
    "LONGEST_TOPIC",
    "MOST_CAMERAS",
    "MOST_LABELS",
    "MOST_STATES",
    "MOST_VIEWS",
    "SCHEMAS",
    "Account",
    "Audited",
    "CameraState",
    "ChosenBy",
    "DaemonState",
    "Dropped",
    "Event",
    "EventKind",
    "Label",
    "Message",
    "Model",
    "Plan",
    "Present",
    "Result",
    "ResultBudget",
    "ResultSignals",
    "Seen",
    "State",
    "Status",
    "Timing",
    "ViewState",
    "WhyUnseen",
    "json_schema",
    "topic_of",
]

MOST_CAMERAS = 256
"""Cameras per host."""
MOST_VIEWS = 1024
"""Views per host: its cameras and the regions of their pictures."""
MOST_LABELS = 256
"""Labels in one view at a time."""
MOST_STATES = MOST_LABELS + 1
"""States of one view: its labels, and unknown."""
MOST_NETWORKS = 16
"""Networks of a family."""
LONGEST_NAME = 100
"""Characters in the name of a host, camera or region."""
LONGEST_LABEL = 500
LONGEST_TEXT = 4000
"""Characters in any other text."""
_LARGEST = 2**53
"""The largest integer up to which every JSON reader is exact."""
_FAR = 1e11
"""Seconds: about 3000 years."""

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=_LARGEST)]
UnixTime = Annotated[float, Meta(ge=0, le=_FAR, description="Unix time, seconds")]
Seconds = Annotated[float, Meta(ge=0, le=_FAR, description="seconds")]
Milliseconds = Annotated[float, Meta(ge=0, le=1000 * _FAR, description="milliseconds")]
Sequence = Annotated[int, Meta(ge=1, le=_LARGEST, description="counts the messages of this topic from 1 without holes")]
Frame = Annotated[int, Meta(ge=1, le=_LARGEST)]
# `$` alone also matches before a trailing newline.
Name = Annotated[str, Meta(max_length=LONGEST_NAME, pattern=r"^[A-Za-z0-9_.-]+$(?!\n)")]
Words = Annotated[str, Meta(max_length=LONGEST_LABEL)]
Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]


Repeated = Annotated[bool, Meta(description="sent again for a late subscriber, with the sequence it had")]
StartedAt = Annotated[
    float,
    Meta(
        ge=0,
        le=_FAR,
        description="Unix time at which the publisher began to count, 0 if it does not say; a new one: a restart",
    ),
]


ChosenBy = Literal["lookup", "scheduler", "reuse", "second_look"]
EventKind = Literal["appeared", "stays", "gone"]
WhyUnseen = Literal["not_seen", "no_pictures", "stopped"]
DaemonState = Literal["started", "ready", "degraded", "reloaded", "reload_failed", "stopped"]
CameraState = Literal["connecting", "online", "stalled", "offline", "ended", "stopped"]


class Label(msgspec.Struct, frozen=True):
    """A recognised label, its index among the head's classes and its softmax probability."""

    label: Words
    index: Count
    score: Share


class ResultBudget(msgspec.Struct, frozen=True):
    """The largest fraction of the full branch's MACs allowed for this frame, and the rule that set it."""

    fraction: Share
    limited_by: Words


class Plan(msgspec.Struct, frozen=True):
    """The branch that ran (resolution:blocks), its chooser, its multiply-accumulates and its expected accuracy.

    weights: the backbone's own ("base"), or those adapted by a training run ("adapted"). network: the network of the
    profile's family that the branch belongs to; empty from versions without families.
    """

    branch: Annotated[str, Meta(max_length=LONGEST_LABEL, pattern="^[0-9]+:[01]+$")]
    chosen_by: ChosenBy
    macs: Count
    macs_fraction: Share
    expected_accuracy: Share
    weights: Literal["base", "adapted"] = "base"
    network: Words = ""

    @property
    def title(self) -> str:
        """The branch after its network's name."""
        return f"{self.network}/{self.branch}" if self.network else self.branch


class ResultSignals(msgspec.Struct, frozen=True):
    """The signals that the budget was derived from; shares range from 0 to 1."""

    motion: Share | None
    change: Annotated[float, Meta(ge=0, le=1, description="share that differs from the last recognised frame")] | None
    gpu_utilization: Share | None
    gpu_foreign: Share | None
    cpu_pressure: Share | None
    cpu_foreign: Share | None
    power_fraction: Annotated[float, Meta(ge=0, le=1e6, description="of the power limit")] | None = None
    temperature_celsius: Annotated[float, Meta(ge=-274, le=1e6)] | None = None
    cpu_queue: (
        Annotated[float, Meta(ge=0, le=1e9, description="others' threads that run or wait to, a processor")] | None
    ) = None


class Timing(msgspec.Struct, frozen=True):
    """Stage durations: captured → (wait) → taken → preprocess → forward → published; `total` covers all of them."""

    wait: Milliseconds
    preprocess: Milliseconds
    forward: Milliseconds
    total: Milliseconds


class Dropped(msgspec.Struct, frozen=True):
    """Unanswered frames of this camera since the start, by cause."""

    newer_frame: Count
    too_old: Count
    model_parked: Annotated[Count, Meta(description="the model had given its memory to another program")] = 0
    over_rate: Annotated[Count, Meta(description="more than the camera's max_fps")] = 0
    stopped: Annotated[Count, Meta(description="waited when the daemon stopped")] = 0
    undecodable: Annotated[Count, Meta(description="could not be decoded")] = 0


class Account(msgspec.Struct, frozen=True):
    """A camera's frame counts since the start: captured = published + reused + dropped + waiting, exactly.

    published: recognised. reused: answered with the labels of the same scene. second_looks: better looks at answered
    frames.
    """

    state: CameraState
    captured: Count
    published: Count
    reused: Count
    waiting: Count
    dropped: Dropped
    second_looks: Count


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Topic `result/HOST/CAMERA`: one answered frame."""

    schema: Literal["adainf.result/1"] = "adainf.result/1"
    host: Name
    camera: Name
    region: Annotated[Name | None, Meta(description="the part of the picture; null: all of it")] = None
    sequence: Sequence
    started_at: StartedAt = 0.0
    repeated: Repeated = False
    frame: Annotated[Frame, Meta(description="counts the camera's captured frames from 1")]
    captured_at: UnixTime
    published_at: UnixTime
    labels: Annotated[list[Label], Meta(min_length=1, max_length=MOST_LABELS, description="best first")]
    none_of_these: Annotated[bool, Meta(description="no label reaches the camera's minimum score")] = False
    looks: Annotated[Frame, Meta(description="how many looks at this scene the labels stand on")] = 1
    budget: ResultBudget
    plan: Plan
    signals: ResultSignals
    timing_ms: Timing
    dropped: Dropped


class Model(msgspec.Struct, frozen=True):
    """The model that the daemon runs, and the cost of its full branch.

    backbone, full_branch: of the reference, the network that fractions of the full branch's MACs refer to. networks:
    the names of all networks in use, the reference's first.
    """

    backbone: Text
    engine: Text
    device: Text
    full_branch: Text
    full_macs: Count
    full_ms: (
        Annotated[float, Meta(gt=0, le=1000 * _FAR, description="median time of the full branch's forward pass")] | None
    )
    networks: Annotated[tuple[Words, ...], Meta(max_length=MOST_NETWORKS)] = ()

    @property
    def title(self) -> str:
        """The backbone, or the names of several networks."""
        return ", ".join(self.networks) if len(self.networks) > 1 else self.backbone


class Audited(msgspec.Struct, frozen=True):
    """Agreement of a branch (or `reuse`) with the full branch on this camera's audited frames."""

    frames: Count
    agreed: Count


class Present(msgspec.Struct, frozen=True):
    """Labels now present in a camera's picture or one of its regions: they appeared and are not gone."""

    camera: Name
    region: Annotated[Name | None, Meta(description="null: all of the picture")] = None
    labels: Annotated[
        list[Label], Meta(max_length=MOST_LABELS, description="best first; empty where nothing is there")
    ] = []


class ViewState(msgspec.Struct, frozen=True):
    """The present state of a camera's picture or one of its regions; `State` has the meaning of the fields."""

    camera: Name
    region: Annotated[Name | None, Meta(description="null: all of the picture")] = None
    state: Words | None = None
    score: Share | None = None
    since: UnixTime | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Topics `status/HOST` (the daemon; a heartbeat every second) and `status/HOST/CAMERA` (on each change).

    detail, code: the reason for the state, as text and as one word.
    In the daemon's heartbeat, cameras: the account of each camera; present: the labels in each view of each camera,
    where an unlisted view does not exist; states: the state of each view with classes of its own; lost: counts of what
    could not be written since the start; recording: the trace being written.
    In a camera's status, account: the camera's own; retry_in: seconds until an offline camera is tried again.
    """

    schema: Literal["adainf.status/1"] = "adainf.status/1"
    host: Name
    camera: Name | None = None
    sequence: Sequence
    started_at: StartedAt = 0.0
    repeated: Repeated = False
    state: DaemonState | CameraState
    published_at: UnixTime
    subscriptions: Annotated[Count, Meta(description="topics subscribed to, over all clients")] | None = None
    refused: Annotated[Count, Meta(description="clients that were not let in, each attempt counted")] | None = None
    hung_up: Annotated[Count, Meta(description="connections hung up on, by the bounds on readers")] | None = None
    detail: Text | None = None
    code: Words | None = None
    model: Model | None = None
    cameras: Annotated[dict[Name, Account], Meta(max_length=MOST_CAMERAS)] | None = None
    present: Annotated[list[Present], Meta(max_length=MOST_VIEWS)] | None = None
    states: Annotated[list[ViewState], Meta(max_length=MOST_VIEWS)] | None = None
    account: Account | None = None
    retry_in: Seconds | None = None
    failures: Annotated[Count, Meta(description="in a row, of an offline camera")] | None = None
    audit: Annotated[dict[Words, Audited], Meta(max_length=MOST_VIEWS)] | None = None
    lost: (
        Annotated[dict[Words, Count], Meta(max_length=MOST_LABELS, description="what could not be written, by kind")]
        | None
    ) = None
    recording: Annotated[Text, Meta(description="the trace that is kept, and whether it is full")] | None = None


class Seen(msgspec.Struct, frozen=True):
    """A frame that showed a label."""

    frame: Frame
    captured_at: UnixTime


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Topic `event/HOST/CAMERA`: a label appeared, stays or is gone.

    first, last: the first and the last frame that showed it. score: the highest so far. seconds: from first to last.
    why: the reason a label is gone: no frame shows it, the camera delivers no pictures, or the daemon stopped.
    """

    schema: Literal["adainf.event/1"] = "adainf.event/1"
    host: Name
    camera: Name
    region: Annotated[Name | None, Meta(description="the part of the picture; null: all of it")] = None
    sequence: Sequence
    started_at: StartedAt = 0.0
    repeated: Repeated = False
    published_at: UnixTime
    event: EventKind
    label: Words
    index: Count
    score: Share
    first: Seen
    last: Seen
    seconds: Seconds
    why: WhyUnseen | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Topics `state/HOST/CAMERA` and `state/HOST/CAMERA/REGION`: the state of a view with classes of its own changed.

    options: every state that the view may be in. state: the new one; null while there is none, and `why` gives the
    reason: none has held for long enough yet, the camera delivers no pictures, or the daemon stopped. score: the
    highest of the frames that showed it; null where no label reaches the minimum score. since: the first frame that
    showed it; of null, the last frame. previous: the state before, which lasted for `seconds`; null where there was
    none.
    """

    schema: Literal["adainf.state/1"] = "adainf.state/1"
    host: Name
    camera: Name
    region: Annotated[Name | None, Meta(description="the part of the picture; null: all of it")] = None
    sequence: Sequence
    started_at: StartedAt = 0.0
    repeated: Repeated = False
    published_at: UnixTime
    options: Annotated[list[Words], Meta(max_length=MOST_STATES)] = []
    state: Words | None
    score: Share | None = None
    since: UnixTime | None = None
    previous: Words | None = None
    seconds: Seconds | None = None
    why: WhyUnseen | None = None


Message = Result | Status | Event | State

SCHEMAS: dict[str, type[Result] | type[Status] | type[Event] | type[State]] = {
    "result": Result,
    "status": Status,
    "event": Event,
    "state": State,
}

LONGEST_TOPIC = max(map(len, SCHEMAS)) + 3 * (1 + LONGEST_NAME)


def topic_of(message: Message) -> str:
    """Return the topic under which a message is published."""
    kind = message.schema.partition("/")[0].removeprefix("adainf.")
    region = message.region if isinstance(message, State) else None
    return "/".join(level for level in (kind, message.host, message.camera, region) if level is not None)


def json_schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a message kind: result, status, event or state."""
    schema = msgspec.json.schema(SCHEMAS[kind])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
