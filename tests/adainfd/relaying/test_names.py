"""Which box may speak in whose name."""

import pytest
from adainfd.relaying.names import ANY, MOST_HOSTS, Names
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

A, B, RELAY = "tcp://a.local:5600", "tcp://b.local:5600", "tcp://c.local:5600"


def test_a_configured_box_speaks_in_its_own_name_alone() -> None:
    names = Names([(A, ("edge1",)), (B, ()), (RELAY, (ANY,))])
    assert names.allows(A, "status/edge1/door")
    assert not names.allows(A, "status/edge2")
    for other in (B, RELAY):
        assert not names.allows(other, "event/edge1/door")


def test_the_first_name_that_is_heard_binds() -> None:
    names = Names([(A, ()), (B, ())])
    assert names.allows(A, "status/edge1")
    assert not names.allows(A, "status/edge2")
    assert not names.allows(B, "status/edge1")
    assert names.allows(B, "status/edge2")
    assert "give it host" in str(names.refusal(A, "edge2"))


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("ipc:///run/a", "ipc:///run/b", True),
        ("ipc:///run/a", "tcp://127.0.0.1:1", True),
        ("tcp://h:1", "tcp://h:2", True),
        ("tcp://localhost:1", "tcp://[::1]:2", True),
        ("tcp://h:1", "ipc:///run/a", False),
        ("tcp://[fe80::1]:1", "tcp://[fe80::2]:1", False),
    ],
)
def test_daemons_of_one_machine_share_its_name(one: str, other: str, together: bool) -> None:
    names = Names([(one, ()), (other, ())])
    assert names.allows(one, "status/edge1")
    assert names.allows(other, "status/edge1") == together


def test_a_relay_has_the_names_that_are_left_and_so_many_at_most() -> None:
    names = Names([(RELAY, (ANY,)), (A, ("edge1", "edge2")), (B, ())])
    assert names.allows(B, "status/b")
    assert not names.allows(RELAY, "status/b")
    allowed = [names.allows(RELAY, f"status/h{number}") for number in range(3 * MOST_HOSTS)]
    assert allowed == [True] * MOST_HOSTS + [False] * (2 * MOST_HOSTS)
    assert names.allows(RELAY, "status/h0/door")


@generous(200)
@given(
    st.lists(st.sampled_from([(), ("a",), ("a", "b"), (ANY,)]), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abcd"))),
)
def test_no_name_goes_from_one_box_to_another(configured: list[tuple[str, ...]], said: list[tuple[int, str]]) -> None:
    """Whatever is said in whatever order: who may speak once may do so always, and a name has one machine."""
    boxes = [(f"tcp://h{number}:1", hosts) for number, hosts in enumerate(configured)]
    names = Names(boxes)
    allowed: set[tuple[str, str]] = set()
    for number, host in said:
        endpoint = boxes[number % len(boxes)][0]
        if names.allows(endpoint, f"status/{host}"):
            allowed.add((endpoint, host))
        else:
            assert (endpoint, host) not in allowed
    for host in "abcd":
        owners = {endpoint for endpoint, told in allowed if told == host}
        assert len(owners) <= 1 or all(host in dict(boxes)[endpoint] for endpoint in owners)
