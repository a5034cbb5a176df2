"""What follows from what boxes say, and from their silence: without a clock and without a broker."""

from typing import Any

import msgspec
import pytest
from adainfd.relaying.mqtt.homeassistant import ONLINE
from adainfd.relaying.mqtt.relays import Relays
from adainfd.relaying.mqtt.retained import Retained
from adainfd.relaying.mqtt.roster import Roster
from adainfd.relaying.mqtt.topics import Topics
from adainfd.wire.messages import Account, Dropped, Event, Label, Present, Seen, Status, ViewState
from brokers import state_of
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

ACCOUNT = Account("online", 0, 0, 0, 0, Dropped(0, 0), 0)
Shown = dict[tuple[str, str | None], list[str]]


def beat(state: Any = "ready", started_at: float = 1.0, shown: Shown | None = None, **more: Any) -> Status:
    listed: dict[str, Any] = {}
    if shown is not None:
        present = [Present(*view, [Label(label, 0, 0.9) for label in labels]) for view, labels in shown.items()]
        listed = {"cameras": dict.fromkeys((camera for camera, _ in shown), ACCOUNT), "present": present}
    return Status(host="edge1", sequence=1, started_at=started_at, state=state, published_at=1.0, **{**listed, **more})


def happened(event: Any, label: str, region: str | None = None, started_at: float = 1.0, score: float = 0.9) -> Event:
    return Event(
        host="edge1",
        camera="door",
        region=region,
        sequence=1,
        started_at=started_at,
        published_at=1.0,
        event=event,
        label=label,
        index=0,
        score=score,
        first=Seen(1, 1.0),
        last=Seen(1, 1.0),
        seconds=0.0,
    )


def labels(roster: Roster) -> Shown:
    return {view: sorted(scores) for view, scores in roster.views("edge1").items()}


def test_a_heartbeat_sets_right_what_events_said() -> None:
    roster = Roster()
    roster.take(happened("appeared", "cat"), 0.0)
    roster.take(happened("appeared", "cat", "left"), 0.0)
    roster.take(beat(shown={("door", None): ["dog"]}), 1.0)  # a `gone` and an `appeared` were lost
    assert labels(roster) == {("door", None): ["dog"]}
    roster.take(happened("appeared", "cat"), 1.1)
    assert labels(roster) == {("door", None): ["cat", "dog"]}


@generous(100)
@given(st.lists(st.tuples(st.sampled_from(["appeared", "stays", "gone"]), st.sampled_from("abc"))))
def test_any_events_give_what_is_there(events: list[tuple[str, str]]) -> None:
    roster, there = Roster(), set()
    roster.take(beat(shown={("door", None): []}), 0.0)
    for kind, label in events:
        roster.take(happened(kind, label), 0.0)
        (there.discard if kind == "gone" else there.add)(label)
    assert labels(roster) == {("door", None): sorted(there)}


def test_a_heartbeat_sets_right_what_state_messages_said() -> None:
    roster, gate, left = Roster(), ("gate", None), ("gate", "left")
    for message in (state_of("edge1", *gate, "open"), state_of("edge1", *left, "open", previous="closed")):
        assert roster.take(msgspec.structs.replace(message, started_at=1.0), 0.0) is None
    roster.take(beat(states=[ViewState(*gate, "closed", 0.8, 7.0), ViewState(*left, "open", 0.9, 1.0)]), 1.0)
    states = roster.states("edge1")
    now = states[gate]
    assert (now.state, now.score, now.since, now.previous) == ("closed", 0.8, 7.0, None)
    assert now.options == ["closed", "open", "unknown"]
    assert states[left].previous == "closed", "what was not missed stays as it was said"
    roster.take(beat(states=[ViewState(*left, "open", 0.9, 1.0)]), 2.0)
    assert roster.states("edge1").keys() == {left}
    roster.take(beat(), 3.0)  # of a daemon that is older than states
    assert roster.states("edge1").keys() == {left}
    roster.take(beat(shown={("door", None): []}), 4.0)
    assert not roster.states("edge1")


def test_after_a_restart_nothing_of_before_is_there() -> None:
    roster = Roster()
    roster.take(beat(shown={("door", None): ["cat"], ("yard", None): ["cat"]}), 0.0)
    roster.take(beat("started", started_at=2.0), 3.0)
    assert not roster.settled("edge1", 9.0)  # it has not said which cameras it has
    roster.take(beat("ready", started_at=2.0, shown={("door", None): []}), 9.0)
    assert labels(roster) == {("door", None): []}
    assert roster.cameras("edge1") == {"door"}
    assert roster.settled("edge1", 9.0)


def test_daemons_of_one_host_stand_side_by_side() -> None:
    roster = Roster()
    for second in range(4):
        roster.take(beat(started_at=1.0, shown={("door", None): ["cat"]}), second, "ipc://a")
        roster.take(beat(started_at=2.0, shown={("yard", None): []}), second, "ipc://b")
    assert roster.cameras("edge1") == {"door", "yard"}
    assert roster.living(3.0) == (1, 2)
    roster.take(beat("stopped", started_at=1.0), 4.0, "ipc://a")
    assert roster.cameras("edge1") == {"yard"}
    assert roster.online("edge1", 4.0)


def test_a_daemon_that_stops_does_not_speak_for_another_one_of_its_host() -> None:
    roster = Roster()
    for started_at in (1.0, 2.0):
        roster.take(beat(started_at=started_at), 0.0)
    roster.take(beat("degraded", started_at=2.0), 1.0)
    roster.take(beat("stopped", started_at=1.0), 2.0)
    assert [status.state for status in [roster.status("edge1", 2.0)] if status] == ["degraded"]
    roster.take(beat("stopped", started_at=2.0), 3.0)
    assert [status.state for status in [roster.status("edge1", 3.0)] if status] == ["stopped"]


