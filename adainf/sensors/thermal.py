"""Temperatures from the kernel's thermal zones."""

import re
from pathlib import Path

from adainf.sensors.values import SensorValues, UntoldError, read_number, text_matches

__all__ = ["Thermometer"]

_PASSIVE = re.compile("passive")


class Thermometer:
    """A reader of the hottest thermal zone of one kind."""

    def __init__(self, device: str, kind: "re.Pattern[str]", root: Path) -> None:
        """device: names the zones' device in error reasons. kind: matches the zones' types. root: stands in for /."""
        self._device = device
        self._folder = root / "sys" / "class" / "thermal"
        self._zones = [zone for zone in sorted(self._folder.glob("thermal_zone*")) if text_matches(zone / "type", kind)]

    def tell(self, answers: SensorValues) -> None:
        """Add `temperature_celsius`, and `temperature_headroom_celsius` below the lowest passive trip point."""
        if not self._zones:
            answers.lose("temperature_celsius", f"{self._folder}: no zone of the {self._device}")
            answers.lose("temperature_headroom_celsius", None)
            return
        answers.ask("temperature_celsius", lambda: max(_celsius(zone / "temp") for zone in self._zones))
        answers.derive("temperature_headroom_celsius", "temperature_celsius", self._headroom)

    def _headroom(self, celsius: float) -> float:
        trips = [
            _celsius(trip.with_name(trip.name.replace("_type", "_temp")))
            for zone in self._zones
            for trip in sorted(zone.glob("trip_point_*_type"))
            if text_matches(trip, _PASSIVE)
        ]
        set_trips = [trip for trip in trips if trip > 0]  # an unset trip point reads 0 or -274
        if not set_trips:
            raise UntoldError(f"{self._folder}: no zone of the {self._device} has a passive trip point")
        return round(min(set_trips) - celsius, 3)


def _celsius(path: Path) -> float:
    return read_number(path) / 1000
