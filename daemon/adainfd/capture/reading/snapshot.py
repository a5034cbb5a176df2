"""Reader for simple cameras that serve a single picture over HTTP, which is polled."""

import http.client
import time

from adainf.media.undecodable import Undecodable, UndecodableError
from adainfd.capture.exchange.attempts import Attempts
from adainfd.capture.fault import Fault
from adainfd.capture.leash import leash_of
from adainfd.capture.reading.diagnosis import of_error, of_status
from adainfd.capture.reading.pictures import Picture, fitted
from adainfd.capture.reading.request import HttpAnswer, HttpCamera, LedElsewhereError, TooLargeError
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import SourceError

__all__ = ["SnapshotReader"]

_USUAL_FPS = 1.0
_NOT_MODIFIED = 304


class SnapshotReader:
    """A polled picture; each fetch is a frame. One that the camera reports as unchanged is not sent or decoded again.

    The rate is `fps`, by default one fetch a second, and at least two within `stall_seconds`.
    """

    broke_off = None
    codec = None
    position = None

    def __init__(self, settings: CameraSettings, attempts: Attempts) -> None:
        self._source = settings.source
        self._attempts = attempts
        self._limits = settings.limits
        self._most_pixels = settings.most_pixels
        self._camera = HttpCamera(settings.source.address, leash_of(settings))
        self._interval = min(1 / (settings.fps or _USUAL_FPS), settings.limits.stall_seconds / 2)
        self.frames_per_second = 1 / self._interval
        self._due = time.monotonic()
        self._known: dict[str, str] = {}
        self._encoded = b""
        self._picture: Picture | None = None
        self._undecodable: list[Undecodable] = []
        self._failing_since: float | None = None

    def grab(self) -> bool:
        """Wait until the next fetch is due and fetch the picture; raise SourceError if that fails."""
        now = time.monotonic()
        if now < self._due:
            time.sleep(self._due - now)
        self._due = max(now, self._due) + self._interval
        answer = self._fetched()
        if answer.status != _NOT_MODIFIED:
            self._encoded, self._picture = answer.body, None
            self._known = _validators(answer)
        return True

    def _fetched(self) -> HttpAnswer:
        try:
            answer = self._camera.get(time.monotonic() + self._limits.read_seconds, self._known)
        except TimeoutError:
            waited = f"{self._limits.read_seconds:.1f} s"
            raise self._error(Fault.READ_TIMEOUT, f"its picture did not come within {waited}") from None
        except TooLargeError:
            raise self._error(Fault.NO_PICTURE, "sends more than a picture has") from None
        except ValueError:  # a RedirectError, or a host name that cannot be encoded
            raise self._error(Fault.CANNOT_OPEN, "redirects to what is no valid address of a web page") from None
        except LedElsewhereError as error:
            raise self._error(Fault.LED_ELSEWHERE, str(error)) from None
        except (OSError, http.client.HTTPException) as error:
            diagnosis = of_error(error)
            raise self._error(diagnosis.fault, diagnosis.detail) from None
        if answer.status != _NOT_MODIFIED and (refusal := of_status(answer)):
            raise self._error(refusal.fault, refusal.detail)
        return answer

    def _error(self, fault: Fault, detail: str) -> SourceError:
        return SourceError(fault, f"source {self._source}: {detail}")

    def retrieve(self, into: Picture | None = None) -> Picture | None:
        """See `Reader`; `into` is not used."""
        del into
        if self._picture is None:
            try:
                self._attempts.begin("the picture")
                self._picture = self._decoded()
            except UndecodableError as error:
                self._undecodable.append(Undecodable("the picture", error.why))
                self._failed(error.why)
                return None
            self._failing_since = None
        return self._picture.copy()  # the caller may paint a mask over it

    def _decoded(self) -> Picture:
        from adainf.media import pictures

        picture = pictures.decoded(self._encoded, "the picture", most_pixels=self._most_pixels)
        return fitted(picture, self._most_pixels)

    def _failed(self, why: str) -> None:
        now = time.monotonic()
        self._failing_since = now if self._failing_since is None else self._failing_since
        if (failing := now - self._failing_since) + self._interval > self._limits.stall_seconds:
            why = "it is empty" if not self._encoded else why
            raise self._error(Fault.NO_PICTURE, f"has sent no picture that can be decoded for {failing:.1f} s ({why})")

    def take_undecodable(self) -> list[Undecodable]:
        """See `Reader`."""
        undecodable, self._undecodable = self._undecodable, []
        return undecodable

    def close(self) -> None:
        """Do nothing: no connection is held open."""


def _validators(answer: HttpAnswer) -> dict[str, str]:
    """Return the headers of a conditional request, so that an unchanged picture is not sent again."""
    found = {"If-None-Match": answer.headers.get("ETag"), "If-Modified-Since": answer.headers.get("Last-Modified")}
    return {name: value for name, value in found.items() if value and value.isprintable() and value.isascii()}
