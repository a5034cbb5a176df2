"""Memory that the daemon shares with a camera's process, sealed so that the process cannot change its size.

A process that shrank the memory would end the daemon at its next access, by SIGBUS.
"""

import fcntl
import os

__all__ = ["sealed", "sealed_content"]

_OF_FIXED_SIZE = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def sealed(name: str, size: int) -> int:
    """The descriptor of so many bytes of memory, all zero; a page takes no memory before it is touched.

    Raises OSError where there is not enough memory.
    """
    return _sealed(name, size, b"", _OF_FIXED_SIZE)


def sealed_content(name: str, content: bytes) -> int:
    """The descriptor of memory with this content, which nobody can change."""
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
