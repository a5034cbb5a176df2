"""The frames of a video as pictures in a folder, for what is measured on pictures."""

import shutil
import tempfile
import weakref
from pathlib import Path

import cv2

from adainf.base.errors import InvalidInputError, UnavailableError
from adainf.training.data.sources import open_sources

__all__ = ["Frames"]

_QUALITY = 100  # they come out of a lossy codec: once is enough


class Frames:
    """The frames that training takes of a video, each a picture in `folder`, which is removed with this object."""

    def __init__(self, video: Path, side: int, *, labelled: bool) -> None:
        """Take them. side: the native resolution, for which they are kept large enough.

        Raises InvalidInputError on what is no video, and where labels are wanted; UnavailableError without room.
        """
        if labelled:
            raise InvalidInputError(f"images {video}: a video has no labels; give --unlabelled")
        (source,) = open_sources([video], None, side)
        temporary = Path(tempfile.mkdtemp(prefix="adainf-frames-"))
        weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)
        # Named after the video, not at random: what was begun on these pictures goes on with them.
        self.folder = temporary / video.name
        self.folder.mkdir()
        for row in range(source.count):
            file = self.folder / f"{row:04d}.jpg"
            if not cv2.imwrite(str(file), source.read(row), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]):
                raise UnavailableError(f"images {video}: no room for its frames in {tempfile.gettempdir()}")
