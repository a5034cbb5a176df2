"""Containers, codecs and protocols that FFmpeg may use for a source; playlists only where lookups are guarded."""

from adainf.media.captures import VIDEOS, owners_options, restriction
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Kind

__all__ = ["options"]

# A playlist lists a video's audio and subtitles as separate streams.
_PLAYLISTS = ("hls", "aac", "ac3", "eac3", "mp3", "webvtt")
_PROTOCOLS = {Kind.FILE: ("file",), Kind.PIPE: ("pipe",)}
_OF_WEB = ("http", "https", "tls", "tcp", "crypto")
_OF_RTSP = ("rtsp", "rtsps", "rtp", "srtp", "udp", "tcp", "tls")
_OTHERS = """
    http https tls tcp udp udplite rtp srtp dtls crypto ftp gopher gophers mmsh mmst rtmp rtmpe rtmps rtmpt rtmpte
    rtmpts ffrtmpcrypt ffrtmphttp icecast sctp srt rist sftp
""".split()  # noqa: SIM905 - a table


def options(settings: CameraSettings) -> str:
    """Return FFmpeg's options for a camera's source, in OpenCV's syntax.

    Options from the environment replace the transport, but cannot widen what FFmpeg may open.
    """
    return f"{owners_options() or f'rtsp_transport;{settings.transport}'}|{restriction(*_allowed(settings))}"


def _allowed(settings: CameraSettings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    source = settings.source
    match source.scheme:
        case "http" | "https":
            return (*VIDEOS, *_PLAYLISTS), _OF_WEB
        case "rtsp" | "rtsps":
            return ("rtsp",), _OF_RTSP
        case "rtp":
            return ("rtp", "sdp"), _OF_RTSP
        case None:
            return VIDEOS, _PROTOCOLS.get(source.kind, ())
        case scheme:
            return VIDEOS, (*_OTHERS, *([scheme] if scheme == "unix" else []))
