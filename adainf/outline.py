"""Outlines: what is known of a backbone once it was loaded, enough to run its exports without it."""

from dataclasses import dataclass

from adainf.preprocessing import Preprocessing

__all__ = ["Outline"]


@dataclass(frozen=True, slots=True)
class Outline:
    """The description of a backbone with certain weights, without the weights themselves.

    weights: their fingerprint. droppable: whether each block may be skipped. class_names: in the order of the scores.
    """

    name: str
    weights: str
    droppable: tuple[bool, ...]
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
