"""What appears, stays and goes, told without the flicker of single frames."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from adainf.debouncing.presence import Happening, Presence, PresenceRule, Sighting

RULE = PresenceRule(appear_seconds=1.0, gone_seconds=2.0, stay_seconds=10.0)


def told(presence: Presence, shown: Iterable[tuple[float, set[int]]]) -> list[Happening]:
    happenings: list[Happening] = []
    for number, (at, labels) in enumerate(shown, start=1):
        happenings += presence.see(Sighting(number, at, 1000 + at), dict.fromkeys(labels, 0.9))
    return happenings


def test_label_appears_stays_and_goes_with_its_first_and_last_frame() -> None:
    shown = [(0.5 * n, {3}) for n in range(30)] + [(15 + 0.5 * n, set[int]()) for n in range(6)]
    appeared, stays, gone = told(Presence(RULE), shown)
    assert (appeared.kind, appeared.label, appeared.first.frame, appeared.last.at) == ("appeared", 3, 1, 1.0)
    assert (stays.kind, stays.first.frame, stays.last.at) == ("stays", 1, 11.0)
    assert (gone.kind, gone.first.frame, gone.last.frame, gone.why) == ("gone", 1, 30, "not_seen")


def test_flicker_is_no_event() -> None:
    flicker = [(0.25 * n, {3} if n % 3 else set[int]()) for n in range(100)]
    assert told(Presence(RULE), flicker) == []


def test_short_gap_is_none() -> None:
    gaps = [(0.5 * n, set[int]() if n > 4 and n % 3 == 0 else {3}) for n in range(18)]
    assert [happening.kind for happening in told(Presence(RULE), gaps)] == ["appeared"]


def test_at_once_where_nothing_is_to_be_waited_for() -> None:
    presence = Presence(PresenceRule(appear_seconds=0, gone_seconds=0))
    happenings = told(presence, [(0, {1}), (1, {2}), (2, set[int]())])
    assert [(h.kind, h.label) for h in happenings] == [("appeared", 1), ("gone", 1), ("appeared", 2), ("gone", 2)]


def test_without_pictures_and_at_the_end() -> None:
    presence = Presence(RULE)
    told(presence, [(0, {1, 2}), (1, {1, 2}), (2, {1, 2}), (3, {2, 3})])
    assert presence.blind(3.9) == []
    assert [(h.label, h.why) for h in presence.blind(4.5)] == [(1, "no_pictures")]
    assert [(h.label, h.why) for h in presence.stop()] == [(2, "stopped")]
    assert presence.stop() == []


steps = st.lists(
    st.tuples(st.floats(0.01, 5), st.sets(st.integers(0, 3), max_size=2), st.sampled_from(["see", "see", "blind"])),
    max_size=60,
)
rules = st.builds(
    PresenceRule, appear_seconds=st.floats(0, 3), gone_seconds=st.floats(0, 5), stay_seconds=st.floats(0.1, 20)
)


@given(rules, steps)
def test_each_label_appears_then_stays_then_goes(
    rule: PresenceRule, history: list[tuple[float, set[int], str]]
) -> None:
    presence, now, happenings = Presence(rule), 0.0, []
    for number, (passed, labels, what) in enumerate(history):
        now += passed
        if what == "see":
            happenings += presence.see(Sighting(number, now, now), dict.fromkeys(labels, 0.6))
        else:
            happenings += presence.blind(now)
    happenings += presence.stop()
    for label in range(4):
        kinds = [happening.kind for happening in happenings if happening.label == label]
        last = "gone"
        for kind in kinds:
            assert (kind == "appeared") == (last == "gone")
            last = kind
        assert last == "gone"
    for happening in happenings:
        assert happening.first.at <= happening.last.at
        assert happening.last.at - happening.first.at >= rule.appear_seconds
