"""An HTTP request, parsed strictly: anything ambiguous is refused."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

__all__ = ["LONGEST_HEAD", "BadRequestError", "HttpRequest", "head_end"]

LONGEST_HEAD = 16384
"""Bytes; a browser sends about 1000."""

_MOST_FIELDS = 100
_MOST_DIGITS = 15
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105
_LINE = re.compile(rf"({_TOKEN}) ([\x21-\x7e]+) HTTP/1\.[01]")
_FIELD = re.compile(rf"({_TOKEN}):[ \t]*([\x20-\x7e\t\x80-\xff]*)")
# Lines may end without a carriage return (RFC 9112, 2.2): handwritten health checks often lack it.
_END = re.compile(rb"\r?\n\r?\n")
# A second one of these, which decide about access or the body, is an attempt to be read in two ways.
_ONCE = ("host", "origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "authorization", "content-length")


class BadRequestError(Exception):
    """A request that cannot be parsed; the text is the reason in a few words."""

    def __init__(self, why: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A parsed request; path: decoded, without the query.

    hosts: the authorities in its target and in its Host field; empty where an HTTP/1.0 client names none. fields: by
    their names in lower case. body: of a POST to a server that takes it; empty otherwise.
    """

    method: str
    path: str
    hosts: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def parse(cls, head: bytes) -> "HttpRequest":
        """Parse a head without the empty line at its end; raise BadRequestError where it is malformed."""
        first, *rest = re.split(r"\r?\n", head.decode("latin-1"))
        line = _LINE.fullmatch(first)
        if line is None:
            raise BadRequestError("no request of HTTP/1.0 or HTTP/1.1")
        fields = _fields(rest)
        method, target = line.groups()
        hosts = (fields["host"],) if "host" in fields else ()
        if re.match("https?://", target, re.IGNORECASE):
            authority, target = _absolute(target)
            hosts = (authority, *hosts)
        return cls(method, _path(target), hosts, fields)

    def body_length(self, most: int) -> int:
        """Return the bytes of its body; raise BadRequestError if they are not told, or more than `most`."""
        told = self.fields.get("content-length", "")
        if "transfer-encoding" in self.fields or not (told.isascii() and told.isdigit()):
            raise BadRequestError("a body whose length is not told", HTTPStatus.LENGTH_REQUIRED)
        if len(told) > _MOST_DIGITS or int(told) > most:
            raise BadRequestError(f"a body of more than {most} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return int(told)


def head_end(received: bytes | bytearray) -> tuple[int, int] | None:
    """Return the start and end of the empty line that ends the head; None where it has not arrived yet."""
    match = _END.search(received)
    return None if match is None else match.span()


def _fields(lines: list[str]) -> dict[str, str]:
    if len(lines) > _MOST_FIELDS:
        raise BadRequestError(f"more than {_MOST_FIELDS} fields", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    fields: dict[str, str] = {}
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise BadRequestError("a field that is none")
        name = match[1].lower()
        if name in _ONCE and name in fields:
            raise BadRequestError(f"{name} stands there twice")
        fields[name] = match[2].strip(" \t")
    return fields


def _absolute(target: str) -> tuple[str, str]:
    try:
        parts = urlsplit(target)
    except ValueError:
        raise BadRequestError("a target that is no address") from None
    return parts.netloc, parts.path or "/"


def _path(target: str) -> str:
    """Return a target's decoded path; one that does not begin with a slash matches no route."""
    try:
        return unquote(re.split("[?#]", target, maxsplit=1)[0], errors="strict")
    except UnicodeDecodeError:
        raise BadRequestError("a path that is not UTF-8") from None
