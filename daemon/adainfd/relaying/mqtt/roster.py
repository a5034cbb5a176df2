"""What the boxes report of themselves now: whether they run, their cameras, and what these show. Pure."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from adainfd.wire.messages import MOST_CAMERAS, MOST_LABELS, MOST_VIEWS, Event, Message, State, Status, ViewState

__all__ = ["SILENT_AFTER_SECONDS", "Roster", "View"]

SILENT_AFTER_SECONDS = 5.0
"""Five heartbeats."""
_MOST_DAEMONS = 8
"""Daemons of one host behind one address; there are several only where the address is a relay's."""

_MOST_SHOWN = 4096
"""Labels in all views of a host together: as many as fit into a heartbeat."""

View = tuple[str, str | None]
"""Camera and region; None as the region stands for the whole picture."""


@dataclass(slots=True)
class _Daemon:
    """One run of a daemon.

    since: when it was first heard. heard_at: its last heartbeat. listed: whether a heartbeat has listed its cameras.
    state: its last status without counters. told: the message that first had that state, received at told_at.
    unlisted: cameras named since the last heartbeat that it did not list.
    """

    since: float
    heard_at: float = -math.inf
    stopped: bool = False
    listed: bool = False
    state: object = None
    told: Status | None = None
    told_at: float = -math.inf
    cameras: set[str] = field(default_factory=set)
    unlisted: set[str] = field(default_factory=set)
    views: dict[View, dict[str, float]] = field(default_factory=dict)
    states: dict[View, State] = field(default_factory=dict)

    def lives(self, now: float) -> bool:
        return not self.stopped and now - self.heard_at <= SILENT_AFTER_SECONDS

    def is_over(self, now: float) -> bool:
        return self.stopped or now - max(self.heard_at, self.since) > SILENT_AFTER_SECONDS

    def take_heartbeat(self, status: Status, now: float) -> None:
        state = _without_counters(status)
        if state != self.state:
            self.state, self.told, self.told_at = state, status, now
        self.heard_at, self.stopped = now, status.state == "stopped"
        if status.cameras is not None:
            self.listed, self.cameras, self.unlisted = True, set(status.cameras), set()
            self.views = {view: labels for view, labels in self.views.items() if view[0] in self.cameras}
            self.states = {view: state for view, state in self.states.items() if view[0] in self.cameras}
        if status.present is not None:
            self.views = {
                (view.camera, view.region): {label.label: label.score for label in view.labels}
                for view in status.present
            }
        if status.states is not None:
            self.states = {(told.camera, told.region): self._agreeing(told, status) for told in status.states}
        if self.stopped:
            self.views = {view: {} for view in self.views}

    def _agreeing(self, told: ViewState, status: Status) -> State:
        """Return the view's last state message, or one made from the heartbeat where that tells another state."""
        known = self.states.get((told.camera, told.region))
        if known is not None and (known.state, known.since) == (told.state, told.since):
            return known
        return State(
            host=status.host,
            camera=told.camera,
            region=told.region,
            sequence=1 if known is None else known.sequence,
            started_at=status.started_at,
            published_at=status.published_at,
            options=[] if known is None else known.options,
            state=told.state,
            score=told.score,
            since=told.since,
        )

    def take_camera(self, camera: str) -> bool:
        """Record a camera; return False where the daemon names too many."""
        known = self.unlisted if self.listed else self.cameras
        if camera not in self.cameras | self.unlisted and len(self.cameras) + len(self.unlisted) >= MOST_CAMERAS:
            return False
        if camera not in self.cameras:
            known.add(camera)
        return True

    def too_much(self, event: Event) -> str | None:
        """Return why an event exceeds a limit; None where it does not."""
        labels = self.views.get((event.camera, event.region))
        if labels is None and len(self.views) >= MOST_VIEWS:
            return f"{event.host} names more than {MOST_VIEWS} views"
        if labels is not None and event.label not in labels and len(labels) >= MOST_LABELS:
            return f"{event.host}/{event.camera} shows more than {MOST_LABELS} labels"
        if event.label not in (labels or ()) and self.shown >= _MOST_SHOWN:
            return f"{event.host} shows more than {_MOST_SHOWN} labels"
        return None

    def too_many(self, state: State) -> str | None:
        """Return why a state exceeds a limit; None where it does not."""
        view = (state.camera, state.region)
        if view not in self.states and len(self.states) >= MOST_VIEWS:
            return f"{state.host} names more than {MOST_VIEWS} views"
        others = sum(len(known.options) for key, known in self.states.items() if key != view)
        if others + len(state.options) > _MOST_SHOWN:
            return f"{state.host} has more than {_MOST_SHOWN} states"
        return None

    @property
    def shown(self) -> int:
        """Labels in all views together."""
        return sum(map(len, self.views.values()))

    def take_event(self, event: Event) -> None:
        self.cameras.add(event.camera)
        labels = self.views.setdefault((event.camera, event.region), {})
        labels.pop(event.label, None)
        if event.event != "gone":
            labels[event.label] = event.score


