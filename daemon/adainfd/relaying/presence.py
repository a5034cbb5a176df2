"""Which labels a camera shows now, put together from its events."""

import msgspec

from adainfd.wire.messages import Event

__all__ = ["Presence"]


class Presence:
    """The labels that have appeared and are not gone, by camera and region."""

    def __init__(self) -> None:
        self._labels: dict[tuple[str, str, str | None], dict[str, float]] = {}
        self._started_at: dict[tuple[str, str, str | None], float] = {}

    def after(self, event: Event) -> bytes:
        """What is there after `event` where it was seen: JSON with the `labels`, those of the highest score first."""
        place = event.host, event.camera, event.region
        labels = self._labels.setdefault(place, {})
        if self._started_at.get(place) != event.started_at:  # a daemon that was restarted sees all anew
            labels.clear()
            self._started_at[place] = event.started_at
        if event.event == "gone":
            labels.pop(event.label, None)
        else:
            labels[event.label] = event.score
        return msgspec.json.encode({"labels": sorted(labels, key=lambda label: -labels[label])})
