"""The system calls a camera process may make, enforced by seccomp through libseccomp.

An allowlist of what libraries need to decode, wait and receive. Every other call fails with EPERM, so that a library
that tries it carries on without; calls newer than this list fail with ENOSYS, so that the C library falls back to the
older call.
"""

import ctypes
import errno
import os
import platform
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["NO_LIBRARY", "UnfilteredError", "restrict"]

NO_LIBRARY = "libseccomp.so.2 is missing"

_LIBRARY = "libseccomp.so.2"
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_OF_ALL_THREADS, _NO_SPECULATION_GUARD, _OPTIMIZE, _BINARY_TREE = 4, 7, 8, 2
_MASKED_EQUAL = 7
_WORD = 0xFFFFFFFF
# Numbers from here on are the same on all architectures; those not listed below fail with ENOSYS.
_COMMON_NUMBERS = range(424, 512)

# Allowed with any arguments: memory, files (those already open or that Landlock lets it open), waiting, clocks, signal
# handling, exit.
_ALWAYS = """
    brk mmap munmap mremap mprotect madvise mincore msync membarrier
    read readv pread64 preadv preadv2 write writev lseek close close_range fadvise64 readahead
    open openat stat lstat fstat newfstatat statx access faccessat faccessat2 readlink readlinkat getdents getdents64
    statfs fstatfs getcwd dup dup2 dup3 pipe pipe2 eventfd2
    poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
    futex futex_waitv set_robust_list get_robust_list set_tid_address rseq restart_syscall
    sched_yield sched_getaffinity sched_getparam sched_getscheduler getpriority getcpu
    gettid getpid getppid getuid geteuid getgid getegid getresuid getresgid getgroups getpgrp
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getitimer setitimer alarm
    getrusage getrlimit setrlimit sysinfo uname getrandom
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack
    arch_prctl exit exit_group
    recvfrom recvmsg recvmmsg
""".split()  # noqa: SIM905 - a table
_NETWORK = ("connect", "bind", "getsockopt", "setsockopt", "getsockname", "getpeername", "shutdown")
_LISTENING = ("listen", "accept", "accept4")

_CLONE_THREAD = 0x10000
_FAST_OPEN = 0x20000000  # MSG_FASTOPEN connects without a Landlock check
_KIND_OF_SOCKET = 0xF
_DATAGRAM_PROTOCOLS = (0, socket.IPPROTO_UDP, socket.IPPROTO_UDPLITE)
_STREAM_PROTOCOLS = (0, socket.IPPROTO_TCP)  # not MPTCP, which connects without a Landlock check
_V4L2 = 0x5600
# Excludes those that send signals to another process (F_SETOWN, F_SETSIG, FIOSETOWN), lock or lease.
_FCNTLS = (0, 1, 2, 3, 4, 1030, 1033, 1034)  # F_DUPFD, F_[GS]ETF[DL], F_DUPFD_CLOEXEC, F_{ADD,GET}_SEALS
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIO[N]CLEX
_PRCTLS = (15, 16, 0x53564D41)  # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA


class UnfilteredError(Exception):
    """No filter could be loaded; the message gives the reason."""


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


@dataclass(frozen=True, slots=True)
class _If:
    """A condition: the masked argument equals `value`. The kernel reads 32 bits of every argument compared here."""

    argument: int
    value: int
    mask: int = _WORD


_Rule = tuple[str, tuple[_If, ...]]


def restrict(*, network: bool, datagrams: bool, local: bool, listening: bool, device: bool, threads: bool) -> None:
    """Limit this process, with all its threads, to the system calls its source needs.

    network: Internet TCP sockets. datagrams: UDP sockets too. local: Unix sockets too. listening: incoming
    connections. device: V4L2 controls. threads: creation of threads. Raises UnfilteredError.
    """
    library = _library()
    context = library.seccomp_init(_ERRNO | errno.EPERM)
    if not context:
        raise UnfilteredError("libseccomp cannot make a filter")
    try:
        for attribute, value in ((_OF_ALL_THREADS, 1), (_NO_SPECULATION_GUARD, 1), (_OPTIMIZE, _BINARY_TREE)):
            library.seccomp_attr_set(context, attribute, value)  # the last two only add speed, if supported
        allowed = set()
        for name, conditions in _rules(network, datagrams, local, listening, device, threads):
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:  # known on this architecture and to this libseccomp
                allowed.add(number)
                _add(library, context, _ALLOW, number, conditions)
        for number in _COMMON_NUMBERS:
            if number not in allowed:
                _add(library, context, _ERRNO | errno.ENOSYS, number, ())
        if failed := library.seccomp_load(context):
            raise UnfilteredError(f"the kernel takes no seccomp filter ({os.strerror(-failed)})")
    finally:
        library.seccomp_release(context)


def _library() -> ctypes.CDLL:
    if platform.machine() not in ("x86_64", "aarch64"):
        raise UnfilteredError(f"there is no filter for {platform.machine()}")
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise UnfilteredError(NO_LIBRARY) from None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [
        *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison))
    ]
    library.seccomp_load.argtypes = library.seccomp_release.argtypes = [ctypes.c_void_p]
    return library


def _add(library: ctypes.CDLL, context: int, action: int, number: int, conditions: tuple[_If, ...]) -> None:
    comparisons = (_Comparison * len(conditions))(
        *(
            _Comparison(condition.argument, _MASKED_EQUAL, condition.mask, condition.value & condition.mask)
            for condition in conditions
        )
    )
    if failed := library.seccomp_rule_add_array(context, action, number, len(conditions), comparisons):
        raise UnfilteredError(f"libseccomp takes no rule for system call {number} ({os.strerror(-failed)})")


def _rules(
    network: bool, datagrams: bool, local: bool, listening: bool, device: bool, threads: bool
) -> Iterator[_Rule]:
    yield from _any(_ALWAYS)
    yield from _one_of("fcntl", 1, _FCNTLS)
    yield from _one_of("ioctl", 1, _IOCTLS)
    yield from _one_of("prctl", 0, _PRCTLS)
    yield from _one_of("prlimit64", 0, (0, os.getpid()))
    for name in ("kill", "tgkill"):  # used by `abort` and `raise`, so limited to this process
        yield from _one_of(name, 0, (os.getpid(),))
    for name, flags in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        yield name, (_If(flags, 0, _FAST_OPEN),)
    if threads:
        yield "clone", (_If(0, _CLONE_THREAD, _CLONE_THREAD),)
    if device:
        yield "ioctl", (_If(1, _V4L2, 0xFF00),)
    if network:
        yield from _any(_NETWORK)
        for family in (socket.AF_INET, socket.AF_INET6):
            yield from _sockets(family, socket.SOCK_STREAM, _STREAM_PROTOCOLS)
            yield from _sockets(family, socket.SOCK_DGRAM, _DATAGRAM_PROTOCOLS if datagrams else ())
    if local:
        yield from _any(_NETWORK if not network else ())
        yield from _sockets(socket.AF_UNIX, socket.SOCK_STREAM, (0,))
    if listening:
        yield from _any(_LISTENING)


def _any(names: Iterable[str]) -> Iterator[_Rule]:
    for name in names:
        yield name, ()


def _one_of(name: str, argument: int, values: Iterable[int]) -> Iterator[_Rule]:
    for value in values:
        yield name, (_If(argument, value),)


def _sockets(family: int, kind: int, protocols: Iterable[int]) -> Iterator[_Rule]:
    for protocol in protocols:
        yield "socket", (_If(0, family), _If(1, kind, _KIND_OF_SOCKET), _If(2, protocol))
