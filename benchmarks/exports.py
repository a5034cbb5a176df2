"""The shipped model's exports, made before a daemon that runs it is measured: a first start makes them beside it."""

import structlog
from adainfd.config.configuration import Configuration
from adainfd.model.recogniser import load_recogniser
from adainfd.model.selection import read_profile

__all__ = ["make_exports"]


def make_exports() -> None:
    """Leave in the cache what an earlier start would have left."""
    configuration = Configuration()
    load_recogniser(configuration, read_profile(configuration.model), structlog.get_logger())