@dataclass(slots=True)
class _Box:
    """A host and the daemons that publish under its name: successive runs of one, or several side by side."""

    since: float
    daemons: dict[tuple[str, float], _Daemon] = field(default_factory=dict)
    was_online: bool = False

    @property
    def has_spoken(self) -> bool:
        return any(daemon.heard_at > -math.inf for daemon in self.daemons.values())

    def daemon(self, endpoint: str, started_at: float, now: float) -> _Daemon:
        """Return the daemon with this start, a new one if need be; evict the least recently heard of too many."""
        daemon = self.daemons.get((endpoint, started_at))
        if daemon is None:
            keys = [key for key in self.daemons if key[0] == endpoint]
            if len(keys) >= _MOST_DAEMONS:
                del self.daemons[min(keys, key=lambda key: max(self.daemons[key].heard_at, self.daemons[key].since))]
            daemon = self.daemons[endpoint, started_at] = _Daemon(now)
        return daemon

    def trim(self, endpoint: str, started_at: float) -> None:
        """Evict the least recently heard daemons while those behind one address exceed a limit together."""
        daemons = {key: daemon for key, daemon in self.daemons.items() if key[0] == endpoint}
        others = sorted(daemons.keys() - {(endpoint, started_at)}, key=lambda key: -daemons[key].heard_at)
        while others and (
            sum(len(daemon.cameras | daemon.unlisted) for daemon in daemons.values()) > MOST_CAMERAS
            or sum(len(daemon.views) for daemon in daemons.values()) > MOST_VIEWS
            or sum(len(daemon.states) for daemon in daemons.values()) > MOST_VIEWS
            or sum(daemon.shown for daemon in daemons.values()) > _MOST_SHOWN
        ):
            del self.daemons[others[-1]], daemons[others.pop()]

    def living(self, now: float) -> list[_Daemon]:
        return [daemon for daemon in self.daemons.values() if daemon.lives(now)]


class Roster:
    """The current state of many hosts, from their messages. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._boxes: dict[str, _Box] = {}

    def take(self, message: Message, now: float, endpoint: str = "") -> str | None:
        """Apply a message: a heartbeat replaces all that is known, an event or a view's state changes it.

        endpoint: that of the box which sent it. Returns the reason where the message exceeds a limit and is refused.
        """
        box = self._boxes.setdefault(message.host, _Box(now))
        daemon = box.daemon(endpoint, message.started_at, now)
        try:
            if isinstance(message, Status) and message.camera is None:
                daemon.take_heartbeat(message, now)
            elif message.camera is not None and not daemon.take_camera(message.camera):
                return f"{message.host} names more than {MOST_CAMERAS} cameras"
            elif isinstance(message, Event):
                if (why := daemon.too_much(message)) is not None:
                    return why
                daemon.take_event(message)
            elif isinstance(message, State):
                if (why := daemon.too_many(message)) is not None:
                    return why
                daemon.states[message.camera, message.region] = message
        finally:
            box.trim(endpoint, message.started_at)
            self._drop_predecessors(box, now)
        return None

    def fallen_silent(self, now: float) -> list[str]:
        """Return the hosts that have fallen silent since the last call, without having stopped."""
        silent: list[str] = []
        for host, box in self._boxes.items():
            online = bool(box.living(now))
            if box.was_online and not online and not all(daemon.stopped for daemon in box.daemons.values()):
                silent.append(host)
            box.was_online = online
            self._drop_predecessors(box, now)
        return silent

    def forget(self, host: str) -> None:
        """Remove a host that is gone for good."""
        self._boxes.pop(host, None)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that have sent a heartbeat and are not forgotten.

        Messages before the first heartbeat are last values sent again: a partial state that would look like a change.
        """
        return tuple(host for host, box in self._boxes.items() if box.has_spoken)

    def online(self, host: str, now: float) -> bool:
        """Return whether a daemon of the host has sent a heartbeat in the last five seconds."""
        return host in self._boxes and bool(self._boxes[host].living(now))

    def status(self, host: str, now: float) -> Status | None:
        """Return the host's last status that changed more than counters; a running daemon's before a stopped one's."""
        box = self._boxes[host]
        daemons = box.living(now) or list(box.daemons.values())
        return max(daemons, key=lambda daemon: daemon.told_at).told

    def settled(self, host: str, now: float) -> bool:
        """Return whether the host's state is complete, so that anything not reported does not exist.

        That takes a while after the host was first heard, since several daemons may publish under its name.
        """
        box = self._boxes[host]
        living = box.living(now)
        return bool(living) and all(d.listed for d in living) and now - box.since > SILENT_AFTER_SECONDS

    def cameras(self, host: str) -> set[str]:
        """Return the cameras of a host."""
        return {camera for daemon in self._boxes[host].daemons.values() for camera in daemon.cameras}

    def views(self, host: str) -> Mapping[View, Mapping[str, float]]:
        """Return the score of each label present, by view."""
        views: dict[View, dict[str, float]] = {}
        for daemon in self._boxes[host].daemons.values():
            for view, labels in daemon.views.items():
                views.setdefault(view, {}).update(labels)
        return views

    def states(self, host: str) -> Mapping[View, State]:
        """Return the last state message of each view that has states."""
        return {view: state for daemon in self._boxes[host].daemons.values() for view, state in daemon.states.items()}

    def living(self, now: float) -> tuple[int, int]:
        """Return the number of hosts that are online, and of boxes with a daemon that is."""
        hosts = [box for box in self._boxes.values() if box.living(now)]
        boxes = {key[0] for box in hosts for key, daemon in box.daemons.items() if daemon.lives(now)}
        return len(hosts), len(boxes)

    def _drop_predecessors(self, box: _Box, now: float) -> None:
        """Remove ended daemons once another one is online: they no longer vouch for any of the host's state."""
        if box.living(now):
            box.daemons = {at: daemon for at, daemon in box.daemons.items() if not daemon.is_over(now)}


def _without_counters(status: Status) -> object:
    cameras = {name: account.state for name, account in (status.cameras or {}).items()}
    detail = re.sub(r"\d+", "", status.detail or "")  # the text may include counts of lost items
    return status.state, detail, status.code, status.model, status.recording, cameras
