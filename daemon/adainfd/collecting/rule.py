"""What is collected of a view, at most."""

from dataclasses import dataclass

__all__ = ["CollectRule"]


@dataclass(frozen=True, slots=True)
class CollectRule:
    """What is collected of each view.

    pictures, megabytes: the most kept unsorted. a_minute: the most kept anew. margin: the lead of the likeliest label
    over the next, as a probability, below which it is unsure. sample_seconds: between pictures kept by chance, on
    average.
    """

    pictures: int
    megabytes: float
    a_minute: float
    margin: float
    sample_seconds: float
