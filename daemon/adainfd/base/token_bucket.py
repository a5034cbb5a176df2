"""A token bucket: a burst, then a constant rate."""

__all__ = ["TokenBucket"]


class TokenBucket:
    """A token bucket that holds at most `at_once` tokens and refills with `a_second` per second. Not thread-safe.

    >>> requests = TokenBucket(2, 0.5, now=10.0)
    >>> requests.spend(2)
    >>> requests.earn(12.0)
    1.0
    """

    __slots__ = ("_a_second", "_at", "_at_once", "left")

    def __init__(self, at_once: float, a_second: float, now: float) -> None:
        """Create a full bucket. now: monotonic seconds, here and in `earn`."""
        self._at_once, self._a_second, self._at = at_once, a_second, now
        self.left = float(at_once)
        """The tokens left; negative if more were spent than available."""

    def earn(self, now: float) -> float:
        """Add the tokens earned until `now`; return how many are left."""
        self.left = min(self._at_once, self.left + self._a_second * (now - self._at))
        self._at = now
        return self.left

    def give(self, tokens: float) -> None:
        """Add tokens independently of time, up to the capacity."""
        self.left = min(self._at_once, self.left + tokens)

    def spend(self, tokens: float = 1.0) -> None:
        """Take tokens unconditionally; the balance may become negative."""
        self.left -= tokens
