"""The observers of the daemon, assembled from its configuration: log, systemd and web server."""

import contextlib
from collections.abc import Iterator, Mapping

from adainf.base.hindrances import Hindrances
from adainfd.base.logs import Logger
from adainfd.config.configuration import Configuration, WebSection
from adainfd.service.journal import Journal
from adainfd.service.notify import Notifier, for_systemd
from adainfd.service.overview import Overview
from adainfd.wire.observing import Observer, Observers

__all__ = ["observers"]


@contextlib.contextmanager
def observers(
    configuration: Configuration,
    environment: Mapping[str, str],
    log: Logger,
    *,
    log_results: bool,
    hindrances: Hindrances,
) -> Iterator[Observer]:
    """Assemble the log, systemd if it started us, and with a section [web] the web server, which closes on exit.

    log_results: log every result. hindrances: where the observers' own problems are registered.
    Raises InvalidInputError if the web server's address cannot be bound.
    """
    overview = Overview()  # first: the others read from it
    systemd = for_systemd(environment, overview)
    if isinstance(systemd, Notifier):
        hindrances.watch(systemd)
    with contextlib.ExitStack() as parts:
        watchers: list[Observer] = [
            overview,
            systemd,
            Journal(overview, log, results=log_results),
        ]
        if configuration.web is not None:
            watchers += parts.enter_context(_web(configuration.web, overview, log, hindrances))
        yield Observers(watchers)


@contextlib.contextmanager
def _web(section: WebSection, overview: Overview, log: Logger, hindrances: Hindrances) -> Iterator[list[Observer]]:
    from adainfd.service.health import Health
    from adainfd.service.metrics import Metrics
    from adainfd.service.pictures import Pictures
    from adainfd.service.web.access import Access
    from adainfd.service.web.refusals import Refusals
    from adainfd.service.web.routes import daemon_routes
    from adainfd.service.web.server import WebServer

    refusals, pictures, health = Refusals(log), Pictures(section.pictures), Health()
    metrics, access = Metrics(overview, refusals), Access(section.address[0], section.hosts)
    server = WebServer(*section.address, daemon_routes(overview, metrics, pictures, health), access, refusals)
    hindrances.watch(server.thread)
    try:
        server.start()
        log.info("web", address="{}:{}".format(*server.address))
        yield [metrics, pictures, health, refusals]
    finally:
        server.close()
