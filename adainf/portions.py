"""How many pictures run together where only certain numbers can."""

from collections.abc import Iterator, Sequence

__all__ = ["portions"]


def portions(count: int, sizes: Sequence[int]) -> Iterator[int]:
    """Sizes that together hold `count` pictures, the last of them perhaps not filled.

    sizes: rising, at least one. As few runs as possible: the smallest size that holds all that is left, or else the
    largest.

    >>> list(portions(5, (1, 2, 8)))
    [8]
    >>> list(portions(5, (1, 2)))
    [2, 2, 1]
    """
    while count > 0:
        size = next((size for size in sizes if size >= count), sizes[-1])
        yield size
        count -= size
