"""Branches: the paths through a backbone, and the cost of each."""

import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from adainf.base.errors import InvalidInputError

__all__ = ["Branch", "BranchSpace", "PartMacs"]

# A branch has exactly one spelling: no leading zeros, and no more digits than a resolution may have.
_WRITTEN = re.compile(r"([1-9][0-9]{0,4}):([01]+)")


@dataclass(frozen=True, slots=True, order=True)
class Branch:
    """A path through a backbone: an input resolution (pixels a side) and the blocks that run.

    Written `192:1110110111`, with a digit per block in execution order.

    >>> branch = adainf.Branch.parse("192:110")
    >>> branch.resolution, branch.keep, str(branch)
    (192, (True, True, False), '192:110')
    """

    resolution: int
    keep: tuple[bool, ...]

    @classmethod
    def parse(cls, text: str) -> "Branch":
        """Parse `192:1110110111`; raises InvalidInputError on anything else."""
        match = _WRITTEN.fullmatch(text)
        if match is None:
            raise InvalidInputError(
                f"branch {text!r}: must be a resolution, a colon and a 0 or 1 for each block, as in 192:110111"
            )
        return cls(int(match[1]), tuple(digit == "1" for digit in match[2]))

    def __str__(self) -> str:
        return _written(self.resolution, self.keep)


@functools.lru_cache
def _written(resolution: int, keep: tuple[bool, ...]) -> str:
    # Cached, because a daemon formats the same few branches thousands of times a second.
    return f"{resolution}:{''.join('1' if kept else '0' for kept in keep)}"


@dataclass(frozen=True, slots=True)
class PartMacs:
    """Multiply-accumulates of each part of a backbone, for one frame at one resolution.

    `shortcuts[i]` is the remaining cost of block i when it is skipped: 0 for an identity, more where the block changes
    the shape and its shortcut is a convolution.
    """

    stem: int
    blocks: tuple[int, ...]
    shortcuts: tuple[int, ...]
    head: int

    def along(self, keep: tuple[bool, ...]) -> int:
        """Return the MACs of one frame through the stem, the kept blocks, the others' shortcuts and the head."""
        parts = zip(keep, self.blocks, self.shortcuts, strict=True)
        return self.stem + sum(block if kept else shortcut for kept, block, shortcut in parts) + self.head

    def until(self, kept: tuple[bool, ...]) -> int:
        """Return the MACs of one frame through the stem and the first len(kept) blocks, or their shortcuts."""
        parts = zip(kept, self.blocks, self.shortcuts, strict=False)
        return self.stem + sum(block if keeps else shortcut for keeps, block, shortcut in parts)


@dataclass(frozen=True)
class BranchSpace:
    """All branches of a backbone: its skippable blocks, and the MACs of every part at every resolution."""

    native_resolution: int
    droppable: tuple[bool, ...]
    parts: Mapping[int, PartMacs]

    @property
    def full(self) -> Branch:
        """The full branch: every block at the native resolution."""
        return Branch(self.native_resolution, (True,) * len(self.droppable))

    @property
    def cheapest(self) -> Branch:
        """The branch with the fewest MACs: it skips every skippable block whose shortcut is cheaper."""
        return min((self.cheapest_at(resolution) for resolution in self.parts), key=self.macs)

    def cheapest_at(self, resolution: int) -> Branch:
        """Return the branch with the fewest MACs at one resolution."""
        parts = self.parts[resolution]
        costs = zip(self.droppable, parts.blocks, parts.shortcuts, strict=True)
        return Branch(resolution, tuple(not may or block <= shortcut for may, block, shortcut in costs))

    @property
    def count(self) -> int:
        """The number of branches."""
        return len(self.parts) << sum(self.droppable)

    def __iter__(self) -> Iterator[Branch]:
        choices = [(True, False) if may else (True,) for may in self.droppable]
        for resolution in sorted(self.parts, reverse=True):
            for keep in itertools.product(*choices):
                yield Branch(resolution, keep)

    def __contains__(self, branch: Branch) -> bool:
        return (
            branch.resolution in self.parts
            and len(branch.keep) == len(self.droppable)
            and all(kept or may for kept, may in zip(branch.keep, self.droppable, strict=True))
        )

    def check(self, branch: Branch) -> None:
        """Raise InvalidInputError, saying why, unless `branch` belongs to this space."""
        if branch.resolution not in self.parts:
            allowed = ", ".join(map(str, sorted(self.parts)))
            raise InvalidInputError(f"branch {branch}: resolution must be one of {allowed}")
        if len(branch.keep) != len(self.droppable):
            raise InvalidInputError(f"branch {branch}: has {len(branch.keep)} blocks, not {len(self.droppable)}")
        for index, (kept, may) in enumerate(zip(branch.keep, self.droppable, strict=True)):
            if not (kept or may):
                raise InvalidInputError(f"branch {branch}: block {index} cannot be skipped")

    def macs(self, branch: Branch) -> int:
        """Return the MACs of one frame along `branch`."""
        return self.parts[branch.resolution].along(branch.keep)

    def fraction(self, branch: Branch) -> float:
        """Return the MACs along `branch` as a fraction of the full branch's."""
        return self.macs(branch) / self.macs(self.full)
