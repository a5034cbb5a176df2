"""Each refusal is counted; the log is not filled with them."""

import structlog
from adainfd.service.web.refusals import KINDS, Refusals


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_each_kind_is_logged_once_a_minute_with_the_number_until_then() -> None:
    clock = Clock()
    with structlog.testing.capture_logs() as lines:
        refusals = Refusals(structlog.get_logger(), clock)
        for second in range(90):
            clock.now = 1000.0 + second
            for number in range(100):
                refusals.count("host", f"10.0.0.{number}", "host 'evil.example'")
            refusals.turned()
        refusals.count("site", "10.0.0.7", "a page of another site asks")
        refusals.turned()
    assert [(line["event"], line["kind"], line["client"], line["refused"]) for line in lines] == [
        ("web_refused", "host", "10.0.0.99", 100),
        ("web_refused", "host", "10.0.0.99", 6100),
        ("web_refused", "site", "10.0.0.7", 1),
    ]
    assert refusals.counts == {**dict.fromkeys(KINDS, 0), "host": 9000, "site": 1}
