"""The daemon's metrics for Prometheus; docs/reference/metrics.md lists them."""

import time
from collections.abc import Callable, Iterator

import msgspec
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from adainfd.service.overview import DaemonView, Overview
from adainfd.service.web.refusals import Refusals
from adainfd.wire.messages import Message, Result, State, Status
from adainfd.wire.observing import Observer

__all__ = ["Metrics"]

# Seconds: from a small network on a GPU to a large one on an overloaded board.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12)
_STAGES = ("wait", "preprocess", "forward", "total")
_STATES = ("connecting", "online", "stalled", "offline", "ended", "stopped")
_SIGNALS = {
    "gpu_utilization": "Share of the GPU that is busy",
    "gpu_foreign": "Share of the GPU that other programs keep busy",
    "cpu_pressure": "Share of the time in which some program waited for a processor",
    "cpu_foreign": "Share of the processors that other programs use",
    "cpu_queue": "Threads of other programs that run or wait to, a processor",
    "power_fraction": "Power drawn, of its limit",
    "temperature_celsius": "Temperature of the processor that recognises",
}


class Metrics(Observer):
    """Counts messages and audits; `text` exports all metrics at any time, from any thread."""

    def __init__(
        self, overview: Overview, refusals: Refusals | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """overview, refusals: sources of further metrics, read whenever the metrics are."""
        self._clock = clock
        self._registry = CollectorRegistry()
        self._stages = Histogram(
            "adainf_stage_seconds",
            "Time of a frame's stages: waited, preprocessed, recognised; total: from capture to the message",
            ("camera", "stage"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._limited = self._counter("adainf_budget_limited", "Frames by the rule that set their budget", "rule")
        self._macs = self._counter("adainf_macs", "Multiply-accumulates used")
        self._branches = self._counter("adainf_branch_frames", "Looks by the branch that ran", "branch", "network")
        self._audits = self._counter(
            "adainf_audited_frames", "Frames on which the full branch ran too, by whether it agreed", "branch", "agreed"
        )
        self._connects = self._counter("adainf_camera_connects", "Times that pictures began to come")
        self._failures = self._counter("adainf_camera_failures", "Times that pictures ceased to come", "code")
        self._reloads = Counter("adainf_reloads", "Reloads by outcome", ("outcome",), registry=self._registry)
        for outcome in ("reloaded", "reload_failed"):
            self._reloads.labels(outcome)
        self._state_seconds = self._counter("adainf_state_seconds", "Time in each state of a view", "region", "state")
        self._states: dict[tuple[str, str | None], tuple[str, float]] = {}
        self._lost = Counter("adainf_lost", "What could not be written, by kind", ("what",), registry=self._registry)
        self._lost_until_now: dict[str, int] = {}
        self._registry.register(_Scraped(overview, refusals or Refusals()))
        ProcessCollector(registry=self._registry)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, ("camera", *labels), registry=self._registry)

    def published(self, message: Message) -> None:
        """Count a message."""
        if isinstance(message, Result):
            self._count_result(message)
        elif isinstance(message, State):
            self._take_state(message)
        elif isinstance(message, Status) and message.camera is not None:
            if message.state == "online":
                self._connects.labels(message.camera).inc()
            elif message.state in ("stalled", "offline"):
                self._failures.labels(message.camera, message.code or "").inc()
        elif isinstance(message, Status) and message.state in ("reloaded", "reload_failed"):
            self._reloads.labels(message.state).inc()
        elif isinstance(message, Status) and message.lost is not None:
            for kind, lost in message.lost.items():
                self._lost.labels(kind).inc(lost - self._lost_until_now.get(kind, 0))
            self._lost_until_now = message.lost
            self._count_state_seconds()

    def _take_state(self, message: State) -> None:
        self._count_state_seconds()
        view = (message.camera, message.region)
        self._states.pop(view, None)
        if message.state is not None:
            self._states[view] = (message.state, self._clock())

    def _count_state_seconds(self) -> None:
        """Add the time since the last call; a counter of the time since `since` would fall where a state is held."""
        now = self._clock()
        for (camera, region), (state, until) in self._states.items():
            self._state_seconds.labels(camera, region or "", state).inc(now - until)
            self._states[camera, region] = (state, now)

    def _count_result(self, result: Result) -> None:
        camera, plan, timing = result.camera, result.plan, result.timing_ms
        looked = plan.chosen_by != "reuse"
        for stage in _STAGES if looked else ("wait", "total"):
            self._stages.labels(camera, stage).observe(getattr(timing, stage) / 1000)
        self._limited.labels(camera, result.budget.limited_by).inc()
        if looked:
            self._macs.labels(camera).inc(plan.macs)
            self._branches.labels(camera, plan.branch, plan.network).inc()

    def audited(self, camera: str, branch: str, *, agreed: bool) -> None:
        """Count an audit."""
        self._audits.labels(camera, branch, "yes" if agreed else "no").inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _Scraped(Collector):
    """Metrics that the overview and the refusals already hold; built anew at each scrape."""

    def __init__(self, overview: Overview, refusals: Refusals) -> None:
        self._overview = overview
        self._refusals = refusals

    def collect(self) -> Iterator[Metric]:
        view = self._overview.view()
        yield from _daemon(view, ready=self._overview.ready)
        yield from _cameras(view)
        yield from _frames(view)
        yield from _signals(view)
        yield _refused(self._refusals)


def _daemon(view: DaemonView, *, ready: bool) -> Iterator[Metric]:
    model = view.model
    about = {"host": view.host or "", "backbone": "", "engine": "", "device": ""}
    if model is not None:
        about |= {"backbone": model.backbone, "engine": model.engine, "device": model.device}
    info = GaugeMetricFamily("adainf_info", "What runs where, always 1", labels=list(about))
    info.add_metric(list(about.values()), 1)
    yield info
    yield GaugeMetricFamily("adainf_ready", "Whether the daemon does its work (as /ready tells)", float(ready))
    yield GaugeMetricFamily(
        "adainf_degraded", "Whether something hinders the daemon or a camera", float(bool(view.hindrances))
    )
    if model is not None:
        yield GaugeMetricFamily("adainf_full_macs", "Multiply-accumulates of the full branch", model.full_macs)
    if view.subscriptions is not None:
        yield GaugeMetricFamily(
            "adainf_subscriptions", "Topics that are subscribed to, over all clients", view.subscriptions
        )
    if view.refused is not None:
        yield CounterMetricFamily("adainf_clients_refused", "Clients that were not let in", view.refused)
    if view.hung_up is not None:
        yield CounterMetricFamily("adainf_connections_hung_up", "Readers that asked for too much", view.hung_up)


def _cameras(view: DaemonView) -> Iterator[Metric]:
    states = GaugeMetricFamily("adainf_camera_state", "1 for the state a camera is in", labels=["camera", "state"])
    age = GaugeMetricFamily("adainf_last_result_age_seconds", "Time since the last result", labels=["camera"])
    budget = GaugeMetricFamily(
        "adainf_budget_fraction", "Budget of the last frame, of the full branch", labels=["camera"]
    )
    used = GaugeMetricFamily("adainf_macs_fraction", "Used for the last frame, of the full branch", labels=["camera"])
    expected = GaugeMetricFamily(
        "adainf_expected_accuracy", "Of the last answer, corrected by what audits found", labels=["camera"]
    )
    shown = GaugeMetricFamily(
        "adainf_state_info", "1 for the state that a view shows", labels=["camera", "region", "state"]
    )
    for camera in view.cameras:
        for told in camera.states:
            if told.state is not None:
                shown.add_metric([camera.name, told.region or "", told.state], 1)
        for state in _STATES:
            states.add_metric([camera.name, state], float(camera.state == state))
        if camera.result is not None and camera.age is not None:
            age.add_metric([camera.name], camera.age)
            budget.add_metric([camera.name], camera.result.budget.fraction)
            used.add_metric([camera.name], camera.result.plan.macs_fraction)
            expected.add_metric([camera.name], camera.result.plan.expected_accuracy)
    yield from (states, age, budget, used, expected, shown)


def _frames(view: DaemonView) -> Iterator[Metric]:
    captured = CounterMetricFamily("adainf_frames_captured", "Frames that cameras brought", labels=["camera"])
    fates = CounterMetricFamily("adainf_frames", "Frames by what became of them", labels=["camera", "fate"])
    again = CounterMetricFamily("adainf_second_looks", "Better looks at frames that were answered", labels=["camera"])
    for camera in view.cameras:
        account = camera.account
        if account is None:
            continue
        captured.add_metric([camera.name], account.captured)
        again.add_metric([camera.name], account.second_looks)
        fates.add_metric([camera.name, "published"], account.published)
        fates.add_metric([camera.name, "reused"], account.reused)
        for cause, count in msgspec.structs.asdict(account.dropped).items():
            fates.add_metric([camera.name, f"dropped_{cause}"], count)
    yield from (captured, fates, again)


def _refused(refusals: Refusals) -> Metric:
    refused = CounterMetricFamily("adainf_web_refused", "Requests over HTTP that were refused, by kind", labels=["why"])
    for kind, count in refusals.counts.items():
        refused.add_metric([kind], count)
    return refused


def _signals(view: DaemonView) -> Iterator[Metric]:
    """Yield the sensors' last values, from the newest result; leave out unknown ones."""
    results = [(camera.age, camera.result) for camera in view.cameras if camera.age is not None and camera.result]
    if not results:
        return
    newest = min(results, key=lambda pair: pair[0])[1]
    for name, documentation in _SIGNALS.items():
        value = getattr(newest.signals, name)
        if value is not None:
            yield GaugeMetricFamily(f"adainf_{name}", documentation, value)
