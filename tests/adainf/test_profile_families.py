"""Profiles of several networks: written and read, limited to some of them, and refused where they are none."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from families import TINY, beside
from family_profiles import branches_of, families, keys_of
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import SMALL, profile

from adainf.base.errors import InvalidInputError
from adainf.branch import REFERENCE, Branch
from adainf.profile import BranchTime, Profile, Scheduled, Timings

_FEW = settings(max_examples=30, deadline=None)
CHEAP = TINY.cheapest
FAMILY = beside(profile(SMALL, [(SMALL.cheapest, 0.5)]), profile(TINY, [(CHEAP, 0.4)]), name="tiny")
ADAPTED = beside(FAMILY, profile(SMALL, [(SMALL.cheapest, 0.6)]), name="adapted", adapter="a" * 64, strength=0.5)


@_FEW
@given(made=families())
def test_written_and_read_again(made: Profile, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "family.json"
    made.write(path)
    read = Profile.read(path)
    assert read == made
    assert list(read.of_key) == keys_of(made)
    assert [str(branch) for branch in branches_of(read, REFERENCE) if "/" in str(branch)] == []


@_FEW
@given(made=families())
def test_each_branch_has_the_macs_of_its_own_network(made: Profile) -> None:
    assert made.reference == made.networks[0]
    assert made.space.full.network == REFERENCE
    for measured in (*made.branches, *made.set_aside):
        branch = Branch.parse(measured.branch)
        parts = made.of_key[branch.network].parts[branch.resolution]
        along = sum(
            block if kept else shortcut
            for kept, block, shortcut in zip(branch.keep, parts.blocks, parts.shortcuts, strict=True)
        )
        assert measured.macs == made.space.macs(branch) == parts.stem + along + parts.head


@_FEW
@given(made=families(), data=st.data())
def test_limited_to_some_networks_nothing_is_left_of_the_others(
    made: Profile, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chosen = data.draw(st.sets(st.sampled_from(keys_of(made))))
    limited = made.of_networks(chosen)
    kept = [key for key in keys_of(made) if key in chosen or key == REFERENCE]
    assert list(limited.of_key) == list(limited.space.networks) == kept
    for key in kept:
        assert branches_of(limited, key) == branches_of(made, key)
        assert limited.of_key[key] == made.of_key[key]
    named = {
        Branch.parse(text).network for found in limited.timings for times in found.every.values() for text in times
    }
    assert named <= set(kept)
    assert bool(limited.scheduled) == (bool(made.scheduled) and made.adapted in kept)
    assert limited.space.full == made.space.full
    path = tmp_path_factory.getbasetemp() / "limited.json"
    limited.write(path)
    assert Profile.read(path) == limited
    assert list(made.of_key) == list(made.space.networks) == keys_of(made)


@_FEW
@given(made=families(), data=st.data())
def test_a_network_alone_is_a_reference_and_a_profile_of_its_own(
    made: Profile, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    key = data.draw(st.sampled_from(keys_of(made)))
    own = made.space.networks[key]
    if own.full not in branches_of(made, key) or not own.macs(own.full):
        return
    alone = made.alone(key)
    assert alone.networks == (made.of_key[key].model_copy(update={"scale": 1.0}),)
    assert alone.reference == alone.networks[0]
    assert list(alone.space.networks) == [REFERENCE]
    assert (alone.space.full.path, alone.space.fraction(alone.space.full)) == (own.full.path, 1)
    paths = {branch.path for branch in branches_of(made, key)}
    assert {measured.branch for measured in alone.branches} == paths
    assert (alone.set_aside, alone.scheduled, alone.timings) == ((), (), ())
    path = tmp_path_factory.getbasetemp() / "alone.json"
    alone.write(path)
    assert Profile.read(path) == alone


@_FEW
@given(made=families(), data=st.data())
def test_with_only_one_network_its_branches_stand_as_they_were_measured(made: Profile, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(keys_of(made)))
    limited = made.with_only(key)
    assert {m.branch: m for m in limited.branches} == {
        m.branch: m for m in (*made.branches, *made.set_aside) if Branch.parse(m.branch).network == key
    }
    assert limited.set_aside == ()
    assert limited.space.full == made.space.full
    assert limited.networks == made.networks


def test_times_of_a_network_go_with_it() -> None:
    time = BranchTime(p50_ms=1, p95_ms=1)
    times = dict.fromkeys(("8:111", "tiny/6:11"), time)
    timings = Timings(
        device="a box", engine="torch", threads=1, measured="", times=times, together={2: {"tiny/6:11": time}}
    )
    timed = FAMILY.with_timings(timings)
    assert timed.of_networks(["tiny"]).timings == (timings,)
    (without,) = timed.of_networks([]).timings
    assert (without.times, without.together) == ({"8:111": time}, {2: {}})


def test_a_network_whose_full_branch_was_not_measured_cannot_be_a_reference() -> None:
    limited = FAMILY.at([4])
    with pytest.raises(InvalidInputError, match=r"^profile: the branch tiny/6:11 was not measured$"):
        limited.alone("tiny")
    assert [measured.branch for measured in limited.with_only("tiny").branches] == ["tiny/4:10"]


def test_a_branch_runs_with_the_network_it_is_better_with_and_the_other_measurement_is_kept(tmp_path: Path) -> None:
    cheap = str(SMALL.cheapest)
    both = ADAPTED.model_copy(
        update={
            "branches": tuple(m for m in ADAPTED.branches if m.branch not in (cheap, "adapted/8:111")),
            "set_aside": tuple(m for m in ADAPTED.branches if m.branch in (cheap, "adapted/8:111")),
        }
    )
    both.write(tmp_path / "both.json")
    read = Profile.read(tmp_path / "both.json")
    assert read == both
    assert read.adapted == "adapted"
    assert [m.branch for m in read.with_only("adapted").branches] == ["adapted/8:111", f"adapted/{cheap}"]
    assert {m.branch for m in read.with_only(REFERENCE).branches} == {"8:111", cheap}
    assert [m.branch for m in read.alone("adapted").branches] == ["8:111", cheap]
    assert read.alone("adapted").branches[1].accuracy == 0.6


def test_at_some_resolutions_there_are_the_branches_of_every_network_and_the_full_one() -> None:
    assert [m.branch for m in FAMILY.at([6]).branches] == ["8:111", "tiny/6:11"]
    assert [m.branch for m in FAMILY.at([8]).branches] == ["8:111"]
    assert [m.branch for m in FAMILY.at([4]).branches] == ["8:111", str(SMALL.cheapest), f"tiny/{CHEAP}"]
    with pytest.raises(InvalidInputError, match="resolution 5: the profile's are 4, 6, 8"):
        FAMILY.at([5])


def test_the_title_names_each_backbone_once() -> None:
    other = beside(FAMILY, profile(TINY, []), name="other", backbone="cifar/resnet20")
    assert other.title == "timm/test, cifar/resnet20"


def _data(made: Profile) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(made.model_dump_json(by_alias=True))
    return loaded


def _timed(text: str) -> dict[str, Any]:
    times = {text: BranchTime(p50_ms=1, p95_ms=1)}
    timings = Timings(device="a box", engine="torch", threads=1, measured="", times=times)
    return timings.model_dump(mode="json")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda data: data["branches"][-1].update(branch="tony/4:10"),
            "profile: branch tony/4:10: network must be the reference or one of: tiny",
        ),
        (
            lambda data: data["branches"][-1].update(branch="tiny/8:111"),
            "profile: branch tiny/8:111: resolution must be one of 4, 6",
        ),
        (
            lambda data: data["branches"][-1].update(branch="test/8:111"),
            "profile: branch test/8:111: network must be the reference or one of: tiny",
        ),
        (
            lambda data: data.update(set_aside=[{**data["branches"][-1], "branch": "tony/4:10"}]),
            "profile: branch tony/4:10: network must be the reference or one of: tiny",
        ),
        (
            lambda data: data.update(timings=[_timed("tony/4:10")]),
            "profile: branch tony/4:10: network must be the reference or one of: tiny",
        ),
        (
            lambda data: data["branches"][-1].update(macs=14),
            "profile: branch tiny/4:10: macs are 14, its parts sum to 12",
        ),
        (
            lambda data: data["networks"][1].update(name="test"),
            "profile: networks: two have one name, of test, test",
        ),
        (
            lambda data: data["networks"][1].update(parts={}),
            "networks.1: parts: the native resolution 6 is missing",
        ),
        (lambda data: data["networks"][1].pop("backbone"), "networks.1.backbone: Field required"),
        (
            lambda data: data["networks"].extend({**data["networks"][1], "name": f"n{i}"} for i in range(15)),
            "networks: [",
        ),
    ],
)
def test_refusals(change: Callable[[dict[str, Any]], None], says: str, tmp_path: Path) -> None:
    data = _data(FAMILY)
    change(data)
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InvalidInputError, match=f"^{re.escape(f'profile {path}: {says}')}") as refused:
        Profile.read(path)
    assert len(str(refused.value).splitlines()) == 1


def test_what_a_scheduler_was_found_to_be_goes_with_its_network() -> None:
    levels = (Scheduled(budget=0.5, accuracy=0.5, table=0.4, better=True),)
    scheduled = ADAPTED.model_copy(update={"scheduled": levels})
    assert scheduled.of_networks(["tiny"]).scheduled == ()
    assert scheduled.of_networks(["adapted"]).scheduled == levels
    assert FAMILY.model_copy(update={"scheduled": levels}).of_networks([]).scheduled == levels
