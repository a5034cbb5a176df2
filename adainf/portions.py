"""Split pictures into batches where only certain batch sizes are available."""

from collections.abc import Iterator, Sequence

__all__ = ["portions"]


def portions(count: int, sizes: Sequence[int]) -> Iterator[int]:
    """Return batch sizes that together hold `count` pictures; the last batch may not be full.

    sizes: rising, at least one. Uses as few runs as possible: the smallest size that holds the rest, else the largest.

    >>> list(portions(5, (1, 2, 8)))
    [8]
    >>> list(portions(5, (1, 2)))
    [2, 2, 1]
    """
    while count > 0:
        size = next((size for size in sizes if size >= count), sizes[-1])
        yield size
        count -= size
