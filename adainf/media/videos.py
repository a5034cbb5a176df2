"""Videos and streams: frame after frame, upright and with square pixels."""

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
# Trying to read behind the end costs a microsecond; what was damaged by a bad disk may be minutes long.
_TRIES, _MOST_TRIES = 1000, 100_000
_COUNTED_BYTES = 2**28
_FRAMES_THAT_MAY_MISS = 3


_CANNOT = "cannot be decoded"


class Video:
    """Frames of a capture that OpenCV opened, in their order.

    Motion JPEG is taken as it was sent and decoded here: each picture says which way up it is, which FFmpeg ignores,
    and a picture that nobody asks for is not decoded at all.
    """

    def __init__(self, opening: Callable[[], cv2.VideoCapture], most_pixels: int = pictures.MOST_PIXELS) -> None:
        """opening: opens the capture; `opened` says whether that succeeded.

        most_pixels: of a frame. Motion JPEG of more is decoded at a smaller scale; see `size` for what FFmpeg decodes.
        """
        self._opening = opening
        self._most_pixels = most_pixels
        self._capture = opening()
        self.opened = self._capture.isOpened()
        self.index = 0
        """How many frames were passed, decoded or not."""
        self.fourcc = 0
        """Names the codec; 0 where nothing does."""
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
        # Turned by OpenCV, a mirrored picture would be wrong, and the shape of the pixels be along the other side.
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        turn = _TURNS.get(round(self._capture.get(cv2.CAP_PROP_ORIENTATION_META)), 1)
        across, down = self._capture.get(cv2.CAP_PROP_SAR_NUM), self._capture.get(cv2.CAP_PROP_SAR_DEN)
        return Showing(turn, aspect_of(across, down))

    @property
    def decodes_late(self) -> bool:
        """Whether frames are decoded as they are retrieved, and one can be left out; otherwise as they are reached."""
        return self._encoded

    @property
    def position(self) -> float | None:
        """When the frame that was grabbed is shown, seconds from the beginning; None where that is unknown."""
        seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return seconds if math.isfinite(seconds) and seconds >= 0 else None

    def advance(self) -> bool:
        """Go on to the next frame; False at the end, and where one cannot be decoded."""
        advanced: bool = self._capture.grab()
        self.index += advanced
        return advanced

    def retrieve(self, into: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """The frame (height, width, 3), BGR, upright and with square pixels.

        into: memory for it, and itself the answer where the frame is of that shape and as it was stored. Raises
        UndecodableError where it cannot be decoded.
        """
        what = f"frame {self.index}"
        try:
            if self._encoded and (own := self._decoded(what)) is not None:
                return own
            decoded, picture = self._capture.retrieve(into if self.showing.as_stored else None)
            if not decoded or picture is None or picture.ndim != 3 or not picture.size:
                raise UndecodableError(what, _CANNOT)
            return self.showing.apply(picture.astype(np.uint8, copy=False))
        except (cv2.error, MemoryError):
            raise UndecodableError(what, _CANNOT) from None

    def _decoded(self, what: str) -> NDArray[np.uint8] | None:
        """The frame from its JPEG; None where that is only half of it, and FFmpeg must put it together."""
        found, sent = self._capture.retrieve()
        content = sent.tobytes() if found else b""
        if not self._size_checked and (head := pictures.header(io.BytesIO(content), what)) is not None:
            self._size_checked = True
            if (head.width, head.height) != self.size:
                pictures.refuse_giant(what, *self.size, self._most_pixels)
                self._leave_to_ffmpeg()
                return None
        picture = pictures.decoded(content, what, self.showing.aspect, self._most_pixels)
        return Showing(self.showing.orientation).apply(picture)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a frame as it is stored, by what the stream says."""
        width, height = self._capture.get(cv2.CAP_PROP_FRAME_WIDTH), self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        return int(width), int(height)

    @property
    def is_giant(self) -> bool:
        """Whether FFmpeg would decode frames that are too large."""
        width, height = self.size
        return not self.decodes_late and width * height > self._most_pixels

    def _leave_to_ffmpeg(self) -> None:
        """Fields of interlaced video come as two pictures."""
        self._encoded = False
        self._reopen()

    def _reopen(self) -> None:
        self._capture.release()
        self._capture = self._opening()
        if self._by_ffmpeg:
            self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        self._capture.grab()

    def close(self) -> None:
        """Let go of it."""
        self._capture.release()


class VideoFile(Video):
    """A video file. What cannot be decoded is passed over, and stands in `undecodable` until somebody takes it."""

    def __init__(
        self, opening: Callable[[], cv2.VideoCapture], path: Path, most_pixels: int = pictures.MOST_PIXELS
    ) -> None:
        """path: the file that `opening` opens. most_pixels: see `Video`."""
        super().__init__(opening, most_pixels)
        self._path = path
        self._last_position = 0.0
        self._times: list[float] | None = None
        self._lost = 0  # since the last frame that could be decoded
        self._ended = False
        self.undecodable: list[Undecodable] = []
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) if self.opened else 0.0
        self.expected = int(count) if 0 < count < 2**53 else 0
        """How many frames the container claims to have; it may be an estimate."""
        with contextlib.suppress(OSError):  # it may be gone meanwhile
            if self.opened and (turned := containers.orientation(path)) is not None:
                self.showing = Showing(turned, self.showing.aspect)
        if self.opened and self.showing.orientation == 1 and (turned := self._told_by_encoder()) is not None:
            self.showing = Showing(turned, self.showing.aspect)

    def grab(self) -> bool:
        """Go on to the next frame that can be decoded; False at the end."""
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
        """How many packets lie between the frame that was grabbed and the one before, by their times.

        Where frames need one that is damaged, FFmpeg fails once and goes on behind the last of them.
        """
        now = self.position
        with contextlib.suppress(OSError):  # it may be gone meanwhile
            if now is None or self._encoded or self._path.stat().st_size > _COUNTED_BYTES:
                return 0
            if self._times is None:
                self._times = sorted(self._times_of_packets())
            first = bisect.bisect_right(self._times, 1000 * self._last_position + 1) if self.index else 0
            return bisect.bisect_left(self._times, 1000 * now - 1) - first
        return 0

    def _times_of_packets(self) -> Iterator[float]:
        """In milliseconds; of a packet that is too damaged to be told apart, shortly before the next."""
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
        """What the first packet says of orientation; OpenCV hands packets out undecoded alone."""
        code = int(self._capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
        if code not in sei.CODECS:
            return None
        with self._packets() as packets:
            found, packet = packets.retrieve() if packets.grab() else (False, None)
            return sei.orientation(packet.tobytes(), h265=sei.CODECS[code]) if found and packet is not None else None

    @contextlib.contextmanager
    def _packets(self) -> Iterator[cv2.VideoCapture]:
        """The file once more, whose frames are packets."""
        packets = self._opening()
        packets.set(cv2.CAP_PROP_FORMAT, -1)
        try:
            yield packets
        finally:
            packets.release()

    def try_retrieve(self, into: NDArray[np.uint8] | None = None) -> NDArray[np.uint8] | None:
        """What `retrieve` gives; a frame that cannot be decoded is passed over."""
        try:
            picture = self.retrieve(into)
        except UndecodableError as error:
            self._lost += 1
            self.undecodable.append(Undecodable(f"frame {self.index}", error.why))
            return None
        self._lost = 0
        return picture

    def jump(self, why: str, frames: int) -> bool:
        """Leave out the next frames, about so many, and go on to the one behind them; False where none follows.

        FFmpeg goes to the end instead of behind it, so the times of the frames tell how many were left out.
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
        """How many frames there are behind the last one that could be decoded.

        A read that fails looks the same at the end of a file and where the last frames are damaged.
        """
        with contextlib.suppress(OSError):  # it may be gone meanwhile
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
        """What is missing at the end, where the file is shorter than its container says."""
        missing = self.expected - self.index
        with contextlib.suppress(OSError):  # it may be gone meanwhile
            if missing > _FRAMES_THAT_MAY_MISS and containers.is_cut_short(self._path):
                return f"breaks off after {self.index - self._lost} of {self.expected} frames"
        return None
