"""`adainfd watch`: a live view of a running daemon in a terminal, built from its messages."""

import sys
import time
from pathlib import Path

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from adainf.base import output
from adainf.base.errors import printable
from adainfd.client import Result, Subscriber
from adainfd.service.overview import CameraView, DaemonView, Overview

__all__ = ["show", "view"]

_REDRAW_SECONDS = 0.25
_FIRST_SECONDS = 3.0
_LONGEST = 400
# Narrower terminals omit the budget bar and the branch.
_WIDE = 110
_COLOURS = {"ready": "green", "online": "green", "started": "yellow", "connecting": "yellow", "ended": "dim"}


def show(endpoint: str, *, key: Path | None, server: str | None, once: bool, console: Console | None = None) -> None:
    """Show the daemon at `endpoint` until interrupted; once: print its state after 3 s and return."""
    console = console or output.console()
    if not console.is_terminal:
        console.width = max(console.width, _WIDE)
    overview = Overview()
    with Subscriber(endpoint, topics=("result/", "state/", "status/"), key=key, server=server) as messages:
        if once or not console.is_terminal:
            _listen(messages, overview, _FIRST_SECONDS)
            if overview.view().host is None:
                output.say(f"adainfd: nothing from {endpoint} ({messages.condition})")
                sys.exit(69)
            console.print(view(overview.view(), messages.condition, messages.lost, console.width))
            return
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                _listen(messages, overview, _REDRAW_SECONDS)
                live.update(view(overview.view(), messages.condition, messages.lost, console.width), refresh=True)


def _listen(messages: Subscriber, overview: Overview, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        message = messages.receive(left)
        if isinstance(message, Result):
            # Keep only the label shown: hundreds of long labels for each of hundreds of cameras take much memory.
            message = msgspec.structs.replace(message, labels=message.labels[:1])
        if message is not None:
            overview.published(message)


def view(daemon: DaemonView, condition: str, lost: int, width: int) -> RenderableType:
    """Draw the daemon in `width` columns. condition: of the subscriber; lost: number of lost messages."""
    return Group(_head(daemon, condition, lost), _cameras(daemon, wide=width >= _WIDE))


def _head(daemon: DaemonView, condition: str, lost: int) -> Text:
    head = Text()
    state = condition if condition in ("no publisher", "not allowed") else daemon.state or condition
    state = "degraded" if state == "ready" and daemon.hindrances else state
    head.append(_text(daemon.host or "adainf"), style="bold")
    head.append(f"  {state}", style=_COLOURS.get(state, "red"))
    if daemon.model is not None:
        head.append(_text(f"  {daemon.model.title} on {daemon.model.device} ({daemon.model.engine})"), style="dim")
    head.append(f"\n{_text(daemon.line())}")
    if lost:
        head.append(f"; {lost} messages lost on the way here", style="red")
    head.append("\n")
    return head


def _cameras(daemon: DaemonView, *, wide: bool) -> Table:
    table = Table(expand=True, box=None, pad_edge=False, header_style="dim")
    table.add_column("camera", no_wrap=True)
    table.add_column("label", ratio=1, no_wrap=True)
    table.add_column("", width=4)
    if wide:
        table.add_column("budget", width=14)
    table.add_column("" if wide else "budget", width=15, no_wrap=True)
    if wide:
        table.add_column("branch", no_wrap=True, max_width=26)
    for name in ("fps", "p95", "dropped"):
        table.add_column(name, justify="right", min_width=7, no_wrap=True)
    for camera in daemon.cameras:
        table.add_row(*_row(camera, wide=wide))
    return table


def _row(camera: CameraView, *, wide: bool) -> list[RenderableType]:
    name = Text(_text(camera.name), style="bold")
    name.append(f" {camera.state or ''}", style=_COLOURS.get(camera.state or "", "red"))
    dropped = 0 if camera.account is None else sum(msgspec.structs.astuple(camera.account.dropped))
    latency = "–" if camera.p95_ms is None else f"{camera.p95_ms:.0f} ms"
    figures = [f"{camera.frames_per_second:.1f}", latency, str(dropped)]
    result = camera.result
    if result is None or camera.hindered:
        return [name, Text(_text(camera.detail or ""), style="dim"), *[""] * (4 if wide else 2), *figures]
    best, budget, plan = result.labels[0], result.budget, result.plan
    shown, score = (_states(camera), "") if camera.states else (best.label, f"{best.score:.2f}")
    cells: list[RenderableType] = [name, Text(_text(shown)), score]
    if wide:
        cells.append(ProgressBar(total=1.0, completed=budget.fraction, width=14))
    cells.append(Text(_text(f"{budget.fraction:.2f} {budget.limited_by}")))
    if wide:
        cells.append("answer reused" if plan.chosen_by == "reuse" else Text(_text(plan.title)))
    return [*cells, *figures]


def _states(camera: CameraView) -> str:
    """Return the states of a camera's views, each after its region's name."""
    return ", ".join(
        state.state or "–" if state.region is None else f"{state.region}: {state.state or '–'}"
        for state in camera.states
    )


def _text(received: str) -> str:
    """Escape control characters in text from an untrusted publisher."""
    return printable(received, _LONGEST)
