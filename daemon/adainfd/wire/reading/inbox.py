"""Received messages: decoded, checked for gaps in their sequences, and filtered of known repetitions."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from adainf.base.errors import one_line
from adainfd.wire.messages import LONGEST_TOPIC, SCHEMAS, Message, topic_of

__all__ = ["Gap", "Inbox", "Unreadable"]

_MOST_TOPICS = 10_000
"""Topics whose sequences are remembered; beyond that, losses in the least recently heard ones go unnoticed."""
_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages of a topic that were published but did not arrive: those between two sequence numbers."""

    topic: str
    after: int
    before: int

    @property
    def lost(self) -> int:
        """The number of missing messages."""
        return self.before - self.after - 1


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A received message that is not the daemon's, or is of a later version than this reader.

    topic: escaped and truncated, since it may hold anything.
    """

    topic: str
    why: str


_Decode = Callable[[bytes], Message]
_JSON: dict[str, _Decode] = {kind: msgspec.json.Decoder(type_).decode for kind, type_ in SCHEMAS.items()}
_MSGPACK: dict[str, _Decode] = {kind: msgspec.msgpack.Decoder(type_).decode for kind, type_ in SCHEMAS.items()}


@dataclass(slots=True)
class _Heard:
    """The last sequence number of a topic, and whether a message of it was live rather than repeated."""

    started_at: float
    sequence: int
    live: bool


class Inbox:
    """Decodes the parts of the messages that a socket received."""

    def __init__(self, notice: Callable[[Gap | Unreadable], None]) -> None:
        """notice: called with each gap, before the message that follows it, and with each unreadable message."""
        self.lost = 0
        self._notice = notice
        self._heard: OrderedDict[str, _Heard] = OrderedDict()

    def take(self, parts: Sequence[bytes]) -> Message | None:
        """Return the message; None where it is unreadable, or repeated and already known."""
        topic = parts[0].decode(errors="replace")
        try:
            message = _read(topic, parts[1:])
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            self._notice(Unreadable(_shown(topic), one_line(error, _LONGEST_REASON)))
            return None
        return message if self._is_news(topic, message) else None

    def _is_news(self, topic: str, message: Message) -> bool:
        state = self._heard.get(topic)
        if state is None or state.started_at != message.started_at:
            self._heard[topic] = _Heard(message.started_at, message.sequence, live=not message.repeated)
            if len(self._heard) > _MOST_TOPICS:
                self._heard.popitem(last=False)
            return True
        self._heard.move_to_end(topic)
        if message.repeated and message.sequence <= state.sequence:
            return False
        # The last values sent again to a late subscriber have gaps: they are the last message of each region alone.
        catching_up = message.repeated and not state.live
        if message.sequence > state.sequence + 1 and not catching_up:
            gap = Gap(topic, state.sequence, message.sequence)
            self.lost += gap.lost
            self._notice(gap)
        state.sequence, state.live = message.sequence, not catching_up
        return True


def _read(topic: str, rest: Sequence[bytes]) -> Message:
    """Decode a message; raise ValueError or RecursionError, as msgspec does, where the parts are not a message."""
    if len(topic) > LONGEST_TOPIC:
        raise ValueError(f"the topic has {len(topic)} characters, at most {LONGEST_TOPIC} are read")
    if len(rest) != 1:
        raise ValueError(f"has {1 + len(rest)} parts, must have 2")
    kind, (body,) = topic.partition("/")[0], rest
    # A MessagePack message never begins with a brace: it is a map, whose first byte is another.
    decoders = _JSON if body.startswith(b"{") else _MSGPACK
    if kind not in decoders:
        raise ValueError(f"topics of type {_shown(kind)} are unknown")
    message = decoders[kind](body)
    if topic_of(message) != topic:
        raise ValueError(f"stands under another topic than its own, {topic_of(message)}")
    return message


def _shown(topic: str) -> str:
    return ascii(topic)[1:-1][:LONGEST_TOPIC]
