"""Logging: readable lines on a terminal, JSON for whatever else reads stderr."""

import sys
from typing import Any

import structlog

__all__ = ["Logger", "configure"]

Logger = Any
"""A structlog logger: its methods take an event's name and named values."""


def configure() -> Logger:
    """The daemon's logger; call once, in the command."""
    on_terminal = sys.stderr.isatty()
    renderer: Any = structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer()
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if on_terminal else "iso", utc=not on_terminal),
            renderer,
        ],
        wrapper_class=structlog.BoundLogger,
    )
