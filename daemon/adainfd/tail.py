"""`adainfd tail`: results as they come, a line each."""

import os
import sys

import msgspec

from adainfd.client import Message, Result, Subscriber

__all__ = ["show"]

_SAY_WAITING_AFTER_SECONDS = 2.0


def show(endpoint: str, *, as_json: bool, count: int | None) -> None:
    """Print results from `endpoint` until `count` have come, the reader of our output has left, or for ever."""
    with Subscriber(endpoint) as messages:
        try:
            _print(messages, endpoint, as_json=as_json, count=count)
        except BrokenPipeError:
            # What is still buffered has nowhere to go, and Python would complain about it on its way out.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print(messages: Subscriber, endpoint: str, *, as_json: bool, count: int | None) -> None:
    shown = 0
    message = messages.receive(_SAY_WAITING_AFTER_SECONDS)
    if message is None:
        print(f"adainfd: nothing from {endpoint} yet; waiting for a daemon there", file=sys.stderr, flush=True)
    while count is None or shown < count:
        if isinstance(message, Result):
            print(_json(message) if as_json else line(message), flush=True)
            shown += 1
        if shown != count:
            lost = messages.lost
            message = messages.receive()
            if messages.lost > lost:
                print(f"adainfd: {messages.lost - lost} messages lost", file=sys.stderr, flush=True)


def _json(message: Message) -> str:
    return msgspec.json.encode(message).decode()


def line(result: Result) -> str:
    """A result on one line."""
    best = result.labels[0]
    ran = "answer reused" if result.plan.chosen_by == "reuse" else result.plan.branch
    if result.plan.chosen_by == "second_look":
        ran += " again"
    return (
        f"{result.camera:>12} {result.frame:>7}  {best.label[:28]:<28} {best.score:4.2f}  "
        f"budget {result.budget.fraction:4.2f} {result.budget.limited_by:<10} "
        f"{ran:<20}  {result.plan.macs / 1e6:6.1f} MMACs  {result.timing_ms.total:6.1f} ms"
    )
