"""Whatever comes in from the network is read, or told as unreadable; holes are counted exactly."""

import msgspec
import pytest
from adainfd.wire.messages import SCHEMAS, Message, Status, topic_of
from adainfd.wire.reading.inbox import Gap, Inbox, Unreadable
from generated import generous
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import TOPIC, a_result

Notices = list[Gap | Unreadable]
PACK = {"json": msgspec.json.encode, "msgpack": msgspec.msgpack.encode}

texts = st.text(max_size=12)
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
fields = sorted({field.name for type_ in SCHEMAS.values() for field in msgspec.structs.fields(type_)})


def packed(tree: object, form: str) -> bytes:
    try:
        return PACK[form](tree)
    except (OverflowError, ValueError, msgspec.EncodeError):  # a number that this form does not know
        return b"{}"


@pytest.mark.generated
@generous(400)
@given(
    parts=st.lists(st.binary(max_size=40), min_size=1, max_size=3)
    | st.tuples(st.sampled_from([f"{kind}/here/door".encode() for kind in SCHEMAS]), st.binary(max_size=80)).map(list)
)
def test_random_bytes_are_told_as_unreadable(parts: list[bytes]) -> None:
    notices: Notices = []
    assert Inbox(notices.append).take(parts) is None
    assert [type(notice) for notice in notices] == [Unreadable]


@pytest.mark.parametrize(
    "body",
    [
        b'{"x":' + b"[" * 100_000,
        b'{"x":' * 100_000,
        b"\x81\xa1x" + b"\x91" * 100_000,
        b"\x81\xa1x" * 100_000,
        b'{"host":"\xff"}',
        b'{"sequence":' + b"9" * 5000 + b"}",
        b"\xdf\xff\xff\xff\xff",
    ],
)
def test_what_is_nested_or_claimed_without_end_is_told_as_unreadable(body: bytes) -> None:
    notices: Notices = []
    assert Inbox(notices.append).take([b"status/here", body]) is None
    assert [type(notice) for notice in notices] == [Unreadable]


@pytest.mark.generated
@generous(400)
@given(
    kind=st.sampled_from(sorted(SCHEMAS)),
    form=st.sampled_from(sorted(PACK)),
    changes=st.dictionaries(st.sampled_from(fields), trees, min_size=1, max_size=4),
)
def test_messages_with_anything_in_any_field_are_read_or_told(kind: str, form: str, changes: dict[str, object]) -> None:
    notices: Notices = []
    good = msgspec.to_builtins(a_result(1) if kind == "result" else a_status(1))
    message = Inbox(notices.append).take([f"{kind}/here/door".encode(), packed({**good, **changes}, form)])
    assert (message is None) == bool(notices)


@pytest.mark.parametrize("form", sorted(PACK))
@pytest.mark.parametrize("message", [a_result(1), Status(host="h", sequence=1, state="ready", published_at=1.0)])
def test_fields_of_later_versions_are_passed_over(form: str, message: Message) -> None:
    later = {**msgspec.to_builtins(message), "of_a_later_version": [1, {"x": 2}]}
    assert Inbox(lambda _: None).take([topic_of(message).encode(), PACK[form](later)]) == message


def a_status(sequence: int, *, repeated: bool = False, started_at: float = 1.0) -> Status:
    return Status(
        host="here", sequence=sequence, state="ready", published_at=1.0, repeated=repeated, started_at=started_at
    )


@settings(max_examples=300, deadline=None)
@given(
    runs=st.lists(st.lists(st.sampled_from(["heard", "lost", "heard and again"]), max_size=12), min_size=1, max_size=3)
)
def test_lost_is_what_was_published_between_what_was_heard(runs: list[list[str]]) -> None:
    """Whatever is lost, said again or counted anew after a restart."""
    notices: Notices = []
    inbox = Inbox(notices.append)
    lost = 0
    for started_at, fates in enumerate(runs, 1):
        heard = [number for number, fate in enumerate(fates, 1) if fate != "lost"]
        if heard:
            lost += heard[-1] - heard[0] + 1 - len(heard)
        for number in heard:
            for repeated in (False, True) if fates[number - 1] == "heard and again" else (False,):
                message = a_status(number, repeated=repeated, started_at=float(started_at))
                taken = inbox.take([TOPIC.encode(), msgspec.json.encode(message)])
                assert (taken is None) == repeated
    assert inbox.lost == lost == sum(notice.lost for notice in notices if isinstance(notice, Gap))


@pytest.mark.parametrize(
    ("topic", "changes"),
    [
        ("status/here/door", {}),
        ("event/here", {}),
        ("state/here/door/left", {}),
        ("status/there", {}),
        ("status/" + "h" * 101, {"host": "h" * 101}),
        ("status/here\n", {"host": "here\n"}),
        ("status/", {"host": ""}),
        ("status/here", {"detail": "x" * 4001}),
        ("status/here", {"sequence": 2**53 + 1}),
        ("status/here", {"started_at": 1e12}),
        ("status/here", {"published_at": float("nan")}),
        ("status/here", {"lost": {"x": 2**60}}),
        ("status/here", {"later": [[[]]] * 3, "state": "x" * 100_000}),
    ],
)
@pytest.mark.parametrize("form", sorted(PACK))
def test_what_is_out_of_bounds_is_told_in_few_words(topic: str, changes: dict[str, object], form: str) -> None:
    notices: Notices = []
    told = {**msgspec.to_builtins(a_status(1)), **changes}
    assert Inbox(notices.append).take([topic.encode(), PACK[form](told)]) is None
    assert [len(notice.why) < 250 for notice in notices if isinstance(notice, Unreadable)] == [True]


@pytest.mark.parametrize("body", [b'{"x":' + b"[" * 100_000, b"\x81\xa1x" + b"\x91" * 100_000])
def test_depth_ends_no_reader(body: bytes) -> None:
    notices: Notices = []
    assert Inbox(notices.append).take([b"status/here", body]) is None
    assert len(notices) == 1


def test_what_is_remembered_of_topics_is_bounded() -> None:
    inbox = Inbox(lambda _: None)
    for number in range(12_000):
        message = Status(host=f"h{number}", sequence=1, state="ready", published_at=1.0)
        inbox.take([topic_of(message).encode(), msgspec.json.encode(message)])
    assert len(inbox._heard) == 10_000
