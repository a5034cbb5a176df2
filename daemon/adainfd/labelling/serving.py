"""`adainfd label --serve`: the page to label, for this box alone and whoever has the token."""

import select
from ipaddress import ip_address

from adainf.base import output
from adainf.base.errors import InvalidInputError
from adainfd.base import logs, state
from adainfd.base.stopping import StopRequest
from adainfd.config.configuration import split_address
from adainfd.labelling.routes import MOST_BODY, label_posts, label_routes
from adainfd.labelling.sorting import Labels
from adainfd.labelling.token import TOKEN_KINDS, Doorkeeper, token_of
from adainfd.service.web.access import Access
from adainfd.service.web.refusals import Refusals
from adainfd.service.web.server import WebServer

__all__ = ["serve"]

# A page of hundreds of pictures may take half of a processor: this program does nothing else.
_SHARE = 0.5
_SAY_SECONDS = 1.0


def serve(labels: Labels, bind: str) -> None:
    """Serve the page at ADDRESS:PORT until a stop signal, after printing the address that opens it.

    Raises InvalidInputError if `bind` is no loopback address, or cannot be bound.
    """
    try:
        host, port = split_address(bind)
    except ValueError as error:
        raise InvalidInputError(f"--serve {bind}: {error}") from None
    if not ip_address(host).is_loopback:
        raise InvalidInputError(f"--serve {bind}: must be an address of this box alone, such as 127.0.0.1:9601")
    token = token_of(state.folder() / "label.token")
    refusals = Refusals(logs.configure(), kinds=TOKEN_KINDS)
    with StopRequest() as stop:
        server = WebServer(
            host,
            port,
            label_routes(),
            Access(host),
            refusals,
            share=_SHARE,
            posts=label_posts(labels, Doorkeeper(token, refusals)),
            most_body=MOST_BODY,
        )
        try:
            server.start()
            shown = f"[{host}]" if ":" in host else host
            output.show(f"http://{shown}:{server.address[1]}/#{token}")
            stop.defer()
            while not stop.requested:
                select.select([stop], [], [], _SAY_SECONDS)
                refusals.turned()
                server.thread.check()
        finally:
            server.close()
