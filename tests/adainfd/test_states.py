"""States of views, as subscribers, a page and a terminal are told them by the daemon's own pipeline."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from adainfd.answering.results import states
from adainfd.client import Message, State, Status, Subscriber
from adainfd.service.metrics import Metrics
from adainfd.service.overview import Overview
from adainfd.terminal.tail import state_line
from adainfd.terminal.watch import view
from adainfd.tracing.trace import NoTrace
from adainfd.wire.messages import ViewState
from adainfd.wire.observing import Observer
from adainfd.wire.serving.publisher import Publisher
from daemons import await_true, listening
from jsonschema import Draft202012Validator
from live import Live, Step
from profiles import SMALL, profile
from rich.console import Console
from streams import a_result

from adainf.control import Policy
from adainf.control.policy import ReuseRule
from adainf.debouncing.presence import PresenceRule
from adainf.debouncing.states import StateTracker

SCHEMA = Draft202012Validator(
    json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "state.json").read_text(encoding="utf-8"))
)
RULE = PresenceRule(appear_seconds=0.5, gone_seconds=2.0)
REUSING = Policy(reuse=ReuseRule(change=0.0005, change_by_lead=0.1, seconds=1.0))
CAT, DOG, NEITHER = 8.0, -8.0, 0.0
"""How far the engine's first class leads."""


class Heard(Observer):
    """Remembers the states that were published."""

    def __init__(self) -> None:
        self.states: list[State] = []

    def published(self, message: Message) -> None:
        if isinstance(message, State):
            self.states.append(message)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def publisher(ipc: str, heard: Heard) -> Iterator[Publisher]:
    publishes = Publisher([ipc], heard)
    yield publishes
    publishes.close()


