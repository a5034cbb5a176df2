"""Asking the hub that holds weights: at once and in one line, where it cannot be reached."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from adainf.errors import UnavailableError, one_line

__all__ = ["asking_hub", "quiet"]

_PATIENCE_S = 5.0


@contextmanager
def asking_hub(what: str) -> Iterator[None]:
    """Around a call that may fetch `what`; raises UnavailableError where that is neither cached nor reachable.

    The hub's client tries each file again for half a minute, with a line on stderr each time. So it is asked once
    here, and where it does not answer the call has what is cached, and no more.
    """
    from huggingface_hub import constants

    was_offline = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = was_offline or not _answers()
    try:
        with quiet():
            yield
    except (OSError, RuntimeError) as error:
        raise UnavailableError(f"{what}: cannot be fetched; give a local file ({one_line(error, 120)})") from None
    finally:
        constants.HF_HUB_OFFLINE = was_offline


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
