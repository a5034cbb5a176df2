"""Asking the hub that holds weights: first what was fetched, then the hub, at once and in one line where it is away."""

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
    """What `load` gives, which may ask the hub for `what`: from what `adainf fetch` has brought, else from there.

    backbone: FAMILY/NAME, of which it is. Raises InvalidInputError where what was fetched has changed since, and
    UnavailableError where it is neither cached nor to be had. The hub's client tries each file again for half a
    minute, with a line on stderr each time. So the hub is asked once here, and where it does not answer the call has
    what is cached, and no more.
    """
    with quiet():
        for fetched in () if _fetching.get() else folders():
            if check_fetched(fetched, backbone):
                with contextlib.suppress(OSError, RuntimeError), using(cache=fetched / "hub", offline=True):
                    return load()
        try:
            with using(offline=not _answers()):
                return load()
        except (OSError, RuntimeError) as error:
            raise UnavailableError(f"{what}: cannot be fetched; give a local file ({one_line(error, 120)})") from None


@contextmanager
def using(*, offline: bool, cache: Path | None = None) -> Iterator[None]:
    """Inside, the hub's client keeps its files in `cache` (None: where it does anyway), and asks nobody if offline."""
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
    """Inside, models come from the hub anew, into `cache`, and not from what was fetched before."""
    token = _fetching.set(True)
    try:
        with using(offline=False, cache=cache):
            yield
    finally:
        _fetching.reset(token)


@contextmanager
def quiet() -> Iterator[None]:
    """Around a call that logs what we report better, or that is no news, such as weights not loaded yet."""
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
    except Exception:  # the client's library, and so its errors, changed between versions
        return False
    return True
