"""The successor: an engine opened in a background thread while another one answers."""

from collections.abc import Callable
from multiprocessing import Pipe

from adainf.base.errors import AdainfError, UnavailableError, one_line
from adainf.base.hindrances import Watched
from adainf.engines import Engine

__all__ = ["Successor"]

_JOIN_SECONDS = 20.0  # an import cannot be interrupted


class Successor:
    """An opener of an engine in a thread between `start` and `close`; the caller of `take` owns the engine."""

    def __init__(self, open_engine: Callable[[], Engine]) -> None:
        self._open = open_engine
        self._engine: Engine | None = None
        self._failure: AdainfError | None = None
        self.connection, self._opened = Pipe(duplex=False)
        """Readable once the engine is open or has failed to open."""
        self._thread = Watched("successor", self._work)

    def start(self) -> None:
        """Start to open the engine."""
        self._thread.leave()  # a thread that returns by itself is no defect
        self._thread.start()

    def take(self) -> Engine | None:
        """Return the engine once it is open, else None; raises UnavailableError or InvalidInputError if that failed."""
        if not self.connection.poll():
            return None
        if self._failure is not None:
            raise self._failure
        engine, self._engine = self._engine, None
        return engine

    def close(self) -> None:
        """Wait up to 20 s for the thread and close an engine that was not taken; a hanging driver is abandoned."""
        if self._thread.join(_JOIN_SECONDS) and self._engine is not None:
            self._engine.close()
            self._engine = None

    def _work(self) -> None:
        try:
            self._engine = self._open()
        except AdainfError as error:
            self._failure = error
        except Exception as error:  # a defect in a library or driver; the current engine continues
            self._failure = UnavailableError(one_line(f"{type(error).__name__}: {error}", 200))
        finally:
            self._opened.send_bytes(b".")
