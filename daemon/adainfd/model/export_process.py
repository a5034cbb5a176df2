"""Missing exports, made in a subprocess: the daemon need not load PyTorch, and no frame waits for an export."""

import contextlib
import os
import signal
import sys
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

__all__ = ["SCHEDULER", "ExportFailed", "Exporter", "OpenedNetworks", "exporter_of_missing"]

_END_WITHIN_SECONDS = 5.0
_NICE = 10

SCHEDULER = "scheduler"
"""Sent in place of a branch once every part that the content-aware scheduler may use is exported."""


@dataclass(frozen=True, slots=True)
class OpenedNetworks:
    """The first report: what their branches name the networks that could be opened, and why others could not."""

    networks: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExportFailed:
    """The end of exporting after a failure. error: set if the owner can fix the cause."""

    why: str
    error: AdainfError | None = None


class Exporter:
    """The export subprocess: exports the branches needed first, then the remaining ones at low CPU priority.

    for_next_start: nothing waits for its exports, so all of them are made at low CPU priority.
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
        """The process id while it runs, else None."""
        return self._process.pid if self.running and self._process is not None else None

    def have_first(self, log: Logger) -> OpenedNetworks | None:
        """Wait until the branches needed first are exported; return None if this subprocess fails to.

        Raises InvalidInputError or UnavailableError if the branches cannot be exported at all.
        """
        opened: OpenedNetworks | None = None
        missing: set[Branch] = set()
        while self.running and (opened is None or missing):
            report = self.receive()
            if isinstance(report, OpenedNetworks):
                opened = report
                missing = set(needed_first(self._profile.of_networks(opened.networks)))
            elif isinstance(report, Branch):
                missing.discard(report)
            elif isinstance(report, ExportFailed):
                if report.error is not None:
                    raise report.error
                log.warning("exporter_failed", why=report.why)
        return None if missing else opened

    def receive(self) -> OpenedNetworks | Branch | str | ExportFailed | None:
        """Wait for the next report: the opened networks, then each export, a branch or SCHEDULER; None at the end.

        After None or ExportFailed the process exits by itself, within about a second; do not wait for it while frames
        are pending.
        """
        try:
            report: OpenedNetworks | Branch | str | ExportFailed | None = self.connection.recv()
        except (EOFError, OSError):
            report = ExportFailed("its process ended early")
        if report is None or isinstance(report, ExportFailed):
            self.running = False
            self.connection.close()
        return report

    def close(self) -> None:
        """Terminate the process and wait for it; kill it after 5 s."""
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
    """Return a started exporter of missing exports; None if none is missing or can be made.

    With a GPU, the exporter is not started yet: its exports are for the next start, when the CPU answers until the GPU
    is ready.
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
    return content is not None and not engine.parts_at_hand(content.resolution, content.network)


def _work(configuration: Configuration, profile: Profile, for_next_start: bool, daemon: Connection) -> None:
    end_with_parent()
    if for_next_start:
        os.nice(_NICE)
    signal.signal(signal.SIGTERM, _stop)  # exit by SystemExit, so that half-written files are removed
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the daemon is gone
        daemon.send(_outcome(configuration, profile, daemon))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # already exiting; do not interrupt the libraries' cleanup


def _outcome(configuration: Configuration, profile: Profile, daemon: Connection) -> ExportFailed | None:
    try:
        _export(configuration, profile, daemon)
    except (InvalidInputError, UnavailableError) as error:
        return ExportFailed(str(error), error)
    except Exception as error:  # a defect in a library; the daemon continues without this process
        return ExportFailed(one_line(error, 160))
    return None


def _stop(number: int, frame: FrameType | None) -> None:
    del number, frame
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit()


def _export(configuration: Configuration, profile: Profile, daemon: Connection) -> None:
    from adainf.engines.onnx import OnnxEngine

    warnings: list[str] = []
    engine = opening(configuration, profile, warnings.append).open()
    if not isinstance(engine, OnnxEngine):
        raise TypeError(f"{profile.title} cannot be exported")
    daemon.send(OpenedNetworks(tuple(engine.outlines), tuple(warnings)))
    profile = profile.of_networks(engine.outlines)
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
