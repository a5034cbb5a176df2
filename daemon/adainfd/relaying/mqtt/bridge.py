"""A bridge that publishes events and states of many boxes at an MQTT broker, for home and factory automation."""

import re
import secrets
import time
from collections.abc import Mapping, Sequence

import msgspec

from adainf.base.errors import InvalidInputError
from adainfd.base.logs import Logger
from adainfd.base.sighup import ReloadRequest
from adainfd.base.stopping import StopRequest
from adainfd.relaying.complaints import Complaints
from adainfd.relaying.config import MqttSection
from adainfd.relaying.mqtt import homeassistant
from adainfd.relaying.mqtt.broker import Broker
from adainfd.relaying.mqtt.homeassistant import OFFLINE, ONLINE
from adainfd.relaying.mqtt.inlets import Inlets
from adainfd.relaying.mqtt.outbox import Outbox
from adainfd.relaying.mqtt.relays import Relays
from adainfd.relaying.mqtt.retained import Retained
from adainfd.relaying.mqtt.roster import SILENT_AFTER_SECONDS, Roster
from adainfd.relaying.mqtt.topics import Topics
from adainfd.relaying.names import Names
from adainfd.wire.messages import Event, Message, State, Status
from adainfd.wire.reading.link import Box

__all__ = ["Bridge"]

_LONGEST_WAIT_SECONDS = 0.1
_REVIEW_EVERY_SECONDS = 1.0
_REVIEW_AT_THE_LATEST_SECONDS = 3.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UPDATE_EVERY_SECONDS = 0.1
"""Between two updates of a host: the retained messages of a large one take 20 ms to write."""
_LAST_WORDS_SECONDS = 1.0


