"""A token bucket: so many at once, then so many a second."""

__all__ = ["TokenBucket"]


class TokenBucket:
    """Tokens that are earned with time, never more than `at_once`, and spent. Not thread-safe.

    >>> requests = TokenBucket(2, 0.5, now=10.0)
    >>> requests.spend(2)
    >>> requests.earn(12.0)
    1.0
    """

    __slots__ = ("_a_second", "_at", "_at_once", "left")

    def __init__(self, at_once: float, a_second: float, now: float) -> None:
        """A full one. now: monotonic seconds, as everywhere here."""
        self._at_once, self._a_second, self._at = at_once, a_second, now
        self.left = float(at_once)
        """Tokens there are; less than none where more were spent."""

    def earn(self, now: float) -> float:
        """Add the tokens earned until now; how many there are."""
        self.left = min(self._at_once, self.left + self._a_second * (now - self._at))
        self._at = now
        return self.left

    def give(self, tokens: float) -> None:
        """Add tokens that were not earned."""
        self.left = min(self._at_once, self.left + tokens)

    def spend(self, tokens: float = 1.0) -> None:
        """Take tokens, whether they are there or not."""
        self.left -= tokens
