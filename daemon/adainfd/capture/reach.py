"""The files, ports and sockets a camera process needs for its source; the sandbox denies everything else."""

import ipaddress
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from adainf.media.captures import owners_options
from adainfd.capture.leash import followed_ports
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Kind, Source, SourceError

__all__ = ["Reach", "identities", "libraries", "reach_of"]

_DNS = 53
# Default ports of the schemes that use a single port for all connections.
_PORTS = {
    **dict.fromkeys(("http", "mmsh", "rtmpt", "rtmpte"), 80),
    **dict.fromkeys(("https", "rtmps", "rtmpts"), 443),
    **dict.fromkeys(("rtmp", "rtmpe"), 1935),
    **dict.fromkeys(("gopher", "gophers"), 70),
    **dict.fromkeys(("tcp", "tls"), 0),
    "rtsp": 554,
    "rtsps": 322,
    "mmst": 1755,
    "icecast": 8000,
}
_HTTPS = 443
# Servers of these schemes choose additional ports freely.
_OF_ANY_PORT = ("ftp", "sftp")
# FFmpeg and its libraries receive these in a separate thread.
_RECEIVED_IN_A_THREAD = ("udp", "udplite", "rtp", "srtp", "srt", "rist")
_MDNS_SOCKET = "/run/avahi-daemon/socket"
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/lib32", "/usr/local/lib", "/lib", "/lib64", "/etc/ld.so.cache")
_RESOLVER = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"),
    *("/etc/services", "/etc/mdns.allow", "/dev/urandom"),
)
_TLS = (
    *("/etc/ssl/openssl.cnf", "/etc/ssl/certs", "/etc/pki/tls/openssl.cnf", "/etc/pki/tls/certs"),
    *("/etc/pki/ca-trust/extracted", "/etc/crypto-policies", "/usr/share/ca-certificates"),
)


@dataclass(frozen=True, slots=True)
class Reach:
    """The resources a camera process needs.

    reads: readable files and folders, those of the source and, for a network source, of name resolution and TLS. lists:
    folders that may be listed without their files being readable. devices: devices to control.

    network: whether Internet sockets are needed. datagrams: whether UDP is, which no rule can restrict to an address or
    port. connects: TCP ports to connect to, None for any. binds: TCP ports to listen on.
    sockets: local sockets to connect to. threads: whether a library receives in a thread.
    """

    reads: tuple[Path, ...] = ()
    lists: tuple[Path, ...] = ()
    devices: tuple[Path, ...] = ()
    network: bool = False
    datagrams: bool = False
    connects: tuple[int, ...] | None = ()
    binds: tuple[int, ...] = ()
    sockets: tuple[Path, ...] = ()
    threads: bool = False


def reach_of(settings: CameraSettings) -> Reach:
    """Return what a camera's source needs in the current state of this machine."""
    source = settings.source
    match source.kind:
        case Kind.FILE if settings.loop:
            return Reach(_alone([Path(source.path)], Path(source.path).parent))
        case Kind.FILE | Kind.PIPE:
            return Reach((Path(source.path),))
        case Kind.PICTURES:
            return _of_pictures(source)
        case Kind.DEVICE:
            device = source.device
            return Reach(devices=(Path(f"/dev/video{device}" if isinstance(device, int) else device),))
        case Kind.STREAM:
            return _of_stream(source, settings)


def libraries() -> tuple[Path, ...]:
    """Return the system's library folders: the name resolver loads some of its libraries on first use."""
    return tuple(map(Path, _LIBRARIES))


def identities(reach: Reach) -> dict[Path, tuple[int, int] | None]:
    """Return the device and inode behind each path: Landlock grants access to those, not to later files of the name."""
    return {path: _identity(path) for path in (*reach.reads, *reach.lists, *reach.devices, *reach.sockets)}


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _of_pictures(source: Source) -> Reach:
    path = Path(source.path)
    folder = path if path.is_dir() else path.parent
    try:
        files = source.pictures()
    except SourceError:
        files = []
    reads = _alone(files, folder)
    return Reach(reads, lists=() if reads == (folder,) or path.is_file() else (folder,))


def _alone(files: Iterable[Path], folder: Path) -> tuple[Path, ...]:
    """Return the folder if it contains only these files, so that they can be replaced; otherwise the files."""
    files = list(files)
    names = {file.name for file in files}
    try:
        with os.scandir(folder) as entries:
            alone = all(entry.name in names and not entry.is_symlink() for entry in entries)
    except OSError:
        alone = False
    return (folder,) if alone else tuple(files)


def _of_stream(source: Source, settings: CameraSettings) -> Reach:
    scheme, (host, port) = source.scheme, source.host_and_port
    query = source.address.partition("?")[2]
    if scheme == "unix":
        return Reach(sockets=(Path(urlsplit(source.address).path),))
    connects, sockets = set[int](), tuple[Path, ...]()
    if not _is_numeric(host) or settings.follow:
        connects.add(_DNS)
        sockets = (Path(_MDNS_SOCKET),) if host.lower().rstrip(".").endswith(".local") and _has_mdns() else ()
    datagrams = _DNS in connects or scheme not in _PORTS or (scheme.startswith("rtsp") and _is_by_udp(settings))
    connects |= {port or _PORTS[scheme]} if scheme in _PORTS else set()
    if scheme == "http":  # many cameras redirect to HTTPS
        connects.add(_HTTPS)
    connects |= followed_ports(settings)
    listens = scheme in _PORTS and re.search(r"\blisten\b", query) is not None
    return Reach(
        reads=tuple(map(Path, (*_RESOLVER, *_TLS))),
        network=True,
        datagrams=datagrams,
        connects=None if scheme in _OF_ANY_PORT else tuple(sorted(connects)),
        binds=(port,) if listens and port else (),
        sockets=sockets,
        threads=scheme in _RECEIVED_IN_A_THREAD,
    )


def _is_by_udp(settings: CameraSettings) -> bool:
    """Return whether pictures may arrive over UDP; the owner's FFmpeg options override the camera's transport."""
    return settings.transport == "udp" or owners_options() is not None


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _has_mdns() -> bool:
    try:
        text = Path("/etc/nsswitch.conf").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(line.split(":")[0].strip() == "hosts" and "mdns" in line for line in text.splitlines())