def test_stopped_daemon_shows_nothing_and_a_silent_one_what_it_showed() -> None:
    for last in (beat("stopped"), None):
        roster = Roster()
        roster.take(beat(shown={("door", None): ["cat"]}), 0.0)
        if last is not None:
            roster.take(last, 1.0)
        assert roster.online("edge1", 4.0) is (last is None)
        roster.fallen_silent(1.0)
        assert roster.fallen_silent(7.0) == ([] if last is not None else ["edge1"])
        assert labels(roster) == {("door", None): [] if last is not None else ["cat"]}


@pytest.mark.parametrize(
    ("second", "news"),
    [
        (beat(subscriptions=7, refused=3, shown={("door", None): ["cat"]}), False),
        (beat("degraded", shown={("door", None): []}), True),
        (beat(detail="the disk is full", shown={("door", None): []}), True),
        (beat(shown={("door", None): [], ("yard", None): []}), True),
    ],
)
def test_counters_are_no_news(second: Status, news: bool) -> None:
    roster = Roster()
    first = beat(shown={("door", None): []})
    for status, second_of in (first, 0.0), (second, 1.0):
        roster.take(status, second_of)
    assert roster.status("edge1", 1.0) is (second if news else first)


def test_relays_know_for_which_hosts_others_speak() -> None:
    topics = Topics("adainf", "one")
    here, there = Relays(topics, ["tcp://a:1", "tcp://b:1"]), Relays(Topics("adainf", "two"), ["tcp://c:1"])
    here.hosts |= {"a", "b"}
    there.hosts.add("c")
    again = Relays(topics, ["tcp://b:1", "tcp://a:1"])
    again.heard("adainf/relay/one/hosts", here.record, retained=True)
    assert (again.hosts, again.usual) == ({"a", "b"}, 2)
    again.heard("adainf/relay/two", ONLINE, retained=True)
    assert again.another_may_speak_for("c")  # a relay that does not say for which
    assert not again.another_may_speak_for("a")
    again.heard("adainf/relay/two/hosts", there.record, retained=True)
    assert again.another_speaks_for("c")
    assert not again.another_may_speak_for("d")
    again.heard("adainf/relay/two", b"offline", retained=False)
    assert (again.another_speaks_for("c"), again.another_knows("c")) == (False, True)
    again.heard("adainf/relay/two/hosts", b"nonsense", retained=False)
    assert not again.another_knows("c")


def test_whatever_a_box_says_a_roster_stays_small() -> None:
    roster = Roster()
    refused = 0
    for number in range(100):
        roster.take(beat(started_at=2.0 + number, shown={(f"x{n}", None): [] for n in range(100)}), 0.0, "ipc://a")
        assert len(roster.cameras("edge1")) <= 256
    for number in range(3000):
        event = msgspec.structs.replace(happened("appeared", "cat"), camera=f"c{number}")
        refused += roster.take(event, 0.0, "ipc://a") is not None
        refused += roster.take(happened("appeared", f"l{number}", f"r{number}"), 0.0, "ipc://a") is not None
        refused += roster.take(happened("appeared", f"l{number}"), 0.0, "ipc://a") is not None
    assert len(roster.cameras("edge1")) == 256
    assert len(roster.views("edge1")) == 1024
    assert max(map(len, roster.views("edge1").values())) == 256
    assert refused > 6000
    for number in range(8_000):
        roster.take(happened("appeared", f"l{number % 256}", f"r{number // 256}"), 0.0, "ipc://a")
    assert sum(map(len, roster.views("edge1").values())) == 4096
    for number in range(2000):
        state = state_of("edge1", "door", f"r{number}", None, options=[f"o{n}" for n in range(number % 200)])
        roster.take(msgspec.structs.replace(state, started_at=2.0), 0.0, "ipc://a")
        assert len(roster.states("edge1")) <= 1024
        assert sum(len(state.options) for state in roster.states("edge1").values()) <= 4096
    assert len(roster._boxes["edge1"].daemons) <= 8
    roster.take(beat(shown={("door", None): ["cat"]}, started_at=2.0), 0.0, "ipc://b")
    assert "door" in roster.cameras("edge1"), "another box of this host is heard all the same"


def test_states_of_daemons_without_end_are_forgotten() -> None:
    roster = Roster()
    for number in range(20):
        states = [ViewState("door", f"r{number}-{part}") for part in range(300)]
        roster.take(beat(started_at=1.0 + number, shown={("door", None): []}, states=states), 0.0, "ipc://a")
        assert len(roster.states("edge1")) <= 1024
    assert ("door", "r19-0") in roster.states("edge1")


def test_what_the_broker_keeps_of_a_host_is_bounded() -> None:
    retained = Retained(Topics("adainf", "one"))
    kept = [retained.keep(f"adainf/status/evil/c{number}", b"{}") for number in range(10_000)]
    large = [retained.keep(f"adainf/status/large/c{number}", b"x" * (1 << 20)) for number in range(10)]
    assert sum(kept) == len(retained.of("evil")) < 6000
    assert sum(large) == 4
    assert retained.keep("adainf/status/good", b"{}")
    sent: list[str] = []
    retained.send(lambda topic, _: len(sent) < 10 and not sent.append(topic))  # type: ignore[func-returns-value]
    assert "adainf/status/good" in sent, "each host has its turn"
    for number in range(4):
        retained.clear(f"adainf/status/large/c{number}")
    assert retained.keep("adainf/status/large/d", b"x" * (4 << 20))
