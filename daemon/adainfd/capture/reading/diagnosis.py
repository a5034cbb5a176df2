"""Diagnosis of streams that do not open: OpenCV gives no reason, so the server is asked directly."""

import difflib
import http.client
import re
import socket
import ssl
import time
from dataclasses import dataclass
from http import HTTPStatus

from adainfd.capture.fault import Fault
from adainfd.capture.leash import leash_of
from adainfd.capture.reading.request import HttpAnswer, HttpCamera, LedElsewhereError, RedirectError, RtspCamera
from adainfd.capture.settings import CameraSettings

__all__ = ["Diagnosis", "diagnose", "of_error", "of_status"]

# FFmpeg protocols used by cameras and media servers.
_SCHEMES = (
    *("http", "https", "rtsp", "rtsps", "rtmp", "rtmpe", "rtmps", "rtmpt", "rtmpte", "rtmpts", "rtp", "srtp", "srt"),
    *("udp", "udplite", "tcp", "tls", "mmsh", "mmst", "ftp", "gopher", "gophers", "icecast", "unix", "sctp", "rist"),
)
_PICTURES = (
    *("image/jpeg", "image/jpg", "image/pjpeg", "image/png", "image/bmp", "image/webp", "image/tiff"),
    *("image/gif", "image/avif"),
)
# Many cameras send no content type, or a wrong one.
_PICTURE_BEGINS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}|RIFF....WEBP|....ftypavi[fs]|II\*\0|MM\0\*",
    re.DOTALL,
)
# Encodings from RFC 3551 and its successors that OpenCV's FFmpeg decodes.
_DECODED = (
    *("H261", "H263", "H263-1998", "H263-2000", "H264", "H265", "JPEG", "MP4V-ES", "MPV", "VP8", "VP9", "THEORA"),
    *("RAW", "DV", "MP2T", "MP2P", "MP1S"),
)
_STATIC_TYPES = {"26": "JPEG", "31": "H261", "32": "MPV", "33": "MP2T", "34": "H263"}
_OFTEN_MISSPELT = ("http", "https", "rtsp", "rtsps", "rtmp")
# The message passes through redaction, so no word in it may look like part of an address.
_TO_ENCODE = (
    "; most likely its password holds a character that must be percent-encoded (an at sign, / # ? : or %); "
    "a password_file takes it as it is"
)
_SAID_BY_A_WRONG_PASSWORD = (Fault.CANNOT_OPEN, Fault.NO_SUCH_HOST, Fault.ACCESS_DENIED, Fault.OPEN_TIMEOUT)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The reason a stream does not open. still: it is a single picture, to be polled as a snapshot instead."""

    fault: Fault
    detail: str
    still: bool = False


def diagnose(settings: CameraSettings, until: float) -> Diagnosis | None:
    """Ask a stream's server why it does not open, by `until` (monotonic seconds); None if that reveals nothing."""
    source = settings.source
    diagnosis = _asked(settings, until)
    if diagnosis is not None and diagnosis.fault in _SAID_BY_A_WRONG_PASSWORD and _must_be_encoded(source.address):
        return Diagnosis(diagnosis.fault, diagnosis.detail + _TO_ENCODE)
    if diagnosis is not None and diagnosis.fault is Fault.ACCESS_DENIED and "@" not in source.address:
        return Diagnosis(diagnosis.fault, f"{diagnosis.detail}; its address names none")
    return diagnosis


def _asked(settings: CameraSettings, until: float) -> Diagnosis | None:
    source = settings.source
    if until <= time.monotonic():
        return None
    try:
        match source.scheme:
            case "http" | "https":
                return _of_page(HttpCamera(source.address, leash_of(settings)).get(until, whole=False))
            case "rtsp" | "rtsps":
                return _of_description(RtspCamera(source.address).describe(until))
            case scheme if scheme not in _SCHEMES:
                nearest = difflib.get_close_matches(scheme or "", _OFTEN_MISSPELT, n=1)
                meant = f"; did you mean {nearest[0]}://?" if nearest else ""
                return Diagnosis(Fault.CANNOT_OPEN, f"{scheme}:// is no scheme that OpenCV reads{meant}")
    except RedirectError:
        return Diagnosis(Fault.CANNOT_OPEN, "redirects to what is no valid address of a web page")
    except LedElsewhereError as error:
        return Diagnosis(Fault.LED_ELSEWHERE, str(error))
    except ValueError:
        return Diagnosis(Fault.CANNOT_OPEN, "is no valid address")
    except (OSError, http.client.HTTPException) as error:
        return of_error(error)
    return None


