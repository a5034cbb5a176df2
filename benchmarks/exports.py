"""Exports of the shipped model, made before a daemon is measured: otherwise its first start makes them meanwhile."""

import structlog
from adainfd.config.configuration import Configuration
from adainfd.model.recogniser import load_recogniser
from adainfd.model.selection import read_profile

__all__ = ["make_exports"]


def make_exports() -> None:
    """Fill the export cache as an earlier start would have done."""
    configuration = Configuration()
    load_recogniser(configuration, read_profile(configuration.model), structlog.get_logger())
