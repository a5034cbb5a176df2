"""Open files: how many this process may have."""

import resource

from adainf.errors import InvalidInputError

__all__ = ["A_PROGRAM", "have"]

A_PROGRAM = 48
"""What the smallest of our programs has open at once, and some more."""


def have(count: int, what: str) -> None:
    """See that this process may open `count` files at once, raising its soft limit where it must.

    what: needs them. Raises InvalidInputError where the hard limit is below that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        raise InvalidInputError(
            f"{what}: needs up to {count} open files at once, and may have {hard}; raise the limit "
            "(ulimit -n, LimitNOFILE= of a unit)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
