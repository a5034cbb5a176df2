"""Whatever is said in a status message, readers take it."""

import pytest
from adainfd.client import Subscriber
from adainfd.runtime.announcer import Announcer
from adainfd.wire.messages import LONGEST_TEXT
from adainfd.wire.serving.publisher import Publisher
from daemons import await_true


@pytest.mark.parametrize("text", ["x" * 5000, "/traces/\udce9" + "ä" * 4500, "\0" * 3000])
def test_long_and_strange_texts_are_cut_and_escaped(ipc: str, text: str) -> None:
    publisher = Publisher([ipc])
    Announcer(publisher, "here").daemon("degraded", text, recording=text)
    with Subscriber(ipc, topics=["status/"]) as subscriber:
        status = await_true(lambda: publisher.resend_last() or subscriber.receive(0.02), 10, "the status")
        for told in (status.detail, status.recording):
            assert 0 < len(told) <= LONGEST_TEXT
    publisher.close()
