"""Outlines: what is known of a backbone once it was loaded, enough to run its exports without it."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adainf.base.errors import InvalidInputError, one_line
from adainf.preprocessing import Preprocessing

__all__ = ["Outline", "check_same_classes"]


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


def check_same_classes(of_networks: Mapping[str, Sequence[str]]) -> None:
    """Raise InvalidInputError, naming the first difference, unless all networks have the same classes in one order.

    of_networks: the classes by the network's name, the reference's first.
    """
    (reference, expected), *others = of_networks.items()
    for name, classes in others:
        for index, (one, other) in enumerate(itertools.zip_longest(expected, classes)):
            if one != other:
                raise InvalidInputError(
                    f"network {name}: must have the classes of {reference}; class {index} is {_shown(other)}, "
                    f"not {_shown(one)}"
                )


def _shown(label: str | None) -> str:
    return "missing" if label is None else one_line(repr(label), 60)
