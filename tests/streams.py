"""Plain ZeroMQ at the other end of a publisher: no client of ours."""

import json
from dataclasses import dataclass, field
from typing import Any

import zmq
from adainfd.wire.messages import Dropped, Label, Plan, Result, ResultBudget, ResultSignals, Status, Timing
from adainfd.wire.serving.publisher import Publisher
from daemons import await_true

TOPIC = "status/here"


@dataclass
class Log:
    """Remembers what was logged."""

    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def warning(self, event: str, **values: Any) -> None:
        self.lines.append((event, values))


def say(publisher: Publisher, detail: str = "", topic: str = TOPIC) -> None:
    """One message more."""
    _, host, camera = (*topic.split("/"), None)[:3]
    assert host is not None
    publisher.send(
        topic,
        lambda number: Status(
            host=host, camera=camera, sequence=number, state="ready", published_at=1.0, detail=detail
        ),
    )


def hear(socket: "zmq.Socket[bytes]", seconds: float = 5) -> dict[str, Any]:
    """The next message."""
    assert socket.poll(round(1000 * seconds)), "no message"
    heard: dict[str, Any] = json.loads(socket.recv_multipart()[1])
    return heard


def await_heard(publisher: Publisher, socket: "zmq.Socket[bytes]", seconds: float = 10) -> None:
    """Greet until the subscriber has been greeted."""

    def greeted() -> int:
        publisher.resend_last()
        return socket.poll(10)

    await_true(greeted, seconds, "a greeting")


def a_result(number: int, region: str | None = None) -> Result:
    """Something recognised by the camera door."""
    return Result(
        host="here",
        camera="door",
        region=region,
        sequence=number,
        frame=number,
        captured_at=1.0,
        published_at=1.0,
        labels=[Label("bicycle", 1, 0.9)],
        budget=ResultBudget(1.0, "motion"),
        plan=Plan("32:1", "lookup", 1, 1.0, 0.9),
        signals=ResultSignals(None, None, None, None, None, None),
        timing_ms=Timing(0.0, 0.0, 1.0, 1.0),
        dropped=Dropped(0, 0),
    )