class Bridge:
    """Publishes the messages of boxes at a broker, and carries on when any of them has been away.

    States are retained, so that the broker sends them to late subscribers; events are not. Retained messages follow
    what the boxes report now: those for which no box vouches any more are cleared, whichever side was restarted.
    A silent box is `offline`, and its last messages stay.
    """

    def __init__(self, boxes: Sequence[Box], names: Names, settings: MqttSection, log: Logger) -> None:
        """settings: should have a name. Raises InvalidInputError where password or certificate cannot be read."""
        name = settings.name or "relay"
        self._boxes = boxes
        self._names = names
        self._discovery = settings.discovery
        self._binary_sensors = settings.binary_sensors
        self._log = log
        self._topics = Topics(settings.prefix, name)
        # The suffix keeps identifiers unique: a client that connects with another's ends that one's connection.
        self._broker = Broker(
            settings,
            f"adainf-relay-{name}-{secrets.token_hex(4)}",
            (self._topics.relay, OFFLINE),
            log,
            connected=self._connected,
            received=self._received,
        )
        self._complaints = Complaints(log)
        self._events = Outbox()
        self._retained = Retained(self._topics, settings.discovery)
        self._roster = Roster()
        self._relays = Relays(self._topics, [box.endpoint for box in boxes])
        self._connected_at: float | None = None
        self._complete_since: float | None = None
        self._leaving = False
        # Hosts that have changed, each with the box that reported it, and when each host may be updated again.
        self._changed: dict[str, str] = {}
        self._update_at: dict[str, float] = {}

    def run(self, stop: StopRequest, reload: ReloadRequest) -> None:
        """Relay until a stop is requested; a reload reads the broker's password again."""
        self._log.info("relaying", broker=str(self._broker.address), name=self._topics.name)
        with Inlets(self._boxes, self._names, ("status/", "event/", "state/"), self._complaints) as inlets:
            due = 0.0
            while not stop.requested:
                self._exchange()
                pause = inlets.pause
                self._broker.wait(
                    (*inlets.descriptors, stop.fileno()), _LONGEST_WAIT_SECONDS if pause is None else pause
                )
                if reload.take():
                    self._reload()
                self._forward(inlets)
                now = time.monotonic()
                # A box is not silent while its messages wait to be read, but an endless sender must not block this.
                late = now >= due + _REVIEW_AT_THE_LATEST_SECONDS
                if now >= due and (inlets.pause is None or late):
                    due = now + _REVIEW_EVERY_SECONDS
                    self._review(inlets)
        self._leave()

    def _reload(self) -> None:
        try:
            self._broker.identify()
        except InvalidInputError as error:
            self._log.error("reload_failed", why=str(error), password="the one before stays")  # noqa: S106
        else:
            self._log.info("reloaded")

    def _exchange(self) -> None:
        self._broker.attend()
        self._events.send(self._broker.publish)
        self._retained.send(self._broker.keep)

    def _forward(self, inlets: Inlets) -> None:
        """Pass on one round of received messages."""
        for endpoint, message in inlets.take():
            if (why := self._pass_on(endpoint, message)) is not None:
                inlets.refuse(endpoint, why)
            elif message.host in self._roster.hosts:
                self._changed[message.host] = endpoint
        now = time.monotonic()
        for host, endpoint in tuple(self._changed.items()):
            if now < self._update_at.get(host, now):
                continue
            del self._changed[host]
            self._update_at[host] = now + _UPDATE_EVERY_SECONDS
            self._relays.hosts.add(host)
            if not self._bring_up_to_date(host):
                inlets.refuse(endpoint, f"{host} has more states than are kept of one host")

    def _pass_on(self, endpoint: str, message: Message) -> str | None:
        """Pass a message on; return the reason where it is refused."""
        if (why := self._roster.take(message, time.monotonic(), endpoint)) is not None:
            return why
        topic = self._topics.of(message)
        if isinstance(message, Event) and not message.repeated:  # automations act on each event once
            if not self._events.put(endpoint, topic, msgspec.json.encode(message)) and self._events.lost == 1:
                self._log.warning("events_lost", broker=str(self._broker.address), why="too many wait for the broker")
        elif isinstance(message, Status) and message.camera is not None:
            kept = self._retained.keep(topic, msgspec.json.encode(message))
            return None if kept else f"{message.host} has more states than are kept of one host"
        return None

    def _bring_up_to_date(self, host: str) -> bool:
        """Have the broker retain the host's current state and nothing else of it; return whether there was room."""
        now, topics = time.monotonic(), self._topics
        online, cameras, views = self._roster.online(host, now), self._roster.cameras(host), self._roster.views(host)
        wanted = {topics.available(host): ONLINE if online else OFFLINE}
        if (status := self._roster.status(host, now)) is not None:  # unchanged while only counters change
            wanted[topics.status(host)] = msgspec.json.encode(status)
        wanted |= {topics.present(host, *view): _labels(labels) for view, labels in views.items()}
        states = {view: _printable(state) for view, state in self._roster.states(host).items()}
        wanted |= {topics.state(host, *view): msgspec.json.encode(state) for view, state in states.items()}
        wanted |= homeassistant.entities(topics, self._discovery, host, sorted(cameras), views)
        wanted |= homeassistant.state_entities(topics, self._discovery, host, states, self._binary_sensors)
        kept = [self._retained.keep(topic, payload) for topic, payload in wanted.items()]
        if not online:
            return all(kept)
        vouched_for = {*wanted, topics.status(host), *(topics.status(host, camera) for camera in cameras)}
        for topic, place in self._retained.of(host).items():
            if topic in vouched_for:
                continue
            if self._roster.settled(host, now):
                self._retained.clear(topic)
            elif place.kind == "present":
                self._retained.keep(topic, _labels({}))
        return all(kept)

    def _review(self, inlets: Inlets) -> None:
        """Check for silent boxes, and update the retained messages accordingly."""
        now = time.monotonic()
        self._complaints.review(now)
        for host in self._roster.fallen_silent(now):
            self._log.warning("box_silent", host=host)
        for host in self._roster.hosts:
            self._bring_up_to_date(host)
        hosts, boxes = self._roster.living(now)
        self._relays.usual = max(self._relays.usual, hosts)
        if not inlets.connected or boxes < len(inlets) or hosts < self._relays.usual:
            self._complete_since = None
        elif self._complete_since is None:
            self._complete_since = now
        if self._connected_at is not None and now - self._connected_at > SILENT_AFTER_SECONDS:
            self._review_absent(now)
        self._retained.keep(self._topics.record, self._relays.record)

    def _review_absent(self, now: float) -> None:
        """Clear retained messages of hosts for which no relay speaks: labels and states, or all if the host is gone."""
        complete = self._complete_since is not None and now - self._complete_since > SILENT_AFTER_SECONDS
        for host in self._retained.hosts:
            heard = host in self._roster.hosts
            if self._roster.online(host, now):
                continue
            if self._relays.another_speaks_for(host):
                if not heard:
                    self._relays.hosts.discard(host)
                    self._retained.leave_alone(host)
                continue
            if self._relays.another_may_speak_for(host):
                continue
            self._retained.keep(self._topics.available(host), OFFLINE)
            gone = complete and not self._relays.another_knows(host)
            for topic, place in self._retained.of(host).items():
                if gone or (place.kind in ("present", "state") and not heard):
                    self._retained.clear(topic)
            if gone:
                self._log.info("box_gone", host=host)
                self._roster.forget(host)
                self._changed.pop(host, None)
                self._update_at.pop(host, None)
                self._relays.hosts.discard(host)

    def _connected(self) -> None:
        lost = {"events_lost": self._events.lost} if self._events.lost else {}
        self._log.info("broker_connected", broker=str(self._broker.address), **lost)
        self._events.lost = 0
        discovery = [f"{self._discovery}/+/+/+/config"] if self._discovery else []
        self._broker.subscribe([*self._topics.kept, *discovery])
        self._connected_at = time.monotonic()
        self._retained.keep(self._topics.relay, ONLINE)
        self._retained.keep(self._topics.record, self._relays.record)
        self._retained.all_again()

    def _received(self, topic: str, payload: bytes, kept: bool) -> None:
        """Handle a message of the broker's: retained from an earlier run, or just sent by us or another relay."""
        if kept and payload:
            self._retained.found(topic, payload)
        self._relays.heard(topic, payload, retained=kept)
        place = self._topics.place(topic)
        alive = place is not None and place.kind == "available" and self._roster.online(place.host, time.monotonic())
        # A late will, or another relay that does not hear the box, contradicts us: publish our state again.
        if not self._leaving and payload == OFFLINE and (alive or topic == self._topics.relay):
            self._retained.again(topic)

    def _leave(self) -> None:
        """Publish that this relay and the boxes it alone speaks for are offline; disconnect after a second at most."""
        self._leaving = True
        for host in self._changed:
            self._bring_up_to_date(host)
        for host in self._roster.hosts:
            if not self._relays.another_speaks_for(host):
                self._retained.keep(self._topics.available(host), OFFLINE)
        self._retained.keep(self._topics.relay, OFFLINE)
        end = time.monotonic() + _LAST_WORDS_SECONDS
        self._retained.send(self._broker.keep)
        while self._broker.connected and (self._retained.waits or self._broker.unanswered) and time.monotonic() < end:
            self._broker.wait((), 0.05)
            self._exchange()
        self._broker.leave()


def _labels(scores: Mapping[str, float]) -> bytes:
    """Return the payload that lists the present labels, best first."""
    best_first = sorted(scores, key=lambda label: -scores[label])
    return msgspec.json.encode({"labels": [_one_line(label) for label in best_first]})


def _printable(state: State) -> State:
    """Return a state message as it is retained: news to whoever reads it, with names free of control characters."""
    return msgspec.structs.replace(
        state,
        repeated=False,
        options=list(map(_one_line, state.options)),
        state=None if state.state is None else _one_line(state.state),
        previous=None if state.previous is None else _one_line(state.previous),
    )


def _one_line(label: str) -> str:
    return _CONTROL.sub(" ", label)
