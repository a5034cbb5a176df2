"""Stands in for a camera's process that somebody has taken over: it is confined as one is, then tries to get out.

    python confined.py '{"source": …, "processes": […], "files": […], "ports": […], "sockets": […], "folder": …}'

files, sockets and the folder are to be the test's own: where nothing holds the attacks, they are done to them. What
is the system's is only read. Prints a JSON object: `missing`, what could not be dropped, and `succeeded`, the attacks
that did.
"""

import contextlib
import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as the daemon starts a camera's process

from adainfd.capture.sandbox.confinement import confine
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source

Attack = tuple[str, Callable[[], object]]

LIBC = ctypes.CDLL(None, use_errno=True)
MPTCP, FAST_OPEN = 262, 0x20000000
F_SETOWN, F_SETSIG = 8, 10
# Called with -1 for each argument, which no kernel acts upon: where such a call is let through, it complains of that.
REFUSED = """
    ptrace process_vm_readv process_vm_writev process_madvise pidfd_open pidfd_getfd pidfd_send_signal kcmp
    tkill rt_sigqueueinfo rt_tgsigqueueinfo setpriority sched_setaffinity sched_setscheduler sched_setparam
    sched_setattr ioprio_set migrate_pages move_pages mbind set_mempolicy execve execveat unshare setns
    mount umount2 pivot_root chroot fsopen open_tree move_mount mount_setattr open_by_handle_at name_to_handle_at
    bpf perf_event_open userfaultfd io_uring_setup keyctl add_key request_key seccomp
    init_module finit_module swapon swapoff quotactl settimeofday adjtimex
    shmat semget mq_open inotify_init1 fanotify_init timer_create signalfd4 mlock
    chmod fchmod chown fchown utimensat setxattr unlink unlinkat rename renameat2 mkdir mkdirat mknod mknodat
    link linkat symlink symlinkat truncate flock socketpair listen accept4 splice vmsplice
    memfd_create memfd_secret pkey_alloc personality setuid setgid setresuid setresgid setfsuid setgroups capset
    setpgid setsid chdir fchdir umask sendfile tee copy_file_range fallocate ftruncate sync_file_range
    iopl ioperm kexec_load syslog acct sethostname setdomainname remap_file_pages process_mrelease
    sched_setattr set_mempolicy_home_node cachestat landlock_create_ruleset clone3 waitid wait4
""".split()  # noqa: SIM905


def main() -> None:
    """Confine this process, attack, and tell."""
    told: dict[str, Any] = json.loads(sys.argv[1])
    missing = [str(part) for part in confine(CameraSettings("front", Source(told["source"]))).missing]
    succeeded: list[str] = []
    for name, attack in attacks(told):
        with contextlib.suppress(OSError, RuntimeError, MemoryError, ValueError):
            attack()
            succeeded.append(name)
    print(json.dumps({"missing": missing, "succeeded": succeeded}), flush=True)
    os._exit(0)


def attacks(told: dict[str, Any]) -> Iterator[Attack]:
    """Each raises where it is refused."""
    for path in told["files"]:
        yield f"read {path}", lambda path=path: Path(path).read_bytes()
        yield f"write {path}", lambda path=path: os.close(os.open(path, os.O_WRONLY))
        yield f"list beside {path}", lambda path=path: os.listdir(Path(path).parent)  # noqa: PTH208
        yield f"truncate {path}", lambda path=path: os.truncate(path, 1000)
        yield f"rename {path}", lambda path=path: os.rename(path, path + ".mine")  # noqa: PTH104
    yield "write a file", lambda: Path(told["folder"], "mine").write_bytes(b"mine")
    for process in told["processes"]:
        for entry in ("mem", "environ", "maps", "cmdline", "fd", "task", "root/etc/passwd", "cwd", "oom_score_adj"):
            yield f"/proc/{process}/{entry}", lambda path=f"/proc/{process}/{entry}": read(path)
        for link in ("exe", "cwd", "root", "fd/0", "ns/user"):
            yield f"/proc/{process}/{link}, where it leads", lambda path=f"/proc/{process}/{link}": os.readlink(path)  # noqa: PTH115
        yield from on_process(process)
    yield "signal the group", lambda: os.killpg(os.getpgrp(), 0)
    yield "signal all", lambda: os.kill(-1, 0)
    for port in told["ports"]:
        yield from to_port(port)
    for path in told["sockets"]:
        yield f"connect {path}", lambda path=path: connected(socket.AF_UNIX, path)
    yield from on_the_box(told["source"])


