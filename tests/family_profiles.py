"""Generated profiles of families of networks."""

from families import beside
from hypothesis import strategies as st
from profiles import profiles

from adainf.branch import REFERENCE, Branch, BranchSpace, PartMacs
from adainf.profile import BranchTime, Profile, Scheduled, Timings

__all__ = ["families", "network_spaces"]

_NAMES = ("lite0", "lite1", "Res.Net-18+")


@st.composite
def network_spaces(draw: st.DrawFn) -> BranchSpace:
    """The branches of some network: up to four blocks, some cheaper than their shortcuts, at up to three inputs."""
    blocks = draw(st.integers(1, 4))
    macs = st.integers(0, 50)
    each = st.tuples(*[macs] * blocks)
    parts = st.builds(PartMacs, st.integers(1, 50), each, each, macs)
    resolutions = draw(st.dictionaries(st.sampled_from((4, 6, 8, 12)), parts, min_size=1, max_size=3))
    droppable = (False, *draw(st.tuples(*[st.booleans()] * (blocks - 1))))
    return BranchSpace(draw(st.sampled_from(sorted(resolutions))), droppable, resolutions)


@st.composite
def families(draw: st.DrawFn, most: int = 3) -> Profile:
    """Profiles of up to `most` networks: any branches, with or without losses, one of the networks with an adapter."""
    made = draw(profiles(draw(network_spaces())))
    for name in _NAMES[: draw(st.integers(0, most - 1))]:
        described = {"zoom": draw(st.floats(0, 1)), "scale": draw(st.floats(0.1, 4)), "backbone": f"timm/{name}"}
        made = beside(made, draw(profiles(draw(network_spaces()))), name=name, **described)
    if draw(st.booleans()):
        losses = draw(st.lists(st.integers(0, 9), min_size=len(made.branches), max_size=len(made.branches)))
        with_loss = (
            measured.model_copy(update={"loss": loss / 4}) for measured, loss in zip(made.branches, losses, strict=True)
        )
        made = made.model_copy(update={"branches": tuple(with_loss)})
    return _completed(draw, made)


def _completed(draw: st.DrawFn, made: Profile) -> Profile:
    """Give a profile times, branches that are set aside, and an adapter with a scheduler, or not."""
    full = str(made.space.full)
    aside = draw(st.sets(st.sampled_from([measured.branch for measured in made.branches]), max_size=3)) - {full}
    last = made.networks[-1]
    adapted = len(made.networks) > 1 and draw(st.booleans())
    budgets = draw(st.sets(st.floats(0, 1), max_size=3)) if adapted else ()
    every = [measured.branch for measured in made.branches]
    texts = st.sets(st.sampled_from(every), max_size=4)
    times = {size: dict.fromkeys(draw(texts), BranchTime(p50_ms=1.5, p95_ms=2.5)) for size in (1, 2)}
    timed = Timings(device="a box", engine="torch", threads=2, measured="", times=times[1], together={2: times[2]})
    document = made.model_copy(
        update={
            "networks": (*made.networks[:-1], last.model_copy(update={"adapter": "a" * 64, "strength": 0.5}))
            if adapted
            else made.networks,
            "branches": tuple(measured for measured in made.branches if measured.branch not in aside),
            "set_aside": tuple(measured for measured in made.branches if measured.branch in aside),
            "scheduled": tuple(
                Scheduled(budget=budget, accuracy=0.5, table=0.4, better=True) for budget in sorted(budgets)
            ),
            "timings": (timed,) if draw(st.booleans()) else (),
        }
    ).model_dump(by_alias=True)
    return Profile.model_validate(document)


def branches_of(made: Profile, key: str) -> list[Branch]:
    """The branches of one network that were measured, in their order."""
    every = (Branch.parse(measured.branch) for measured in (*made.branches, *made.set_aside))
    return [branch for branch in every if branch.network == key]


def keys_of(made: Profile) -> list[str]:
    """What the branches name the networks."""
    return [REFERENCE, *(network.name for network in made.networks[1:])]
