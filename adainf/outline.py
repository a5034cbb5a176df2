"""What is known of a backbone once it was loaded: enough to run its exports without it."""

from dataclasses import dataclass

from adainf.preprocessing import Preprocessing

__all__ = ["Outline"]


@dataclass(frozen=True, slots=True)
class Outline:
    """A backbone with certain weights, without them.

    weights: their fingerprint. droppable: which blocks may be skipped. class_names: in the order of the scores.
    """

    name: str
    weights: str
    droppable: tuple[bool, ...]
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
