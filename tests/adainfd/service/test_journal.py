"""What stands in the log of a daemon that runs for long."""

from typing import Any

from adainfd.service.journal import Journal
from adainfd.service.overview import Overview


class Log:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **values: Any) -> None:
        self.events.append((event, values))


def test_one_event_a_minute_however_often_the_loop_turns() -> None:
    now, log = 0.0, Log()
    journal = Journal(Overview(lambda: now), log, lambda: now)
    for turn in range(2000):
        now = turn / 10
        journal.turned()
    assert [event for event, _ in log.events] == ["running"] * 3
    assert log.events[0][1]["summary"] == "0 cameras, 0 fps"
