"""Makes exports that are missing, in a process of its own: the daemon loads no PyTorch, and its frames do not wait."""

import contextlib
import os
import signal
import sys
from collections.abc import Collection
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import FrameType

from adainf.base.errors import AdainfError, InvalidInputError, UnavailableError, one_line
from adainf.branch import Branch
from adainf.profile import Profile
from adainf.recogniser import warm_up_content
from adainfd.base.logs import Logger
from adainfd.base.processes import end_with_parent, started
from adainfd.config.configuration import Configuration
from adainfd.model.selection import content_of, needed_first, opening, wanted_branches

__all__ = ["SCHEDULER", "ExportFailed", "Exporter", "exporter_of_missing"]

_END_WITHIN_SECONDS = 5.0
_NICE = 10

SCHEDULER = "scheduler"
"""Said in a branch's place when all parts that the content-aware scheduler may ask for are at hand."""


@dataclass(frozen=True, slots=True)
class ExportFailed:
    """Nothing more will be exported. error: where the owner can do something about it."""

    why: str
    error: AdainfError | None = None


class Exporter:
    """The process. It exports what is needed first, then with what the processors have to spare all that is wanted.

    for_next_start: nothing waits for its exports, so it makes all of them with what the processors have to spare.
    """

    def __init__(self, configuration: Configuration, profile: Profile, *, for_next_start: bool = False) -> None:
        self._configuration, self._profile = configuration, profile
        self.for_next_start = for_next_start
        self.running = False
        self._process: BaseProcess | None = None

    def begin(self) -> None:
        """Start the process."""
        arguments = (self._configuration, self._profile, self.for_next_start)
        self._process, self.connection = started(_work, *arguments, name="exporter")
        self.running = True

    @property
    def process_id(self) -> int | None:
        """The process's id while there is one."""
        return self._process.pid if self.running and self._process is not None else None

    def have(self, branches: Collection[Branch], log: Logger) -> bool:
        """Wait until these are at hand; False where this process cannot do it.

        Raises InvalidInputError or UnavailableError where nobody can.
        """
        missing = set(branches)
        while missing and self.running:
            said = self.receive()
            if isinstance(said, Branch):
                missing.discard(said)
            elif isinstance(said, ExportFailed):
                if said.error is not None:
                    raise said.error
                log.warning("exporter_failed", why=said.why)
        return not missing

    def receive(self) -> Branch | str | ExportFailed | None:
        """Wait for what is at hand next, a branch or SCHEDULER; None when everything is.

        After None or Failed the process ends by itself. That takes a second, for which no frame must wait.
        """
        try:
            said: Branch | str | ExportFailed | None = self.connection.recv()
        except (EOFError, OSError):
            said = ExportFailed("its process ended early")
        if said is None or isinstance(said, ExportFailed):
            self.running = False
            self.connection.close()
        return said

    def close(self) -> None:
        """End the process, and wait until it has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        self.running = False
        process.terminate()
        process.join(_END_WITHIN_SECONDS)
        if process.is_alive():
            process.kill()
            process.join(_END_WITHIN_SECONDS)
        self.connection.close()


def exporter_of_missing(configuration: Configuration, profile: Profile) -> Exporter | None:
    """The exporter of missing exports, started; None if none is missing or can be made.

    If a GPU is to recognise, the exporter is not started yet: its exports are for the next start, when the processors
    answer until the GPU can.
    """
    asked = opening(configuration, profile)
    if asked.tries_gpu:
        on_processors = _on_processors(configuration)
        missing = asked.name is None and _missing(on_processors, profile)
        return Exporter(on_processors, profile, for_next_start=True) if missing else None
    if not _missing(configuration, profile):
        return None
    exporter = Exporter(configuration, profile)
    exporter.begin()
    return exporter


def _on_processors(configuration: Configuration) -> Configuration:
    model = configuration.model.model_copy(update={"engine": "onnx", "device": "cpu"})
    return configuration.model_copy(update={"model": model})


def _missing(configuration: Configuration, profile: Profile) -> bool:
    asked = opening(configuration, profile)
    if not asked.may_be_onnx or find_spec("onnx") is None:
        return False
    engine, content = asked.recall(), content_of(configuration.model, profile)
    if engine is None or not all(engine.at_hand(branch) for branch in wanted_branches(profile)):
        return True
    return content is not None and not engine.parts_at_hand(content.resolution, content.weights)


def _work(configuration: Configuration, profile: Profile, for_next_start: bool, daemon: Connection) -> None:
    end_with_parent()
    if for_next_start:
        os.nice(_NICE)
    signal.signal(signal.SIGTERM, _stop)  # what is half written goes with it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the daemon is gone
        daemon.send(_outcome(configuration, profile, daemon))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends anyway, and libraries tidy up


def _outcome(configuration: Configuration, profile: Profile, daemon: Connection) -> ExportFailed | None:
    try:
        _export(configuration, profile, daemon)
    except (InvalidInputError, UnavailableError) as error:
        return ExportFailed(str(error), error)
    except Exception as error:  # a library's defect; the daemon does without this process
        return ExportFailed(one_line(error, 160))
    return None


def _stop(number: int, frame: FrameType | None) -> None:
    del number, frame
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit()


def _export(configuration: Configuration, profile: Profile, daemon: Connection) -> None:
    from adainf.engines.onnx import OnnxEngine

    engine = opening(configuration, profile).open()
    if not isinstance(engine, OnnxEngine):
        raise TypeError(f"{profile.backbone} cannot be exported")
    first = needed_first(profile)
    for branch in dict.fromkeys([*first, *wanted_branches(profile)]):
        if branch not in first:
            os.nice(_NICE - os.nice(0))
        engine.warm_up([branch])
        if not engine.at_hand(branch):
            raise OSError("the cache cannot be written")
        daemon.send(branch)
    content = content_of(configuration.model, profile)
    if content is not None:
        warm_up_content(engine, content)
        daemon.send(SCHEDULER)
