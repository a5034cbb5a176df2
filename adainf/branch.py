"""Branches: the paths through the networks of a family, and the cost of each."""

import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from adainf.base.errors import InvalidInputError

__all__ = ["NETWORK_NAME", "REFERENCE", "Branch", "BranchSpace", "FamilySpace", "PartMacs"]

REFERENCE = ""
"""The network of a branch through the reference, the first network of its family."""

NETWORK_NAME = "[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}"
"""The pattern of a network's name in its family."""

# A branch has exactly one spelling: no leading zeros, and no more digits than a resolution may have.
_WRITTEN = re.compile(rf"(?:({NETWORK_NAME})/)?([1-9][0-9]{{0,4}}):([01]+)")


@dataclass(frozen=True, slots=True, order=True)
class Branch:
    """A path through a network: its input resolution (pixels a side) and the blocks that run.

    network: the network's name in its family; empty for the reference. Written `192:1110110111`, with a digit per block
    in execution order, after the name of a network that is not the reference: `lite0/192:1110110111`.

    >>> branch = adainf.Branch.parse("lite0/192:110")
    >>> branch.network, branch.resolution, branch.keep, branch.path
    ('lite0', 192, (True, True, False), '192:110')
    """

    resolution: int
    keep: tuple[bool, ...]
    network: str = REFERENCE

    @classmethod
    def parse(cls, text: str) -> "Branch":
        """Parse the output of `str`; raises InvalidInputError on anything else."""
        match = _WRITTEN.fullmatch(text)
        if match is None:
            raise InvalidInputError(
                f"branch {text!r}: must be a resolution, a colon and a 0 or 1 for each block, as in 192:110111, after "
                "the network's name and a slash where it is not the reference"
            )
        return cls(int(match[2]), tuple(digit == "1" for digit in match[3]), match[1] or REFERENCE)

    @property
    def path(self) -> str:
        """The branch without its network, such as `192:1110110111`."""
        return _written(self.resolution, self.keep)

    def __str__(self) -> str:
        return f"{self.network}/{self.path}" if self.network else self.path


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
    """All branches of a network: its skippable blocks, and the MACs of every part at every resolution.

    network: the network's name in its family; empty for the reference.
    """

    native_resolution: int
    droppable: tuple[bool, ...]
    parts: Mapping[int, PartMacs]
    network: str = REFERENCE

    @property
    def full(self) -> Branch:
        """The full branch: every block at the native resolution."""
        return Branch(self.native_resolution, (True,) * len(self.droppable), self.network)

    @property
    def cheapest(self) -> Branch:
        """The branch with the fewest MACs: it skips every skippable block whose shortcut is cheaper."""
        return min((self.cheapest_at(resolution) for resolution in self.parts), key=self.macs)

    def cheapest_at(self, resolution: int) -> Branch:
        """Return the branch with the fewest MACs at one resolution."""
        parts = self.parts[resolution]
        costs = zip(self.droppable, parts.blocks, parts.shortcuts, strict=True)
        return Branch(resolution, tuple(not may or block <= shortcut for may, block, shortcut in costs), self.network)

    @property
    def count(self) -> int:
        """The number of branches."""
        return len(self.parts) << sum(self.droppable)

    def __iter__(self) -> Iterator[Branch]:
        choices = [(True, False) if may else (True,) for may in self.droppable]
        for resolution in sorted(self.parts, reverse=True):
            for keep in itertools.product(*choices):
                yield Branch(resolution, keep, self.network)

    def __contains__(self, branch: Branch) -> bool:
        return (
            branch.network == self.network
            and branch.resolution in self.parts
            and len(branch.keep) == len(self.droppable)
            and all(kept or may for kept, may in zip(branch.keep, self.droppable, strict=True))
        )

    def check(self, branch: Branch) -> None:
        """Raise InvalidInputError, saying why, unless `branch` belongs to this space."""
        if branch.network != self.network:
            raise InvalidInputError(f"branch {branch}: network must be {self.network or 'the reference'}")
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


@dataclass(frozen=True)
class FamilySpace:
    """All branches of a family of networks, whose full branch is the reference's.

    networks: the branches of each network, by its name; the reference, under `REFERENCE`, is one of them.
    """

    networks: Mapping[str, BranchSpace]

    @property
    def reference(self) -> BranchSpace:
        """The branches of the reference."""
        return self.networks[REFERENCE]

    @property
    def full(self) -> Branch:
        """The full branch: every block of the reference at its native resolution."""
        return self.reference.full

    @property
    def full_macs(self) -> int:
        """MACs of one frame along the full branch."""
        return self.macs(self.full)

    def __contains__(self, branch: Branch) -> bool:
        return branch.network in self.networks and branch in self.networks[branch.network]

    def check(self, branch: Branch) -> None:
        """Raise InvalidInputError, saying why, unless `branch` belongs to one of the networks."""
        if branch.network not in self.networks:
            named = ", ".join(name for name in self.networks if name)
            others = f" or one of: {named}" if named else ", the only one"
            raise InvalidInputError(f"branch {branch}: network must be the reference{others}")
        self.networks[branch.network].check(branch)

    def macs(self, branch: Branch) -> int:
        """Return the MACs of one frame along `branch`."""
        return self.networks[branch.network].macs(branch)

    def fraction(self, branch: Branch) -> float:
        """Return the MACs along `branch` as a fraction of the full branch's."""
        return self.macs(branch) / self.full_macs
