"""Engines: what runs a frame along a branch. `torch` is the reference."""

from adainf.engines.base import Engine

__all__ = ["Engine"]
