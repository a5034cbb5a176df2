"""This process's limits on open files and threads; some libraries abort the process when they run out."""

import resource
import threading

from adainf.base.errors import InvalidInputError, UnavailableError

__all__ = ["have_files", "have_threads", "leave_no_core", "spare_files"]


def have_files(count: int, what: str) -> None:
    """Ensure that this process may open `count` files at once, raising its soft limit if necessary.

    what: names what needs them, for the error. Raises InvalidInputError if the hard limit is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        raise InvalidInputError(
            f"{what}: up to {count} files are open at once, and only {hard} may be; raise the limit "
            "(ulimit -n, LimitNOFILE= of a unit)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def spare_files(count: int, most: int) -> int:
    """Return how many files, up to `most`, may be open beside `count`, raising the soft limit if that gives more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count + most and (hard == resource.RLIM_INFINITY or soft < hard):
        soft = hard
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return most if soft == resource.RLIM_INFINITY else max(0, min(most, soft - count))


def leave_no_core() -> None:
    """Disable core dumps of this process and its children: they would contain passwords and keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def have_threads(count: int) -> None:
    """Ensure that this process and its children may start `count` threads; raises UnavailableError if not."""
    end = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=end.wait)
            thread.start()
            started.append(thread)
    except RuntimeError:
        raise UnavailableError(
            f"{count} threads are needed, and cannot be started; raise the limit (ulimit -u or -v, TasksMax= of a "
            "unit), or end other programs of this user"
        ) from None
    finally:
        end.set()
        for thread in started:
            thread.join()
