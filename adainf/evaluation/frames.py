"""A video's frames as pictures in a folder, for evaluations that take pictures."""

import shutil
import tempfile
import weakref
from pathlib import Path

import cv2

from adainf.base.errors import InvalidInputError, UnavailableError
from adainf.training.data.sources import open_sources

__all__ = ["Frames"]

_QUALITY = 100  # the video's codec is lossy already; avoid a second loss


class Frames:
    """The frames that training would take from a video, as pictures in `folder`; removed with this object."""

    def __init__(self, video: Path, side: int, *, labelled: bool) -> None:
        """Extract the frames.

        side: the native resolution, for which frames are kept large enough. Raises InvalidInputError if `video` is not
        a video or labels are wanted, UnavailableError if the disk is full.
        """
        if labelled:
            raise InvalidInputError(f"images {video}: a video has no labels; give --unlabelled")
        (source,) = open_sources([video], None, side)
        temporary = Path(tempfile.mkdtemp(prefix="adainf-frames-"))
        weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)
        # The folder has the video's name, not a random one, so that an interrupted calibration finds the same names.
        self.folder = temporary / video.name
        self.folder.mkdir()
        for row in range(source.count):
            file = self.folder / f"{row:04d}.jpg"
            if not cv2.imwrite(str(file), source.read(row), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]):
                raise UnavailableError(f"images {video}: no room for its frames in {tempfile.gettempdir()}")
