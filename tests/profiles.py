"""Profiles for the tests."""

from collections.abc import Iterable

from hypothesis import strategies as st

from adainf.branch import Branch, BranchSpace, PartMacs
from adainf.profile import Calibration, Measured, Network, Parts, Profile

SMALL = BranchSpace(
    8,
    (False, True, True),
    {8: PartMacs(10, (20, 30, 40), (0, 0, 5), 3), 4: PartMacs(4, (5, 8, 10), (0, 0, 1), 3)},
)


def profile(space: BranchSpace, accuracies: Iterable[tuple[Branch, float]]) -> Profile:
    """A profile of `space` with its full branch (80 % right) and these branches."""
    measured = {space.full: 0.8, **dict(accuracies)}
    return Profile(
        networks=(
            Network(
                name="test",
                backbone="timm/test",
                weights="0" * 64,
                native_resolution=space.native_resolution,
                droppable="".join("01"[may] for may in space.droppable),
                parts={
                    resolution: Parts(stem=parts.stem, blocks=parts.blocks, shortcuts=parts.shortcuts, head=parts.head)
                    for resolution, parts in space.parts.items()
                },
            ),
        ),
        calibration=Calibration(
            images=1, labelled=True, part="1/2", seed=0, created="2026-01-01T00:00:00+00:00", version="0"
        ),
        branches=tuple(
            Measured(branch=str(branch), macs=space.macs(branch), accuracy=accuracy, agreement=accuracy)
            for branch, accuracy in measured.items()
        ),
    )


def profiles(space: BranchSpace, most: int = 12) -> st.SearchStrategy[Profile]:
    """Profiles of `space` with up to `most` more branches than the full one, of any accuracies."""
    keep = st.tuples(*(st.booleans() if may else st.just(True) for may in space.droppable))
    branch = st.builds(Branch, st.sampled_from(sorted(space.parts)), keep)
    # Few values, so that some are equal.
    accuracy = st.integers(0, 10).map(lambda tenths: tenths / 10)
    return st.lists(st.tuples(branch, accuracy), max_size=most).map(lambda chosen: profile(space, chosen))
