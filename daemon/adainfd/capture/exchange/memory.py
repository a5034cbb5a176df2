"""Memory shared between the daemon and a camera process, sealed so that the process cannot resize it.

If the process shrank the memory, the daemon's next access would kill it with SIGBUS.
"""

import fcntl
import os

__all__ = ["sealed", "sealed_content"]

_OF_FIXED_SIZE = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def sealed(name: str, size: int) -> int:
    """Return the descriptor of `size` zeroed bytes, whose pages are allocated on first use.

    Raises OSError if memory is short.
    """
    return _sealed(name, size, b"", _OF_FIXED_SIZE)


def sealed_content(name: str, content: bytes) -> int:
    """Return the descriptor of read-only memory that holds `content`."""
    return _sealed(name, len(content), content, _OF_FIXED_SIZE | fcntl.F_SEAL_WRITE)


def _sealed(name: str, size: int, content: bytes, seals: int) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        written = 0
        while written < len(content):
            written += os.pwrite(descriptor, content[written:], written)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
