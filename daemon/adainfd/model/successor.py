"""An engine that is opened in a thread of its own while another one answers."""

from collections.abc import Callable
from multiprocessing import Pipe

from adainf.base.errors import AdainfError, UnavailableError, one_line
from adainf.base.hindrances import Watched
from adainf.engines import Engine

__all__ = ["Successor"]

_JOIN_SECONDS = 20.0  # an import cannot be broken off


class Successor:
    """Opens an engine between `start` and `close`; whoever takes it owns it."""

    def __init__(self, open_engine: Callable[[], Engine]) -> None:
        self._open = open_engine
        self._engine: Engine | None = None
        self._failure: AdainfError | None = None
        self.connection, self._opened = Pipe(duplex=False)
        """Readable when the engine is open, or cannot be opened."""
        self._thread = Watched("successor", self._work)

    def start(self) -> None:
        """Begin to open."""
        self._thread.leave()  # it ends by itself
        self._thread.start()

    def take(self) -> Engine | None:
        """The engine once it is open, else None; raises UnavailableError or InvalidInputError where it cannot be."""
        if not self.connection.poll():
            return None
        if self._failure is not None:
            raise self._failure
        taken, self._engine = self._engine, None
        return taken

    def close(self) -> None:
        """End the thread, and the engine where nobody took it. A driver that hangs is left behind."""
        if self._thread.join(_JOIN_SECONDS) and self._engine is not None:
            self._engine.close()
            self._engine = None

    def _work(self) -> None:
        try:
            self._engine = self._open()
        except AdainfError as error:
            self._failure = error
        except Exception as error:  # a library's or driver's defect; the engine that answers goes on
            self._failure = UnavailableError(one_line(f"{type(error).__name__}: {error}", 200))
        finally:
            self._opened.send_bytes(b".")