@pytest.fixture
def live(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> Live:
    """A camera with a picture that has no states, and one whose two regions have."""
    made = Live(
        profile(SMALL, []),
        [(Policy(), 1), (REUSING, 2)],
        lambda *_: NoTrace(),
        publisher,
        monkeypatch,
        batches=False,
        scheduled=False,
        ready=1,
    )
    for region in made.streams[1].views:
        region.states = StateTracker(RULE)
    return made


def show(live: Live, lead: float, seconds: float) -> None:
    """Have both cameras show this for a time, ten frames a second."""
    for _ in range(round(10 * seconds)):
        live.step(
            Step(
                seconds=0.1,
                cameras=(0, 1),
                scene=0,
                motion=None,
                load=None,
                heat=None,
                slowdown=0.0,
                lead=lead,
                hurried=True,
                whole=True,
                memory=None,
            )
        )


def test_each_region_has_a_topic_and_a_sequence_of_its_own(live: Live, publisher: Publisher, ipc: str) -> None:
    with listening(ipc, b"state/") as receive:
        await_true(lambda: publisher.resend_last() or publisher.subscriptions, 10, "a reader")
        for stream in live.streams:
            live._pipeline.introduce(stream)
        for lead in (CAT, DOG, CAT, NEITHER):
            show(live, lead, 0.3 if lead == DOG else 4.0)
        told = [receive(5) for _ in range(6)]
    for topic, message in told:
        SCHEMA.validate(message)
        assert topic == f"state/here/c1/{message['region']}"
    for region in ("r0", "r1"):
        first, cat, unknown = (message for _, message in told if message["region"] == region)
        assert [message["sequence"] for message in (first, cat, unknown)] == [1, 2, 3]
        assert first["options"] == ["cat", "dog", "lorry", "unknown"]
        assert (first["state"], first["why"], first["since"]) == (None, "not_seen", None)
        assert (cat["previous"], cat["score"] > 0.9, cat["seconds"]) == (None, True, None)
        assert (unknown["previous"], unknown["score"]) == ("cat", None)
        assert unknown["seconds"] == pytest.approx(unknown["since"] - cat["since"], abs=2e-3)
        assert unknown["seconds"] == pytest.approx(8.3, abs=1.1)  # looks are a second apart


def test_late_readers_are_told_the_present_state_of_each_view(live: Live, publisher: Publisher, ipc: str) -> None:
    show(live, CAT, 3.0)
    show(live, DOG, 3.0)
    with Subscriber(ipc, topics=["state/"]) as messages:
        told: list[Message] = []

        def all_told() -> bool:
            publisher.resend_last()
            message = messages.receive(0.01)
            told.extend([] if message is None else [message])
            return len(told) == 2

        await_true(all_told, 10, "the last states")
        assert [(m.region, m.state, m.previous, m.repeated) for m in told if isinstance(m, State)] == [
            ("r0", "dog", "cat", True),
            ("r1", "dog", "cat", True),
        ]
    assert [(now.camera, now.region, now.state) for now in states(live.streams)] == [
        ("c1", "r0", "dog"),
        ("c1", "r1", "dog"),
    ]


def test_one_mistaken_look_at_a_still_scene_changes_nothing(live: Live, heard: Heard) -> None:
    show(live, CAT, 3.0)
    for _ in range(20):
        show(live, DOG, 0.9)  # less than an answer is reused
        show(live, CAT, 2.2)
    assert {message.state for message in heard.states} == {"cat"}
    assert live.streams[1].camera.account.reused > 100


def test_no_state_outlives_its_camera(live: Live, heard: Heard) -> None:
    show(live, CAT, 3.0)
    live._pipeline.let_go(live.streams[1])
    live._pipeline.introduce(live.streams[1])
    assert [(m.state, m.why, m.previous) for m in heard.states if m.region == "r1"] == [
        ("cat", None, None),
        (None, "stopped", "cat"),
        (None, "stopped", "cat"),
    ]


def told(state: str | None, region: str | None = None, **more: Any) -> State:
    named: dict[str, Any] = {"host": "here", "camera": "gate", "region": region, "sequence": 1, "published_at": 1.0}
    return State(**named, state=state, **more)


def heartbeat(*shown: ViewState) -> Status:
    return Status(host="here", sequence=1, state="ready", published_at=1.0, lost={}, cameras={}, states=list(shown))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_overview_follows_changes_and_a_heartbeat_sets_it_right() -> None:
    overview = Overview()
    for message in (told("open", score=0.9, since=5.0), told("empty", "left"), told("full", "left")):
        overview.published(message)
    (gate,) = overview.view().cameras
    assert gate.states == (ViewState("gate", None, "open", 0.9, 5.0), ViewState("gate", "left", "full"))
    overview.published(heartbeat(ViewState("gate", "left", "empty")))
    (gate,) = overview.view().cameras
    assert gate.states == (ViewState("gate", "left", "empty"),)
    for number in range(1000):
        overview.published(told("open", f"r{number}"))
    assert len(overview.view().cameras[0].states) == 100


def test_metrics_count_the_time_in_each_state() -> None:
    clock, overview = Clock(), Overview()
    metrics = Metrics(overview, clock=clock)
    counted: list[float] = []
    for at, message in (
        (0.0, told(None)),
        (10.0, told("open", since=9.0)),
        (11.0, heartbeat(ViewState("gate", None, "open"))),
        (14.0, told("closed", since=13.0)),
        (15.0, heartbeat(ViewState("gate", None, "closed"))),
        (17.0, told(None)),
        (30.0, heartbeat(ViewState("gate"))),
        (31.0, told("open", "left")),
    ):
        clock.now = at
        overview.published(message)
        metrics.published(message)
        text = metrics.text().decode()
        seconds = dict(re.findall(r'adainf_state_seconds_total{camera="gate",region="",state="(\w+)"} (\S+)', text))
        counted.append(float(seconds.get("open", 0)))
    assert counted == [0, 0, 1, 4, 4, 4, 4, 4]
    assert float(seconds["closed"]) == 3
    assert re.findall(r"adainf_state_info{.*", text) == [
        'adainf_state_info{camera="gate",region="left",state="open"} 1.0'
    ]


def test_states_in_the_terminal() -> None:
    closed = told("closed", "left", score=0.983, previous="open", seconds=12.34)
    assert state_line(closed) == "   gate/left   state  closed 0.98, open before for 12.3 s"
    assert state_line(told(None, why="no_pictures")) == "        gate   state  no state (no_pictures)"
    assert "\x1b" not in state_line(told("\x1b[2Jopen"))
    assert "\x1b" not in shown_by_watch(told("\x1b[2Jopen"))
    assert "left: closed, right: –" in shown_by_watch(closed, told(None, "right"))
    assert re.search(r"^gate +online +open ", shown_by_watch(told("open")), re.MULTILINE)


def shown_by_watch(*messages: State) -> str:
    overview = Overview()
    online = Status(host="here", camera="gate", sequence=1, state="online", published_at=1.0)
    for message in (online, msgspec.structs.replace(a_result(1), camera="gate"), *messages):
        overview.published(message)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(view(overview.view(), "receiving", 0, 200))
    return console.export_text()
