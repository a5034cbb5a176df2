"""Families of networks for the tests."""

from adainf.branch import Branch, BranchSpace, PartMacs
from adainf.profile import Profile

TINY = BranchSpace(
    6,
    (False, True),
    {6: PartMacs(5, (12, 15), (0, 2), 3), 4: PartMacs(2, (6, 7), (0, 1), 3)},
)
"""The branches of a network that is smaller than `profiles.SMALL`."""


def beside(reference: Profile, other: Profile, **described: object) -> Profile:
    """Return the profile of a family: `reference`, and beside its networks that of `other`.

    described: what is said of that network, its name above all.
    """
    (network,) = other.networks
    name = str(described["name"])
    branches = (
        measured.model_copy(update={"branch": str(Branch.parse(f"{name}/{measured.branch}"))})
        for measured in other.branches
    )
    document = reference.model_copy(
        update={
            "networks": (*reference.networks, network.model_copy(update=described)),
            "branches": (*reference.branches, *branches),
        }
    ).model_dump(by_alias=True)
    return Profile.model_validate(document)
