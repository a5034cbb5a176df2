"""`adainfd tail`: results and changes of state as they arrive, one per line."""

import json
from pathlib import Path

import msgspec

from adainf.base.errors import harmless, printable
from adainf.base.output import say
from adainfd.client import Gap, Link, Message, Notice, Result, State, Subscriber

__all__ = ["line", "show", "state_line"]

_SAY_WAITING_AFTER_SECONDS = 2.0
_LONGEST_LINE = 400


def show(
    endpoint: str, *, as_json: bool, count: int | None, key: Path | None = None, server: str | None = None
) -> None:
    """Print results and states from `endpoint`, forever or until `count` results have arrived.

    key, server: as in Subscriber.
    """
    with Subscriber(endpoint, topics=("result/", "state/"), key=key, server=server, notice=_tell) as messages:
        _print(messages, endpoint, as_json=as_json, count=count)


def _print(messages: Subscriber, endpoint: str, *, as_json: bool, count: int | None) -> None:
    shown = 0
    last_condition = "receiving"
    while count is None or shown < count:
        message = messages.receive(_SAY_WAITING_AFTER_SECONDS)
        if isinstance(message, Result):
            print(_json(message) if as_json else line(message), flush=True)
            shown += 1
        elif isinstance(message, State):
            print(_json(message) if as_json else state_line(message), flush=True)
        elif messages.condition != last_condition:
            _say_why_nothing_comes(messages, endpoint, shown)
        last_condition = messages.condition


def _say_why_nothing_comes(messages: Subscriber, endpoint: str, shown: int) -> None:
    match messages.condition:
        case "quiet" if not shown:  # after the first result, a pause may just be a slow camera
            _say(f"{endpoint} is there, and quiet")
        case "no publisher" if shown:
            _say(f"{endpoint} is gone; waiting for a daemon there")
        case "no publisher":
            _say(f"nothing from {endpoint} yet; waiting for a daemon there")


def _tell(notice: Notice) -> None:
    match notice:
        case Gap():
            _say(f"{notice.lost} messages lost")
        case Link(state="refused"):
            _say(f"{notice.endpoint} does not let us in: {notice.why}")


def _say(text: str) -> None:
    say(f"adainfd: {text}")


def _json(message: Message) -> str:
    """Encode a message as JSON, with terminal control characters as JSON escapes, which decode to the same text."""
    return harmless(msgspec.json.encode(message).decode(), lambda letter: json.dumps(letter)[1:-1])


def line(result: Result) -> str:
    """Format a result as one line."""
    best = result.labels[0]
    ran = "answer reused" if result.plan.chosen_by == "reuse" else result.plan.title
    if result.plan.chosen_by == "second_look":
        ran += " again"
    text = (
        f"{result.camera:>12} {result.frame:>7}  {best.label[:28]:<28} {best.score:4.2f}  "
        f"budget {result.budget.fraction:4.2f} {result.budget.limited_by:<10} "
        f"{result.plan.macs / 1e6:6.1f} MMACs  {result.timing_ms.total:6.1f} ms  {ran}"
    )
    return printable(text, _LONGEST_LINE)  # the publisher is untrusted: escape control characters


def state_line(state: State) -> str:
    """Format a change of state as one line."""
    view = state.camera if state.region is None else f"{state.camera}/{state.region}"
    now = state.state or f"no state ({state.why})"
    score = "" if state.score is None else f" {state.score:4.2f}"
    before = "" if state.previous is None else f", {state.previous} before for {state.seconds or 0.0:.1f} s"
    return printable(f"{view:>12}   state  {now}{score}{before}", _LONGEST_LINE)
