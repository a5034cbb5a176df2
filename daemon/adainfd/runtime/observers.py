"""All who watch the daemon as a service, put together as the owner wants them."""

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
    """The log, systemd if it started us, and the web server, if there is a section [web]; it ends with this context.

    log_results: a line for each of them. hindrances: also of those who watch.
    Raises InvalidInputError where the web server's address cannot be bound.
    """
    overview = Overview()  # first: the others look at it
    systemd = for_systemd(environment, overview)
    if isinstance(systemd, Notifier):
        hindrances.watch(systemd)
    with contextlib.ExitStack() as parts:
        told: list[Observer] = [
            overview,
            systemd,
            Journal(overview, log, results=log_results),
        ]
        if configuration.web is not None:
            told += parts.enter_context(_web(configuration.web, overview, log, hindrances))
        yield Observers(told)


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