def on_the_box(source: str) -> Iterator[Attack]:
    """What takes from the system, and from this process's own limits."""
    for family in (socket.AF_UNIX, socket.AF_NETLINK, socket.AF_VSOCK, socket.AF_PACKET, socket.AF_ALG):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
            yield f"socket {family} {kind}", lambda family=family, kind=kind: socket.socket(family, kind).close()
    yield "raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    for name in REFUSED:
        if (number := number_of(name)) >= 0:
            yield f"call {name}", lambda number=number: call(number, *[-1] * 6)
    yield "fork", fork
    for path in ("/etc/passwd", "/etc/hostname", "/usr/bin/env", "/proc/1/status", "/sys/kernel", "/dev/shm"):  # noqa: S108
        yield f"read {path}", lambda path=path: read(path)
    yield "thread", start_thread
    yield "raise a limit", lambda: resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    yield "core dump", lambda: resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))
    for kind, flags in (("own", mmap.MAP_PRIVATE), ("shared", mmap.MAP_SHARED)):
        yield (
            f"1.5 GB of {kind} memory",
            lambda flags=flags: [mmap.mmap(-1, 1 << 26, flags | mmap.MAP_ANONYMOUS) for _ in range(24)],
        )
    yield (
        "1000 files",
        lambda: [os.open(source if Path(source).exists() else "/usr/lib", 0) for _ in range(1000)],
    )
    yield "less to be ended by the kernel", lambda: Path("/proc/self/oom_score_adj").write_text("0")
    yield "be traced", lambda: call(number_of("prctl"), 0x59616D61, -1)
    for request in (0x5412, 0x541C, 0x540E, 0x5422):  # TIOCSTI, TIOCLINUX, TIOCSCTTY, TIOCNOTTY
        yield f"the terminal, {request:#x}", lambda request=request: ioctl(request)
    yield "another owner of signals", lambda: ioctl(0x8901)


def on_process(process: int) -> Iterator[Attack]:
    """What one process may do to another of its user."""
    yield f"{process}: signal", lambda: os.kill(process, 0)
    yield f"{process}: signal, in more bits", lambda: call(number_of("kill"), process | 1 << 32, 0)
    yield f"{process}: signal a thread", lambda: call(number_of("tgkill"), process, process, 0)
    yield f"{process}: trace", lambda: call(number_of("ptrace"), 0x4206, process, 0, 0)
    yield f"{process}: priority", lambda: os.setpriority(os.PRIO_PROCESS, process, 19)
    yield f"{process}: processors", lambda: os.sched_setaffinity(process, {0})
    yield f"{process}: scheduling", lambda: os.sched_setscheduler(process, os.SCHED_IDLE, os.sched_param(0))
    yield f"{process}: io", lambda: call(number_of("ioprio_set"), 1, process, 3 << 13)
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_CPU):
        yield f"{process}: limit {limit}", lambda limit=limit: resource.prlimit(process, limit)
    yield f"{process}: signal by a pipe", lambda: signal_by_pipe(process)
    yield f"{process}: descriptor", lambda: call(number_of("pidfd_open"), process, 0)


def signal_by_pipe(process: int) -> None:
    """A file's owner gets the signal that its opener chose when something can be read from it."""
    import fcntl

    reading, _ = os.pipe()
    fcntl.fcntl(reading, F_SETOWN, process)
    fcntl.fcntl(reading, F_SETSIG, signal.SIGURG)


def to_port(port: int) -> Iterator[Attack]:
    """Ways to a server of this box."""
    for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        yield f"connect {host} {port}", lambda host=host, family=family: connected(family, (host, port))
    yield f"MPTCP {port}", lambda: connected(socket.AF_INET, ("127.0.0.1", port), MPTCP)

    def fast() -> None:
        with socket.socket() as plain:
            plain.sendto(b"GET / HTTP/1.0\r\n\r\n", FAST_OPEN, ("127.0.0.1", port))

    yield f"fast open {port}", fast

    def datagram() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.sendto(b"x", ("127.0.0.1", port))

    yield f"datagram {port}", datagram

    def bound() -> None:
        with socket.socket() as plain:
            plain.bind(("127.0.0.1", 0))

    yield "bind", bound


def connected(family: int, address: Any, protocol: int = 0) -> None:
    """Raises OSError where there is no connection."""
    with socket.socket(family, socket.SOCK_STREAM, protocol) as one:
        one.settimeout(2)
        one.connect(address)


def read(path: str) -> None:
    """A file's beginning, a folder's names."""
    if os.path.isdir(path):  # noqa: PTH112
        os.listdir(path)  # noqa: PTH208
        return
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        if path.endswith("/mem"):  # it is read where something is mapped
            return
        file.read(1)


def fork() -> None:
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)


def start_thread() -> None:
    import threading

    threading.Thread(target=time.time).start()


def ioctl(request: int) -> None:
    import fcntl

    fcntl.ioctl(2, request, struct.pack("i", 0))


def number_of(name: str) -> int:
    """Of a system call, on this machine; negative where it has none of that name."""
    number: int = SECCOMP.seccomp_syscall_resolve_name(name.encode())
    return number


def call(number: int, *arguments: int) -> None:
    """A system call; one that complains of its arguments was let through."""
    ctypes.set_errno(0)
    padded = [*arguments, *([0] * (6 - len(arguments)))]
    if LIBC.syscall(ctypes.c_long(number), *map(ctypes.c_long, padded)) < 0:
        error = ctypes.get_errno()
        if error in (1, 13, 38):  # EPERM, EACCES, ENOSYS
            raise OSError(error, os.strerror(error))


SECCOMP = ctypes.CDLL("libseccomp.so.2")

if __name__ == "__main__":
    main()
