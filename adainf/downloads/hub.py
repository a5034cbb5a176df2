"""Loading weights from fetched models, else from the hub, failing fast with a one-line error if it is unreachable."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from adainf.base.errors import UnavailableError, one_line
from adainf.downloads.fetched import check_fetched, folders

__all__ = ["fetching", "from_hub", "quiet", "using"]

_PATIENCE_S = 5.0

Loaded = TypeVar("Loaded")
_fetching: ContextVar[bool] = ContextVar("fetching", default=False)


def from_hub(what: str, backbone: str, load: Callable[[], Loaded]) -> Loaded:
    """Return the result of `load`, which may need files of the hub: from fetched models, else from the hub.

    what: names the files in errors. backbone: their FAMILY/NAME. Raises InvalidInputError if a fetched model has
    changed, and UnavailableError if a file is neither cached nor available. The hub's client retries each file for
    half a minute, with a line on stderr each time. So the hub is probed once; if it does not answer, `load` runs
    offline on the cache alone.
    """
    with quiet():
        for folder in () if _fetching.get() else folders():
            if check_fetched(folder, backbone):
                with contextlib.suppress(OSError, RuntimeError), using(cache=folder / "hub", offline=True):
                    return load()
        try:
            with using(offline=not _answers()):
                return load()
        except (OSError, RuntimeError) as error:
            raise UnavailableError(f"{what}: cannot be fetched; give a local file ({one_line(error, 120)})") from None


@contextmanager
def using(*, offline: bool, cache: Path | None = None) -> Iterator[None]:
    """Make the hub's client use `cache` (None: its current one) inside the context, without network if `offline`."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, constants.HF_HUB_CACHE
    constants.HF_HUB_OFFLINE = before[0] or offline
    constants.HF_HUB_CACHE = str(cache or before[1])
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, constants.HF_HUB_CACHE = before


@contextmanager
def fetching(cache: Path) -> Iterator[None]:
    """Ignore fetched models inside the context, and download from the hub into `cache`."""
    token = _fetching.set(True)
    try:
        with using(offline=False, cache=cache):
            yield
    finally:
        _fetching.reset(token)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress logs of a library whose errors we report ourselves, or that are noise, such as unloaded weights."""
    was_disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(was_disabled)


def _answers() -> bool:
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE_S)
    except Exception:  # the client's HTTP library, and so its errors, differ by version
        return False
    return True
