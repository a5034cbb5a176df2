"""Selection of the branches worth measuring when there are too many to measure all."""

import bisect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from adainf.base.errors import InvalidInputError
from adainf.branch import Branch, BranchSpace

__all__ = ["Divergence", "greedy_chain", "indispensable", "sample", "tried_by_search"]

Divergence = Callable[[int, Sequence[tuple[bool, ...]]], Sequence[float]]
"""Maps a resolution and keep bits of branches to each branch's divergence from the truth; smaller is better."""

_RANDOM_SHARE = 1 / 8
_DRAWS_FOR_EACH = 64
# Every resolution gets a chain of its own if the search then tries at most this many branches per measured branch.
_TRIES_FOR_EACH = 4


def tried_by_search(space: BranchSpace, count: int) -> int:
    """Return how many branches `sample` evaluates the divergence of."""
    droppable = sum(space.droppable)
    return _chain_tries(droppable) * len(_searched(space, count))


def sample(space: BranchSpace, count: int, divergence: Divergence, seed: int) -> tuple[Branch, ...]:
    """Select at most `count` branches, the most expensive first; every branch if there are no more.

    The full branch, the cheapest branch, and all blocks at every resolution are always selected. Then follow greedy
    chains, thinned evenly if they are too long, and the frontier of all branches that their search tried. The rest, at
    least an eighth, is drawn at random and spread over the MACs. Near misses of the frontier are left out on purpose:
    of many nearly equal branches, the best on few pictures is often only the luckiest (on EfficientNet-Lite0, held-out
    top-1 at half the MACs fell from 79.3 to 78.1 % between 2 and 40 candidates).

    Raises InvalidInputError if `count` is too small for the branches that must be selected.
    """
    if space.count <= count:
        return _ordered(space, space)
    chosen = dict.fromkeys(indispensable(space))
    if len(chosen) > count:
        raise InvalidInputError(f"branches {count}: must be at least {len(chosen)} for {len(space.parts)} resolutions")
    for_search = count - int(count * _RANDOM_SHARE)
    tried, chains = _search(space, count, divergence)
    _take(chosen, _evenly([branch for branch in chains if branch not in chosen], for_search - len(chosen)), for_search)
    _take(chosen, _frontier(space, tried), for_search)
    _take(chosen, _spread_over_macs(space, chosen, count - len(chosen), seed), count)
    return _ordered(space, chosen)


def indispensable(space: BranchSpace) -> list[Branch]:
    """Return the branches that are always selected: all blocks at every resolution, and the cheapest."""
    complete = [Branch(resolution, space.full.keep, space.network) for resolution in sorted(space.parts, reverse=True)]
    return list(dict.fromkeys([*complete, space.cheapest]))


def greedy_chain(
    droppable: Sequence[bool], divergence: Callable[[Sequence[tuple[bool, ...]]], Sequence[float]]
) -> tuple[list[tuple[bool, ...]], dict[tuple[bool, ...], float]]:
    """Drop one block at a time, each time the one whose loss costs least; return the chain and all tried divergences.

    The chain starts with all blocks and ends with the blocks that cannot be dropped.
    """
    chain = [(True,) * len(droppable)]
    tried = dict(zip(chain, divergence(chain), strict=True))
    for _ in range(sum(droppable)):
        last = chain[-1]
        shorter = [
            (*last[:block], False, *last[block + 1 :]) for block, may in enumerate(droppable) if may and last[block]
        ]
        tried |= zip(shorter, divergence(shorter), strict=True)
        chain.append(min(shorter, key=lambda keep: tried[keep]))
    return chain, tried


def _chain_tries(droppable: int) -> int:
    return 1 + droppable * (droppable + 1) // 2


def _searched(space: BranchSpace, count: int) -> list[int]:
    resolutions = sorted(space.parts, reverse=True)
    everywhere = _chain_tries(sum(space.droppable)) * len(resolutions)
    return resolutions if everywhere <= count * _TRIES_FOR_EACH else [space.native_resolution]


def _search(space: BranchSpace, count: int, divergence: Divergence) -> tuple[dict[Branch, float], list[Branch]]:
    """Return all tried branches with their divergences, and the chains' branches, the most expensive first."""
    tried: dict[Branch, float] = {}
    chains: list[Branch] = []
    searched = _searched(space, count)
    for resolution in searched:
        chain, divergences = greedy_chain(space.droppable, lambda keeps, at=resolution: divergence(at, keeps))  # type: ignore[misc]
        tried |= {Branch(resolution, keep, space.network): value for keep, value in divergences.items()}
        # If only the native resolution is searched, its chain is used at every resolution.
        for used_at in [resolution] if len(searched) > 1 else space.parts:
            chains += [Branch(used_at, keep, space.network) for keep in chain]
    return tried, list(_ordered(space, chains))


def _frontier(space: BranchSpace, tried: Mapping[Branch, float]) -> Iterator[Branch]:
    """Yield the branches with a lower divergence than every tried branch of fewer or equal MACs, cheapest first."""
    best = math.inf
    for branch in sorted(tried, key=lambda branch: (space.macs(branch), tried[branch], branch)):
        if tried[branch] < best:
            best = tried[branch]
            yield branch


def _spread_over_macs(space: BranchSpace, excluded: Iterable[Branch], count: int, seed: int) -> list[Branch]:
    generator = np.random.default_rng(seed)
    resolutions = sorted(space.parts)
    drawn: dict[Branch, None] = {}
    for _ in range(count * _DRAWS_FOR_EACH):
        # A fresh keep probability per draw reaches both ends of the MACs.
        kept = generator.random(len(space.droppable)) < generator.random()
        keep = tuple(not may or bool(keeps) for may, keeps in zip(space.droppable, kept, strict=True))
        drawn[Branch(resolutions[generator.integers(len(resolutions))], keep, space.network)] = None
    candidates = sorted(set(drawn) - set(excluded), key=lambda branch: (space.macs(branch), branch))
    macs = [space.macs(branch) for branch in candidates]
    picked: list[Branch] = []
    for target in np.linspace(space.macs(space.cheapest), space.macs(space.full), count):
        if candidates:
            above = bisect.bisect_left(macs, target)
            below = bisect.bisect_left(macs, macs[above - 1]) if above else above
            around = {min(above, len(candidates) - 1), below}
            nearest = min(around, key=lambda at: (abs(macs[at] - target), candidates[at]))
            macs.pop(nearest)
            picked.append(candidates.pop(nearest))
    return picked


def _take(chosen: dict[Branch, None], branches: Iterable[Branch], count: int) -> None:
    for branch in branches:
        if len(chosen) < count:
            chosen[branch] = None


def _evenly(branches: Sequence[Branch], count: int) -> list[Branch]:
    if count >= len(branches):
        return list(branches)
    return [branches[index * len(branches) // count] for index in range(max(0, count))]


def _ordered(space: BranchSpace, branches: Iterable[Branch]) -> tuple[Branch, ...]:
    return tuple(sorted(set(branches), key=lambda branch: (-space.macs(branch), branch)))
