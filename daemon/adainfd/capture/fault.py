"""Why a camera shows nothing, in words that a program can act on."""

from enum import StrEnum

__all__ = ["Fault"]


class Fault(StrEnum):
    """The `code` of a camera's status and of its log lines."""

    NO_SUCH_FILE = "no_such_file"
    CANNOT_OPEN = "cannot_open"
    OPEN_TIMEOUT = "open_timeout"
    NO_PICTURE = "no_picture"
    STREAM_LOST = "stream_lost"
    READ_TIMEOUT = "read_timeout"
    NO_FRAMES = "no_frames"
    PROCESS_DIED = "process_died"
    PROCESS_HUNG = "process_hung"
