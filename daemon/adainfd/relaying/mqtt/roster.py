"""What the boxes say of themselves now: whether they are there, their cameras, and the labels that these show. Pure."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from adainfd.wire.messages import MOST_CAMERAS, MOST_LABELS, MOST_VIEWS, Event, Message, Status

__all__ = ["SILENT_AFTER_SECONDS", "Roster", "View"]

SILENT_AFTER_SECONDS = 5.0
"""Five heartbeats."""
_MOST_DAEMONS = 8
"""Of one host behind one address: several only where a relay is there."""

_MOST_SHOWN = 4096
"""Labels in all views of a host together, as many as a heartbeat has room for."""

View = tuple[str, str | None]
"""Camera and region; no region: all of the picture."""


@dataclass(slots=True)
class _Daemon:
    """One run of a daemon. heard_at: its last heartbeat. listed: whether it has said which cameras it has.

    state: what it said of itself last, without counters. told: the message in which it first said that, at told_at.
    unlisted: cameras that it has named since its last heartbeat, and that were not among those of that.
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
        if status.present is not None:
            self.views = {
                (there.camera, there.region): {label.label: label.score for label in there.labels}
                for there in status.present
            }
        if self.stopped:
            self.views = {view: {} for view in self.views}

    def take_camera(self, camera: str) -> bool:
        """Note that it has this camera; False where it names too many."""
        known = self.unlisted if self.listed else self.cameras
        if camera not in self.cameras | self.unlisted and len(self.cameras) + len(self.unlisted) >= MOST_CAMERAS:
            return False
        if camera not in self.cameras:
            known.add(camera)
        return True

    def too_much(self, event: Event) -> str | None:
        """Why an event cannot be taken."""
        labels = self.views.get((event.camera, event.region))
        if labels is None and len(self.views) >= MOST_VIEWS:
            return f"{event.host} names more than {MOST_VIEWS} views"
        if labels is not None and event.label not in labels and len(labels) >= MOST_LABELS:
            return f"{event.host}/{event.camera} shows more than {MOST_LABELS} labels"
        if event.label not in (labels or ()) and self.shown >= _MOST_SHOWN:
            return f"{event.host} shows more than {_MOST_SHOWN} labels"
        return None

    @property
    def shown(self) -> int:
        """Labels, in all views."""
        return sum(map(len, self.views.values()))

    def take_event(self, event: Event) -> None:
        self.cameras.add(event.camera)
        labels = self.views.setdefault((event.camera, event.region), {})
        labels.pop(event.label, None)
        if event.event != "gone":
            labels[event.label] = event.score


@dataclass(slots=True)
class _Box:
    """A host, by the daemons that speak in its name: one and its successors, or several side by side."""

    since: float
    daemons: dict[tuple[str, float], _Daemon] = field(default_factory=dict)
    was_online: bool = False

    @property
    def has_spoken(self) -> bool:
        return any(daemon.heard_at > -math.inf for daemon in self.daemons.values())

    def daemon(self, endpoint: str, started_at: float, now: float) -> _Daemon:
        """The one that began to count then; of too many behind one address the one heard longest ago is let go."""
        found = self.daemons.get((endpoint, started_at))
        if found is None:
            there = [key for key in self.daemons if key[0] == endpoint]
            if len(there) >= _MOST_DAEMONS:
                del self.daemons[min(there, key=lambda key: max(self.daemons[key].heard_at, self.daemons[key].since))]
            found = self.daemons[endpoint, started_at] = _Daemon(now)
        return found

    def trim(self, endpoint: str, started_at: float) -> None:
        """Where the daemons behind one address have too much together, let go of those heard longest ago."""
        there = {key: daemon for key, daemon in self.daemons.items() if key[0] == endpoint}
        others = sorted(there.keys() - {(endpoint, started_at)}, key=lambda key: -there[key].heard_at)
        while others and (
            sum(len(daemon.cameras | daemon.unlisted) for daemon in there.values()) > MOST_CAMERAS
            or sum(len(daemon.views) for daemon in there.values()) > MOST_VIEWS
            or sum(daemon.shown for daemon in there.values()) > _MOST_SHOWN
        ):
            del self.daemons[others[-1]], there[others.pop()]

    def living(self, now: float) -> list[_Daemon]:
        return [daemon for daemon in self.daemons.values() if daemon.lives(now)]


