"""An LRU cache of recorded forward passes, recorded by a background thread."""

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
    """At most `most` recordings; the least recently used is evicted.

    A single background thread records, so that frames need not wait, and because cuDNN's plans, which take seconds for
    new shapes, are visible only to the thread that made them. Call the methods from one other thread.
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
        """Return whether the recording exists, without marking it as used."""
        with self._lock:
            return key in self._made

    def get(self, key: Key) -> RecordedPass | None:
        """Return the recording if it exists, and mark it as used."""
        with self._lock:
            recording = self._made.get(key)
            if recording is not None:
                self._made.move_to_end(key)
            return recording

    def ask(self, key: Key) -> bool:
        """Return whether the recording exists; if not, start it in the background.

        Raises the error of the last attempt. After running out of memory, start no recording for 30 seconds.
        """
        if key in self:
            return True
        future = self._asked.get(key)
        if future is None:
            if time.monotonic() >= self._no_memory_until:
                self._asked[key] = self._thread.submit(self._make, key)
            return False
        if not future.done():
            return False
        del self._asked[key]
        try:
            future.result()
        except CancelledError:
            return False
        except torch.cuda.OutOfMemoryError:
            self._no_memory_until = time.monotonic() + _AGAIN_SECONDS
            return False
        return key in self

    def now(self, key: Key) -> RecordedPass:
        """Return the recording, waiting for it if necessary; raises what recording raises."""
        while (recording := self.get(key)) is None:
            future = self._asked.pop(key, None) or self._thread.submit(self._make, key)
            future.result()
        return recording

    def forget(self) -> None:
        """Drop all recordings with their memory, and cancel the pending ones."""
        for future in self._asked.values():
            future.cancel()
        self._thread.submit(self._made.clear).result()  # runs after the recording in progress
        self._asked.clear()

    def close(self) -> None:
        """Stop the thread, waiting for a recording in progress."""
        self._thread.shutdown(cancel_futures=True)
        self._asked.clear()
        self._made.clear()

    def _make(self, key: Key) -> None:
        if key in self:
            return
        recording = self._record(key)
        with self._lock:
            self._made[key] = recording
            while len(self._made) > self._most:
                self._made.popitem(last=False)
