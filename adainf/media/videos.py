"""Reading videos and streams frame by frame, upright and with square pixels."""

import bisect
import contextlib
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from adainf.media import containers, pictures, sei
from adainf.media.undecodable import Undecodable, UndecodableError
from adainf.media.upright import AS_STORED, Showing, aspect_of

__all__ = ["Video", "VideoFile"]

_HIGHEST_FPS = 1000.0
_MOTION_JPEG = (int.from_bytes(b"MJPG", "little"), int.from_bytes(b"mjpg", "little"))
_TURNS = {90: 6, 180: 3, 270: 8}
# A failed read past the end costs a microsecond; a section damaged by a bad disk may last minutes.
_TRIES, _MOST_TRIES = 1000, 100_000
_COUNTED_BYTES = 2**28
_FRAMES_THAT_MAY_MISS = 3


_CANNOT = "cannot be decoded"


class Video:
    """The frames of an OpenCV capture, in order.

    Motion JPEG is received undecoded and decoded here: each picture carries its orientation, which FFmpeg ignores, and
    a picture that is not retrieved is never decoded.
    """

    def __init__(self, opening: Callable[[], cv2.VideoCapture], most_pixels: int = pictures.MOST_PIXELS) -> None:
        """opening: opens the capture; check `opened` for success.

        most_pixels: limit for a frame. Larger Motion JPEG is decoded at a smaller scale; for other codecs see
        `is_giant`.
        """
        self._opening = opening
        self._most_pixels = most_pixels
        self._capture = opening()
        self.opened = self._capture.isOpened()
        self.index = 0
        """The number of frames read so far, decoded or not."""
        self.fourcc = 0
        """The FourCC of the codec; 0 if unknown."""
        self._encoded = False
        self._size_checked = False
        self.showing = AS_STORED
        self.frames_per_second: float | None = None
        if self.opened:
            self.fourcc = int(self._capture.get(cv2.CAP_PROP_FOURCC))
            fps = self._capture.get(cv2.CAP_PROP_FPS)
            self.frames_per_second = fps if 0 < fps <= _HIGHEST_FPS else None
            self._encoded = self._is_motion_jpeg() and self._capture.set(cv2.CAP_PROP_FORMAT, -1)
            self.showing = self._told_showing()

    def _is_motion_jpeg(self) -> bool:
        return self._by_ffmpeg and self.fourcc in _MOTION_JPEG

    @property
    def _by_ffmpeg(self) -> bool:
        return self._capture.getBackendName() == "FFMPEG"

    def _told_showing(self) -> Showing:
        if not self._by_ffmpeg:
            return AS_STORED
        # If OpenCV rotated frames, mirroring would be wrong, and the pixel aspect would apply to the other side.
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        turn = _TURNS.get(round(self._capture.get(cv2.CAP_PROP_ORIENTATION_META)), 1)
        across, down = self._capture.get(cv2.CAP_PROP_SAR_NUM), self._capture.get(cv2.CAP_PROP_SAR_DEN)
        return Showing(turn, aspect_of(across, down))

    @property
    def decodes_late(self) -> bool:
        """Whether frames are decoded on `retrieve`, so skipping one is free; otherwise `advance` decodes them."""
        return self._encoded

    @property
    def position(self) -> float | None:
        """The timestamp of the current frame, in seconds from the beginning; None if unknown."""
        seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return seconds if math.isfinite(seconds) and seconds >= 0 else None

    def advance(self) -> bool:
        """Advance to the next frame; return False at the end, and on a frame that cannot be decoded."""
        advanced: bool = self._capture.grab()
        self.index += advanced
        return advanced

    def retrieve(self, into: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return the current frame (height, width, 3), BGR, upright and with square pixels.

        into: a buffer, which is filled and returned if it has the frame's shape and the frame is displayed as stored.
        Raises UndecodableError if the frame cannot be decoded.
        """
        origin = f"frame {self.index}"
        try:
            if self._encoded and (jpeg_picture := self._decoded(origin)) is not None:
                return jpeg_picture
            decoded, picture = self._capture.retrieve(into if self.showing.as_stored else None)
            if not decoded or picture is None or picture.ndim != 3 or not picture.size:
                raise UndecodableError(origin, _CANNOT)
            return self.showing.apply(picture.astype(np.uint8, copy=False))
        except (cv2.error, MemoryError):
            raise UndecodableError(origin, _CANNOT) from None

    def _decoded(self, origin: str) -> NDArray[np.uint8] | None:
        """Decode the frame from its JPEG; None if that is a single field, which FFmpeg must combine with the other."""
        found, packet = self._capture.retrieve()
        content = packet.tobytes() if found else b""
        if not self._size_checked and (head := pictures.header(io.BytesIO(content), origin)) is not None:
            self._size_checked = True
            if (head.width, head.height) != self.size:
                pictures.refuse_giant(origin, *self.size, self._most_pixels)
                self._leave_to_ffmpeg()
                return None
        picture = pictures.decoded(content, origin, self.showing.aspect, self._most_pixels)
        return Showing(self.showing.orientation).apply(picture)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a stored frame in pixels, as the stream declares them."""
        width, height = self._capture.get(cv2.CAP_PROP_FRAME_WIDTH), self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        return int(width), int(height)

    @property
    def is_giant(self) -> bool:
        """Whether FFmpeg would decode frames of more than `most_pixels`."""
        width, height = self.size
        return not self.decodes_late and width * height > self._most_pixels

    def _leave_to_ffmpeg(self) -> None:
        """Let FFmpeg decode: interlaced video sends the two fields of a frame as separate pictures."""
        self._encoded = False
        self._reopen()

    def _reopen(self) -> None:
        self._capture.release()
        self._capture = self._opening()
        if self._by_ffmpeg:
            self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        self._capture.grab()

    def close(self) -> None:
        """Release the capture."""
        self._capture.release()


class VideoFile(Video):
    """A video file that skips undecodable frames and lists them in `undecodable` until the caller clears it."""

    def __init__(
        self, opening: Callable[[], cv2.VideoCapture], path: Path, most_pixels: int = pictures.MOST_PIXELS
    ) -> None:
        """path: the file that `opening` opens. opening, most_pixels: see `Video`."""
        super().__init__(opening, most_pixels)
        self._path = path
        self._last_position = 0.0
        self._times: list[float] | None = None
        self._lost = 0  # since the last frame that could be decoded
        self._ended = False
        self.undecodable: list[Undecodable] = []
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) if self.opened else 0.0
        self.expected = int(count) if 0 < count < 2**53 else 0
        """The container's frame count, which may be an estimate."""
        with contextlib.suppress(OSError):  # the file may have been removed
            if self.opened and (orientation := containers.orientation(path)) is not None:
                self.showing = Showing(orientation, self.showing.aspect)
        if self.opened and self.showing.orientation == 1 and (orientation := self._told_by_encoder()) is not None:
            self.showing = Showing(orientation, self.showing.aspect)

    def grab(self) -> bool:
        """Advance to the next frame that can be decoded; return False at the end."""
        if self._ended:
            return False
        failed = 0
        while not self.advance():
            failed += 1
            if failed > min(max(_TRIES, self.expected - self.index), _MOST_TRIES):
                self._pass_over(self._behind_the_last())
                return False
        if failed:
            self.index -= 1
            self._pass_over(max(failed, self._left_out()))
            self.index += 1
        self._lost = self._lost if self._encoded else 0
        self._last_position = max(self._last_position, self.position or 0.0)
        return True

    def _left_out(self) -> int:
        """Count the packets between the current frame and the previous one by their timestamps.

        If several frames depend on a damaged one, FFmpeg fails once and continues after the last of them.
        """
        now = self.position
        with contextlib.suppress(OSError):  # the file may have been removed
            if now is None or self._encoded or self._path.stat().st_size > _COUNTED_BYTES:
                return 0
            if self._times is None:
                self._times = sorted(self._times_of_packets())
            first = bisect.bisect_right(self._times, 1000 * self._last_position + 1) if self.index else 0
            return bisect.bisect_left(self._times, 1000 * now - 1) - first
        return 0

    def _times_of_packets(self) -> Iterator[float]:
        """Yield packet times in milliseconds; for a packet too damaged to read, a time just before the next one's."""
        failed = 0
        with self._packets() as packets:
            while failed <= _TRIES:
                if not packets.grab():
                    failed += 1
                    continue
                time = packets.get(cv2.CAP_PROP_POS_MSEC)
                yield from [time - 2] * failed
                yield time
                failed = 0

    def _told_by_encoder(self) -> int | None:
        """Return the orientation from the first packet's SEI, read from a second capture that yields raw packets."""
        code = int(self._capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
        if code not in sei.CODECS:
            return None
        with self._packets() as packets:
            found, packet = packets.retrieve() if packets.grab() else (False, None)
            return sei.orientation(packet.tobytes(), h265=sei.CODECS[code]) if found and packet is not None else None

    @contextlib.contextmanager
    def _packets(self) -> Iterator[cv2.VideoCapture]:
        """Open the file a second time, with raw packets as its frames."""
        packets = self._opening()
        packets.set(cv2.CAP_PROP_FORMAT, -1)
        try:
            yield packets
        finally:
            packets.release()

    def try_retrieve(self, into: NDArray[np.uint8] | None = None) -> NDArray[np.uint8] | None:
        """Return the result of `retrieve`, or None for a frame that cannot be decoded, which is skipped."""
        try:
            picture = self.retrieve(into)
        except UndecodableError as error:
            self._lost += 1
            self.undecodable.append(Undecodable(f"frame {self.index}", error.why))
            return None
        self._lost = 0
        return picture

    def jump(self, why: str, frames: int) -> bool:
        """Skip about `frames` frames and advance to the one after them; return False if none follows.

        A seek past the end stops at the last frame, so the number of skipped frames is taken from timestamps.
        """
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, self.index + frames)
        advanced = self._capture.grab()
        now = self.position
        if not advanced or (self.index and now is not None and now <= self._last_position):
            self._ended = True
            self._pass_over(max(1, self._behind_the_last()), why)
            return False
        left = max(1, self.expected - self.index - 1) if self.expected else frames
        self._pass_over(self._left_out() or min(frames, left), why)
        self.index += 1
        self._last_position = max(self._last_position, now or 0.0)
        return True

    def _pass_over(self, frames: int, why: str = _CANNOT) -> None:
        if frames:
            first, last = self.index + 1, self.index + frames
            named = f"frame {first}" if frames == 1 else f"frames {first} to {last}"
            self.undecodable.append(Undecodable(named, why, frames))
            self.index = last
            self._lost += frames

    def _reopen(self) -> None:
        super()._reopen()
        for _ in range(self.index - 1):
            self._capture.grab()

    def _behind_the_last(self) -> int:
        """Count the frames after the last one that could be decoded.

        A failed read looks the same at the end of the file and on damaged last frames.
        """
        with contextlib.suppress(OSError):  # the file may have been removed
            complete = self.index >= self.expected and containers.counts_frames(self._path)
            too_large = self._path.stat().st_size > _COUNTED_BYTES
            if self._encoded or complete or too_large or not self._last_position:
                return 0
            rate = self.frames_per_second or 0.0
            seconds = containers.presented_seconds(self._path) or (self.expected / rate if rate else 0.0)
            missing = round((seconds - self._last_position) * rate) - 1  # an edit list may leave frames out
            latest = 1000 * self._last_position + 1
            with self._packets() as packets:
                frames = 0
                while frames < missing and packets.grab():
                    frames += packets.get(cv2.CAP_PROP_POS_MSEC) > latest
                return frames
        return 0

    @property
    def broke_off(self) -> str | None:
        """A description of what is missing at the end if the file is shorter than its container says, else None."""
        missing = self.expected - self.index
        with contextlib.suppress(OSError):  # the file may have been removed
            if missing > _FRAMES_THAT_MAY_MISS and containers.is_cut_short(self._path):
                return f"breaks off after {self.index - self._lost} of {self.expected} frames"
        return None
