"""Events and states of many boxes at an MQTT broker, where home and factory automation looks for them."""

import secrets
import time
from collections.abc import Mapping, Sequence

import msgspec

from adainf.errors import InvalidInputError, one_line
from adainfd.client import Event, Gap, Link, Message, Notice, Status, Subscriber, Unreadable
from adainfd.logs import Logger
from adainfd.relaying import homeassistant
from adainfd.relaying.broker import Broker
from adainfd.relaying.config import MqttSection
from adainfd.relaying.homeassistant import OFFLINE, ONLINE
from adainfd.relaying.relays import Relays
from adainfd.relaying.retained import Retained
from adainfd.relaying.roster import SILENT_AFTER_SECONDS, Roster
from adainfd.relaying.topics import Topics, fit
from adainfd.sighup import ReloadRequest
from adainfd.stopping import StopRequest
from adainfd.wire.link import Box

__all__ = ["Bridge"]

_MESSAGES_AT_ONCE = 100
_LAST_WORDS_SECONDS = 1.0


class Bridge:
    """Tells a broker what the boxes tell us, and goes on when one of them has been away.

    States are retained, so that the broker says them to whoever comes late; events are not. What the broker retains
    follows what the boxes say now: what none of them vouches for any more is cleared there, whoever was restarted.
    A box that is silent is `offline`, and what it said last stays.
    """

    def __init__(self, boxes: Sequence[Box], settings: MqttSection, log: Logger) -> None:
        """settings: with a name. Raises InvalidInputError where the password or the certificate cannot be read."""
        name = settings.name or "relay"
        self._boxes = boxes
        self._discovery = settings.discovery
        self._log = log
        self._topics = Topics(settings.prefix, name)
        # A client that comes with the identifier of another one ends that one's connection.
        self._broker = Broker(
            settings,
            f"adainf-relay-{name}-{secrets.token_hex(4)}",
            (self._topics.relay, OFFLINE),
            log,
            connected=self._connected,
            received=self._received,
        )
        self._retained = Retained(self._topics)
        self._roster = Roster()
        self._relays = Relays(self._topics, [box.endpoint for box in boxes])
        self._connected_at: float | None = None
        self._complete_since: float | None = None
        self._leaving = False

    def run(self, stop: StopRequest, reload: ReloadRequest) -> None:
        """Relay until a stop is requested; a reload reads the broker's password again."""
        self._log.info("relaying", broker=str(self._broker.address), name=self._topics.name)
        with Subscriber(*self._boxes, topics=("status/", "event/"), notice=self._tell) as messages:
            more, due = False, 0.0
            while not stop.requested:
                self._broker.attend()
                self._retained.send(self._broker.keep)
                self._broker.wait((*messages.descriptors, stop.fileno()), 0 if more else 1.0)
                if reload.take():
                    self._reload()
                more = self._forward(messages)
                if not more and time.monotonic() >= due:  # nobody is silent whose messages wait to be read
                    due = time.monotonic() + 1.0
                    self._review(all(link.state == "connected" for link in messages.links))
        self._leave()

    def _reload(self) -> None:
        try:
            self._broker.identify()
        except InvalidInputError as error:
            self._log.error("reload_failed", why=str(error), password="the one before stays")  # noqa: S106
        else:
            self._log.info("reloaded")

    def _forward(self, messages: Subscriber) -> bool:
        """Pass on what has come; whether there may be more."""
        for _ in range(_MESSAGES_AT_ONCE):
            message = messages.receive(0)
            if message is None:
                return False
            if all(map(fit, (message.host, message.camera, getattr(message, "region", None)))):
                self._pass_on(message)
        return True

    def _pass_on(self, message: Message) -> None:
        self._roster.take(message, time.monotonic())
        if isinstance(message, Event) and not message.repeated:  # what an automation acts on happens once
            self._broker.publish(self._topics.of(message), msgspec.json.encode(message))
        if isinstance(message, Status) and message.camera is not None:
            self._retained.keep(self._topics.of(message), msgspec.json.encode(message))
        if message.host in self._roster.hosts:
            self._relays.hosts.add(message.host)
            self._bring_up_to_date(message.host)

    def _bring_up_to_date(self, host: str) -> None:
        """Have the broker keep what is known of the host, and nothing else of it."""
        now, topics = time.monotonic(), self._topics
        online, cameras, views = self._roster.online(host, now), self._roster.cameras(host), self._roster.views(host)
        wanted = {topics.available(host): ONLINE if online else OFFLINE}
        if (status := self._roster.status(host, now)) is not None:  # the same until more than counters has changed
            wanted[topics.status(host)] = msgspec.json.encode(status)
        wanted |= {topics.present(host, *view): _labels(labels) for view, labels in views.items()}
        wanted |= homeassistant.entities(topics, self._discovery, host, sorted(cameras), views)
        for topic, payload in wanted.items():
            self._retained.keep(topic, payload)
        if not online:
            return
        vouched_for = {*wanted, topics.status(host), *(topics.status(host, camera) for camera in cameras)}
        for topic, place in self._retained.of(host).items():
            if topic in vouched_for:
                continue
            if self._roster.settled(host, now):
                self._retained.clear(topic)
            elif place.kind == "present":
                self._retained.keep(topic, _labels({}))

    def _review(self, all_connected: bool) -> None:
        """What follows from silence. all_connected: somebody answers at each of the boxes' addresses."""
        now = time.monotonic()
        for host in self._roster.fallen_silent(now):
            self._log.warning("box_silent", host=host)
        for host in self._roster.hosts:
            self._bring_up_to_date(host)
        hosts, daemons = self._roster.living(now)
        self._relays.usual = max(self._relays.usual, hosts)
        if not all_connected or daemons < len({box.endpoint for box in self._boxes}) or hosts < self._relays.usual:
            self._complete_since = None
        elif self._complete_since is None:
            self._complete_since = now
        if self._connected_at is not None and now - self._connected_at > SILENT_AFTER_SECONDS:
            self._review_absent(now)
        self._retained.keep(self._topics.record, self._relays.record)

    def _review_absent(self, now: float) -> None:
        """What the broker keeps of hosts that nobody speaks for: their labels go, and all of those that are gone."""
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
                if gone or (place.kind == "present" and not heard):
                    self._retained.clear(topic)
            if gone:
                self._log.info("box_gone", host=host)
                self._roster.forget(host)
                self._relays.hosts.discard(host)

    def _connected(self) -> None:
        discovery = [f"{self._discovery}/+/+/+/config"] if self._discovery else []
        self._broker.subscribe([*self._topics.kept, *discovery])
        self._connected_at = time.monotonic()
        self._retained.keep(self._topics.relay, ONLINE)
        self._retained.keep(self._topics.record, self._relays.record)
        self._retained.all_again()

    def _received(self, topic: str, payload: bytes, kept: bool) -> None:
        """The broker has this from an earlier run, or it was told so just now, by us or by another relay."""
        if kept and payload:
            self._retained.found(topic, payload)
        self._relays.heard(topic, payload, retained=kept)
        place = self._topics.place(topic)
        alive = place is not None and place.kind == "available" and self._roster.online(place.host, time.monotonic())
        # A will that comes late, or a relay that does not hear the box.
        if not self._leaving and payload == OFFLINE and (alive or topic == self._topics.relay):
            self._retained.again(topic)

    def _leave(self) -> None:
        """Say that this relay is gone, and that nobody knows of its boxes now; hang up, after a second at most."""
        self._leaving = True
        for host in self._roster.hosts:
            if not self._relays.another_speaks_for(host):
                self._retained.keep(self._topics.available(host), OFFLINE)
        self._retained.keep(self._topics.relay, OFFLINE)
        self._retained.send(self._broker.keep)
        self._broker.leave(_LAST_WORDS_SECONDS)

    def _tell(self, notice: Notice) -> None:
        match notice:
            case Gap():
                self._log.warning("messages_lost", topic=notice.topic, lost=notice.lost)
            case Unreadable():
                self._log.warning("message_unreadable", topic=notice.topic, why=one_line(notice.why))
            case Link(state="connected"):
                self._log.info("box_connected", endpoint=notice.endpoint)
            case Link():
                self._log.warning(f"box_{notice.state}", endpoint=notice.endpoint, why=notice.why)


def _labels(scores: Mapping[str, float]) -> bytes:
    """The payload that says which labels are there, the best first."""
    return msgspec.json.encode({"labels": sorted(scores, key=lambda label: -scores[label])})