class Roster:
    """Takes the messages of many boxes. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._boxes: dict[str, _Box] = {}

    def take(self, message: Message, now: float, endpoint: str = "") -> str | None:
        """Take in a message; a heartbeat says all that there is, an event what has changed since.

        endpoint: of the box that it is from. The reason where it is not taken, for it would be too much.
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
        finally:
            box.trim(endpoint, message.started_at)
            self._drop_predecessors(box, now)
        return None

    def fallen_silent(self, now: float) -> list[str]:
        """The hosts that have been silent for too long since this was asked last."""
        silent: list[str] = []
        for host, box in self._boxes.items():
            online = bool(box.living(now))
            if box.was_online and not online and not all(daemon.stopped for daemon in box.daemons.values()):
                silent.append(host)
            box.was_online = online
            self._drop_predecessors(box, now)
        return silent

    def forget(self, host: str) -> None:
        """The host is gone for good."""
        self._boxes.pop(host, None)

    @property
    def hosts(self) -> tuple[str, ...]:
        """All whose hearts have beaten and that are not forgotten.

        What comes before the first heartbeat is a part of what was said last, again: it would look like a change.
        """
        return tuple(host for host, box in self._boxes.items() if box.has_spoken)

    def online(self, host: str, now: float) -> bool:
        """Whether a daemon on it has spoken of late."""
        return host in self._boxes and bool(self._boxes[host].living(now))

    def status(self, host: str, now: float) -> Status | None:
        """What was last said of the host, counters apart; one that stops does not speak for another that runs on."""
        box = self._boxes[host]
        daemons = box.living(now) or list(box.daemons.values())
        return max(daemons, key=lambda daemon: daemon.told_at).told

    def settled(self, host: str, now: float) -> bool:
        """Whether all that there is on the host has been said: what was not does not exist.

        That takes a while after the host was first heard, since several daemons may speak in its name.
        """
        box = self._boxes[host]
        living = box.living(now)
        return bool(living) and all(d.listed for d in living) and now - box.since > SILENT_AFTER_SECONDS

    def cameras(self, host: str) -> set[str]:
        """The cameras of a host."""
        return {camera for daemon in self._boxes[host].daemons.values() for camera in daemon.cameras}

    def views(self, host: str) -> Mapping[View, Mapping[str, float]]:
        """The labels that each view of a host's cameras shows, with their scores."""
        views: dict[View, dict[str, float]] = {}
        for daemon in self._boxes[host].daemons.values():
            for view, labels in daemon.views.items():
                views.setdefault(view, {}).update(labels)
        return views

    def living(self, now: float) -> tuple[int, int]:
        """How many hosts are online, and how many boxes have a daemon that is."""
        hosts = [box for box in self._boxes.values() if box.living(now)]
        boxes = {key[0] for box in hosts for key, daemon in box.daemons.items() if daemon.lives(now)}
        return len(hosts), len(boxes)

    def _drop_predecessors(self, box: _Box, now: float) -> None:
        """A daemon that is over vouches for nothing once another one speaks for the host."""
        if box.living(now):
            box.daemons = {at: daemon for at, daemon in box.daemons.items() if not daemon.is_over(now)}


def _without_counters(status: Status) -> object:
    cameras = {name: account.state for name, account in (status.cameras or {}).items()}
    detail = re.sub(r"\d+", "", status.detail or "")  # it counts what is lost meanwhile
    return status.state, detail, status.code, status.model, status.recording, cameras
