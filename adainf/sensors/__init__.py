"""Sensors of this box. They measure and never decide; an unknown value is None."""

from adainf.sensors.readings import Readings, Sensors

__all__ = ["Readings", "Sensors"]
