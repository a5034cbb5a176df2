"""What the page to label asks for: its files, which are for all, and with the token the pictures and the moves."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib.resources import files

import msgspec

from adainf.base.errors import InvalidInputError
from adainf.classes.labels import UNKNOWN
from adainfd.labelling.sorting import Labels
from adainfd.labelling.token import Doorkeeper
from adainfd.service.web.request import HttpRequest
from adainfd.service.web.response import Posts, Response, Routes

__all__ = ["MOST_BODY", "label_posts", "label_routes"]

MOST_BODY = 1 << 20
"""Bytes: the names of some thousand pictures."""

_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/label.js": ("label.js", "text/javascript; charset=utf-8"),
    "/label.css": ("label.css", "text/css; charset=utf-8"),
}
# As for every page, but pictures are asked for with the token, and so are shown from the page's own memory.
_POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
}


class _One(msgspec.Struct, forbid_unknown_fields=True):
    """A picture to show."""

    name: str


class _Names(msgspec.Struct, forbid_unknown_fields=True):
    """Pictures to move or to remove."""

    names: list[str]


class _Move(_Names, forbid_unknown_fields=True):
    """Pictures to move, and the class that they are moved to."""

    into: str


def label_routes() -> Routes:
    """Return the routes of the page's files, which are read once and show nothing of anybody."""
    folder = files("adainfd.labelling") / "page"
    responses = {
        path: Response((folder / name).read_bytes(), kind, headers=_POLICY) for path, (name, kind) in _PAGE.items()
    }
    return {path: lambda response=response: response for path, response in responses.items()}  # type: ignore[misc]


def label_posts(labels: Labels, doorkeeper: Doorkeeper) -> Posts:
    """Return the functions that list, show, move and remove the unsorted pictures of `labels`, each for the token."""

    def listing(body: bytes) -> Response:
        del body
        return _listing(labels)

    def picture(body: bytes) -> Response:
        return Response(labels.read(msgspec.json.decode(body, type=_One).name), "image/jpeg")

    def move(body: bytes) -> Response:
        asked = msgspec.json.decode(body, type=_Move)
        labels.put(asked.names, asked.into)
        return _listing(labels)

    def drop(body: bytes) -> Response:
        labels.drop(msgspec.json.decode(body, type=_Names).names)
        return _listing(labels)

    made = {"/listing": listing, "/picture": picture, "/move": move, "/drop": drop}
    return {path: _guarded(make, doorkeeper) for path, make in made.items()}


def _guarded(
    make: Callable[[bytes], Response], doorkeeper: Doorkeeper
) -> Callable[[HttpRequest, str], Response | Awaitable[Response]]:
    def respond(request: HttpRequest, client: str) -> Response | Awaitable[Response]:
        if not doorkeeper.knows(request):
            return doorkeeper.refuse(client)
        try:
            return make(request.body)
        except InvalidInputError as error:
            return Response(f"{error}\n".encode(), status=HTTPStatus.CONFLICT)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Response(b"a body that is none\n", status=HTTPStatus.BAD_REQUEST)

    return respond


def _listing(labels: Labels) -> Response:
    pictures, classes = labels.unsorted(), labels.classes()
    # What the daemon was taught goes before the first picture is sorted.
    taught = {picture.label for picture in pictures if picture.label not in (None, UNKNOWN)}
    known = {name: classes.get(name, 0) for name in sorted({*classes, *filter(None, taught)}) if name != UNKNOWN}
    document = {
        "folder": str(labels.folder),
        "pictures": pictures,
        "classes": [{"name": name, "pictures": count} for name, count in known.items()],
        "unknown": {"name": UNKNOWN, "pictures": classes.get(UNKNOWN, 0)},
    }
    return Response(msgspec.json.encode(document), "application/json")
