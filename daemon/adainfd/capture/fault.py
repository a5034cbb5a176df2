"""Machine-readable reasons why a camera shows no picture."""

from enum import StrEnum

__all__ = ["OF_THE_PROCESS", "Fault"]


class Fault(StrEnum):
    """The `code` of a camera's status and of its log lines."""

    NO_SUCH_FILE = "no_such_file"
    NO_SUCH_HOST = "no_such_host"
    NO_SUCH_PATH = "no_such_path"
    ACCESS_DENIED = "access_denied"
    LED_ELSEWHERE = "led_elsewhere"
    TLS_FAILED = "tls_failed"
    NOT_VIDEO = "not_video"
    UNKNOWN_CODEC = "unknown_codec"
    PICTURE_TOO_LARGE = "picture_too_large"
    CANNOT_OPEN = "cannot_open"
    OPEN_TIMEOUT = "open_timeout"
    NO_PICTURE = "no_picture"
    STREAM_LOST = "stream_lost"
    READ_TIMEOUT = "read_timeout"
    NO_FRAMES = "no_frames"
    PROCESS_DIED = "process_died"
    PROCESS_HUNG = "process_hung"
    PROCESS_REJECTED = "process_rejected"


OF_THE_PROCESS = frozenset({Fault.PROCESS_DIED, Fault.PROCESS_HUNG, Fault.PROCESS_REJECTED})