def of_error(error: OSError | http.client.HTTPException) -> Diagnosis:
    """Return the diagnosis for an error raised instead of an answer."""
    match error:
        case socket.gaierror():
            return Diagnosis(Fault.NO_SUCH_HOST, f"no such host ({error.strerror})")
        case ssl.SSLError():
            return Diagnosis(Fault.TLS_FAILED, f"cannot be encrypted ({error.reason or 'TLS fails'})")
        case TimeoutError():
            return Diagnosis(Fault.OPEN_TIMEOUT, "does not answer in time")
        case ConnectionResetError() | BrokenPipeError():
            return Diagnosis(Fault.CANNOT_OPEN, "hangs up without an answer")
        case http.client.IncompleteRead():
            return Diagnosis(Fault.CANNOT_OPEN, "breaks off amid its answer")
        case http.client.InvalidURL():
            return Diagnosis(Fault.CANNOT_OPEN, "is no valid address")
        case OSError():
            return Diagnosis(Fault.CANNOT_OPEN, f"does not answer ({error.strerror})")
    return Diagnosis(Fault.CANNOT_OPEN, "does not answer as its scheme demands")


def of_status(answer: HttpAnswer) -> Diagnosis | None:
    """Return the diagnosis for an answer that is a refusal, otherwise None."""
    match answer.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return Diagnosis(Fault.ACCESS_DENIED, f"the camera refused user or password ({_named(answer.status)})")
        case HTTPStatus.NOT_FOUND | HTTPStatus.GONE:
            return Diagnosis(Fault.NO_SUCH_PATH, f"no such path on the camera ({_named(answer.status)})")
        case status if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return Diagnosis(Fault.CANNOT_OPEN, f"the camera answers {_named(status)}")
    return None


def _named(status: int) -> str:
    """Return the status with its standard phrase; the server's own phrase is untrusted text."""
    return f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)


def _of_page(answer: HttpAnswer) -> Diagnosis:
    if refusal := of_status(answer):
        return refusal
    shown = re.sub(r"[^a-z0-9/.+-]", "", answer.content_type)[:60] or "something without a type"
    if shown in _PICTURES or _PICTURE_BEGINS.match(answer.body):
        return Diagnosis(Fault.NOT_VIDEO, f"is a single picture ({shown})", still=True)
    if shown.startswith(("video/", "multipart/", "audio/", "application/octet-stream")):
        return Diagnosis(Fault.CANNOT_OPEN, f"sends {shown}, but no video that OpenCV can read")
    return Diagnosis(Fault.NOT_VIDEO, f"sends {shown}, which is no video")


def _of_description(answer: HttpAnswer) -> Diagnosis:
    if refusal := of_status(answer):
        return refusal
    codecs = _video_codecs(answer.body.decode(errors="replace"))
    if not codecs:
        return Diagnosis(Fault.NOT_VIDEO, "holds no video")
    if not any(codec in _DECODED for codec in codecs):
        return Diagnosis(Fault.UNKNOWN_CODEC, f"its codec {', '.join(codecs)} cannot be decoded")
    other = 'try the other transport, "tcp" or "udp"'
    return Diagnosis(Fault.CANNOT_OPEN, f"offers {', '.join(codecs)}, but sends no picture; {other}")


def _video_codecs(description: str) -> list[str]:
    """Return the video encodings in a session description (SDP, RFC 8866)."""
    sections = re.split(r"^m=", description, flags=re.MULTILINE)[1:]
    return [_codec(section) for section in sections if section.startswith("video ")]


def _codec(section: str) -> str:
    named = re.search(r"^a=rtpmap:\d+ ([A-Za-z0-9._-]{1,30})/", section, re.MULTILINE)
    if named:
        return named[1].upper()
    payload = re.match(r"video \S+ \S+ (\d{1,3})\b", section)
    return _STATIC_TYPES.get(payload[1], f"of payload type {payload[1]}") if payload else "of no name"


def _must_be_encoded(address: str) -> bool:
    """Return whether the user info contains characters that end it too early, or a % that starts no escape."""
    before, at, _ = address.partition("://")[2].rpartition("@")
    first, *more = re.split(r"[/?#]", before, maxsplit=1)
    if not at or (more and ":" not in first):  # the @ belongs to the path
        return False
    return bool(more) or re.search(r"[@\[\]\s]|:.*:|%(?![0-9A-Fa-f]{2})", before) is not None
