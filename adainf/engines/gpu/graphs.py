"""Recorded forward passes: made by a thread of their own, kept while they are used, given back at once."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

from adainf.engines.gpu.cuda import RecordedPass

__all__ = ["Graphs"]

_AGAIN_SECONDS = 30.0

Key = TypeVar("Key", bound=Hashable)


class Graphs(Generic[Key]):
    """At most so many recordings; the one not used for longest goes.

    One thread makes them, so that nobody waits for one, and because cuDNN's plans, which take seconds where shapes are
    new, are known only to the thread that made them. Its methods are called by one other thread.
    """

    def __init__(self, record: Callable[[Key], RecordedPass], most: int) -> None:
        self._record = record
        self._most = most
        self._made: OrderedDict[Key, RecordedPass] = OrderedDict()
        self._lock = threading.Lock()
        self._asked: dict[Key, Future[None]] = {}
        self._no_memory_until = 0.0
        self._thread = ThreadPoolExecutor(1, "graphs")

    def __contains__(self, key: Key) -> bool:
        """Whether the recording is made; to ask is not to use it."""
        with self._lock:
            return key in self._made

    def get(self, key: Key) -> RecordedPass | None:
        """The recording where it is made, which is used now."""
        with self._lock:
            made = self._made.get(key)
            if made is not None:
                self._made.move_to_end(key)
            return made

    def ask(self, key: Key) -> bool:
        """Whether the recording is made; where it is not, it will be. Raises what went wrong at the last try.

        Where there was no memory for one, none is tried for a while.
        """
        if key in self:
            return True
        asked = self._asked.get(key)
        if asked is None:
            if time.monotonic() >= self._no_memory_until:
                self._asked[key] = self._thread.submit(self._make, key)
            return False
        if not asked.done():
            return False
        del self._asked[key]
        try:
            asked.result()
        except CancelledError:
            return False
        except torch.cuda.OutOfMemoryError:
            self._no_memory_until = time.monotonic() + _AGAIN_SECONDS
            return False
        return key in self

    def now(self, key: Key) -> RecordedPass:
        """The recording, waited for where it is not made; raises what making it raises."""
        while (made := self.get(key)) is None:
            asked = self._asked.pop(key, None) or self._thread.submit(self._make, key)
            asked.result()
        return made

    def forget(self) -> None:
        """Let go of all recordings and of their memory, and make none that was asked for."""
        for asked in self._asked.values():
            asked.cancel()
        self._thread.submit(self._made.clear).result()  # once the one that is being made is there
        self._asked.clear()

    def close(self) -> None:
        """End the thread; a recording that is being made is waited for."""
        self._thread.shutdown(cancel_futures=True)
        self._asked.clear()
        self._made.clear()

    def _make(self, key: Key) -> None:
        if key in self:
            return
        made = self._record(key)
        with self._lock:
            self._made[key] = made
            while len(self._made) > self._most:
                self._made.popitem(last=False)
