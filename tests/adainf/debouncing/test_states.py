"""The state of a view, told without the flicker of single frames."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from adainf.classes.labels import UNKNOWN
from adainf.debouncing.presence import PresenceRule, Sighting
from adainf.debouncing.states import StateChange, StateTracker

RULE = PresenceRule(minimum_score=0.5, appear_seconds=1.0, gone_seconds=3.0)
Shown = tuple[float, str, float]


def changes(tracker: StateTracker, shown: Iterable[Shown]) -> list[StateChange]:
    told = [tracker.see(Sighting(number, at, 1000 + at), *best) for number, (at, *best) in enumerate(shown, 1)]
    return [change for change in told if change is not None]


def test_a_state_is_told_once_it_has_held() -> None:
    shown = [(0.5 * n, "closed", 0.6 + 0.01 * n) for n in range(10)] + [(5 + 0.5 * n, "open", 0.9) for n in range(10)]
    closed, opened = changes(StateTracker(RULE), shown)
    assert (closed.state, closed.previous, closed.seconds, closed.why) == ("closed", None, None, None)
    assert (closed.since_wall, closed.score) == (1000.0, 0.62)
    assert (opened.state, opened.previous, opened.seconds, opened.since_wall) == ("open", "closed", 5.0, 1005.0)


def test_flicker_changes_nothing() -> None:
    tracker = StateTracker(RULE)
    changes(tracker, [(0.0, "closed", 0.9), (1.0, "closed", 0.9)])
    flicker = [(1.25 + 0.25 * n, "closed" if n % 4 == 0 else "open", 0.9) for n in range(100)]
    assert changes(tracker, flicker) == []


def test_a_view_that_shows_nothing_clearly_is_unknown_and_a_short_doubt_is_none() -> None:
    tracker = StateTracker(RULE)
    changes(tracker, [(0.0, "closed", 0.9), (1.0, "closed", 0.9)])
    assert changes(tracker, [(2.0, "closed", 0.4), (4.0, "open", 0.4), (4.5, "closed", 0.9)]) == []
    doubt = [(5.0 + n, "open", 0.4) for n in range(6)]
    (unknown,) = changes(tracker, doubt)
    assert (unknown.state, unknown.score, unknown.since_wall) == (UNKNOWN, None, 1005.0)
    assert (unknown.previous, unknown.seconds) == ("closed", 5.0)


def test_few_pictures_do_not_make_a_change_unknown_in_between() -> None:
    """Two pictures in ten seconds: the old state is not missed before the new one could have held."""
    slow = [(10.0 * n, "closed" if n < 3 else "open", 0.9) for n in range(6)]
    assert [change.state for change in changes(StateTracker(RULE), slow)] == ["closed", "open"]


def test_a_mistaken_look_does_not_confirm_itself() -> None:
    tracker = StateTracker(RULE)
    changes(tracker, [(0.0, "closed", 0.9), (1.0, "closed", 0.9)])
    changes(tracker, [(2.0, "open", 0.9)])
    for number in range(20):
        assert tracker.see(Sighting(number, 2.1 + 0.1 * number, 0.0), "open", 0.9, reused=True) is None
    assert changes(tracker, [(4.2, "closed", 0.9)]) == []
    opened = changes(tracker, [(5.0, "open", 0.9), (6.0, "open", 0.9)])
    assert [change.state for change in opened] == ["open"]


def test_without_pictures_and_at_the_end_there_is_no_state() -> None:
    tracker = StateTracker(RULE)
    assert (tracker.current.why, tracker.blind(9.0), tracker.stop()) == ("not_seen", None, None)
    changes(tracker, [(0.0, "closed", 0.9), (1.0, "closed", 0.9)])
    assert tracker.blind(3.9) is None
    dark = tracker.blind(4.0)
    assert dark is not None
    assert (dark.state, dark.why, dark.previous, dark.seconds) == (None, "no_pictures", "closed", 1.0)
    assert tracker.blind(5.0) is None
    assert changes(tracker, [(9.0, "closed", 0.9)]) == [], "what was shown before the pause does not count"
    (again,) = changes(tracker, [(10.0, "closed", 0.9)])
    assert (again.previous, again.since_wall) == (None, 1009.0)
    stopped = tracker.stop()
    assert stopped is not None
    assert (stopped.state, stopped.why, stopped.previous) == (None, "stopped", "closed")


@dataclass(frozen=True)
class Frame:
    passed: float
    label: str
    score: float


labels = st.sampled_from(["open", "closed", UNKNOWN])
frames = st.builds(
    Frame, st.sampled_from([0.0, 0.1, 0.5, 4.0]) | st.floats(0, 2.5), labels, st.sampled_from([0.3, 0.5, 0.9, 0.9])
)
rules = st.builds(
    PresenceRule,
    minimum_score=st.just(0.5),
    appear_seconds=st.sampled_from([0.0, 0.5, 2.0]),
    gone_seconds=st.sampled_from([0.0, 1.0, 5.0]),
)
runs = st.lists(st.builds(lambda frame, times: [frame] * times, frames, st.integers(1, 6)), max_size=25)


@given(rules, runs)
def test_what_is_told_has_held_and_what_has_held_is_told(rule: PresenceRule, history: list[list[Frame]]) -> None:
    tracker, now, before = StateTracker(rule), 100.0, StateChange(None)
    times: list[float] = []
    shown: list[str | None] = []  # clearly, by each frame
    for number, frame in enumerate(itertools.chain.from_iterable(history)):
        now += frame.passed
        times.append(now)
        shown.append(frame.label if frame.score >= rule.minimum_score else None)
        change = tracker.see(Sighting(number, now, now), frame.label, frame.score)
        if change is not None:
            assert change.since is not None
            held, since = now - change.since.at, set(shown[change.since.frame :])
            assert (since == {change.state} and held >= rule.appear_seconds) or (
                change.state == UNKNOWN and held >= rule.gone_seconds and before.state not in since - {None}
            )
            assert change.previous == before.state != change.state
            if before.since is not None:
                assert change.seconds == change.since.at - before.since.at >= 0
            before = change
        run = itertools.takewhile(lambda pair: pair[1] == shown[-1], zip(reversed(times), reversed(shown), strict=True))
        if shown[-1] is not None and now - min(at for at, _ in run) >= rule.appear_seconds:
            assert tracker.current.state == shown[-1]


@given(rules, st.lists(st.tuples(st.floats(-1e6, 1e6), labels, st.floats(0, 1)), max_size=30))
def test_a_clock_that_goes_backwards_harms_nothing(rule: PresenceRule, history: list[Shown]) -> None:
    tracker = StateTracker(rule)
    for change in changes(tracker, history):
        assert change.seconds is None or change.seconds >= 0
    last = history[-1][0] if history else 0.0
    changes(tracker, [(last - 10, "open", 0.9), (last - 10 + rule.appear_seconds, "open", 0.9)])
    assert tracker.current.state == "open"
