"""Branches: the ways through a backbone, and what each of them costs."""

import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from adainf.base.errors import InvalidInputError

__all__ = ["Branch", "BranchSpace", "PartMacs"]

# One spelling a branch: no leading zeros, and no more digits than a resolution may have.
_WRITTEN = re.compile(r"([1-9][0-9]{0,4}):([01]+)")


@dataclass(frozen=True, slots=True, order=True)
class Branch:
    """One way through a backbone: an input resolution (pixels a side) and the blocks that run.

    Written `192:1110110111`, a digit a block in the order they run.
    """

    resolution: int
    keep: tuple[bool, ...]

    @classmethod
    def parse(cls, text: str) -> "Branch":
        """Read `192:1110110111`; raises InvalidInputError on anything else."""
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
    # A daemon writes the same few branches some thousand times a second.
    return f"{resolution}:{''.join('1' if kept else '0' for kept in keep)}"


@dataclass(frozen=True, slots=True)
class PartMacs:
    """Multiply-accumulates of each part of a backbone for one frame at one resolution.

    `shortcuts[i]` is what remains of block i when it is skipped: 0 for an identity, more where the block changes
    the shape and its shortcut is a convolution.
    """

    stem: int
    blocks: tuple[int, ...]
    shortcuts: tuple[int, ...]
    head: int

    def along(self, keep: tuple[bool, ...]) -> int:
        """MACs of one frame through the stem, the kept blocks, the shortcuts of the others and the head."""
        walked = zip(keep, self.blocks, self.shortcuts, strict=True)
        return self.stem + sum(block if kept else shortcut for kept, block, shortcut in walked) + self.head

    def until(self, kept: tuple[bool, ...]) -> int:
        """MACs of one frame through the stem and the first blocks, or their shortcuts; kept: for each of those."""
        walked = zip(kept, self.blocks, self.shortcuts, strict=False)
        return self.stem + sum(block if keeps else shortcut for keeps, block, shortcut in walked)


@dataclass(frozen=True)
class BranchSpace:
    """All branches of a backbone: which blocks may be skipped, and the MACs of every part at every resolution."""

    native_resolution: int
    droppable: tuple[bool, ...]
    parts: Mapping[int, PartMacs]

    @property
    def full(self) -> Branch:
        """Every block at the native resolution."""
        return Branch(self.native_resolution, (True,) * len(self.droppable))

    @property
    def cheapest(self) -> Branch:
        """The branch with the fewest MACs: every block skipped that may be and whose shortcut is cheaper."""
        return min((self.cheapest_at(resolution) for resolution in self.parts), key=self.macs)

    def cheapest_at(self, resolution: int) -> Branch:
        """The branch with the fewest MACs at one resolution."""
        parts = self.parts[resolution]
        costs = zip(self.droppable, parts.blocks, parts.shortcuts, strict=True)
        return Branch(resolution, tuple(not may or block <= shortcut for may, block, shortcut in costs))

    @property
    def count(self) -> int:
        """How many branches there are."""
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
        """Raise InvalidInputError, saying why, unless `branch` is one of these branches."""
        if branch.resolution not in self.parts:
            allowed = ", ".join(map(str, sorted(self.parts)))
            raise InvalidInputError(f"branch {branch}: resolution must be one of {allowed}")
        if len(branch.keep) != len(self.droppable):
            raise InvalidInputError(f"branch {branch}: has {len(branch.keep)} blocks, not {len(self.droppable)}")
        for index, (kept, may) in enumerate(zip(branch.keep, self.droppable, strict=True)):
            if not (kept or may):
                raise InvalidInputError(f"branch {branch}: block {index} cannot be skipped")

    def macs(self, branch: Branch) -> int:
        """MACs of one frame along `branch`."""
        return self.parts[branch.resolution].along(branch.keep)

    def fraction(self, branch: Branch) -> float:
        """MACs along `branch` relative to the full branch."""
        return self.macs(branch) / self.macs(self.full)
