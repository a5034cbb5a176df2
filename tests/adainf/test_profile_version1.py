"""Profiles of the first version: each branch is read as one of a network with or without the run's adapter."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import SMALL, profile

from adainf.base.errors import InvalidInputError
from adainf.branch import REFERENCE, Branch
from adainf.profile import Profile, version1
from adainf.run import Run
from adainf.schedulers import LookupTable
from adainf.shipped import find

ADAPTER = "a" * 64
FULL, CHEAP = str(SMALL.full), str(SMALL.cheapest)


def _measured(branch: str, weights: str, accuracy: float) -> dict[str, Any]:
    """A measurement as the first version writes it; that of the base weights names none."""
    measured = {
        "branch": branch,
        "macs": SMALL.macs(Branch.parse(branch)),
        "accuracy": accuracy,
        "agreement": accuracy,
        "loss": None,
    }
    return measured if weights == "base" else {**measured, "weights": weights}


def _document(measured: dict[tuple[str, str], float], aside: set[tuple[str, str]], **more: Any) -> dict[str, Any]:
    """A document of the first version; measured: accuracy by branch and weights."""
    (network,) = profile(SMALL, []).networks
    described = network.model_dump(mode="json", exclude={"name", "scale", "adapter", "strength"})
    every = {key: _measured(*key, accuracy) for key, accuracy in measured.items()}
    return {
        "schema": "adainf.profile/1",
        **described,
        "calibration": profile(SMALL, []).calibration.model_dump(mode="json"),
        "branches": [found for key, found in every.items() if key not in aside],
        "set_aside": [found for key, found in every.items() if key in aside],
        "timings": [],
        **more,
    }


def _timed(*branches: str) -> dict[str, Any]:
    times = {branch: {"p50_ms": 1.0, "p95_ms": 2.0} for branch in branches}
    return {
        "device": "a box",
        "engine": "torch",
        "threads": 2,
        "measured": "",
        "times": times,
        "together": {"2": times},
    }


def _read(document: object, folder: Path) -> Profile:
    (folder / "old.json").write_text(json.dumps(document))
    return Profile.read(folder / "old.json")


@st.composite
def _documents(draw: st.DrawFn) -> dict[str, Any]:
    """What a calibration with a run wrote: each branch with the better weights, the other measurement set aside."""
    accuracy = st.integers(0, 10).map(lambda tenths: tenths / 10)
    branches = {FULL, *draw(st.sets(st.sampled_from([str(branch) for branch in SMALL]), max_size=6))}
    ways = {(branch, weights) for branch in branches for weights in ("base", "adapted")}
    measured = {way: draw(accuracy) for way in sorted(ways)}
    aside = {(branch, draw(st.sampled_from(("base", "adapted")))) for branch in sorted(branches)}
    kept = sorted(branch for branch, weights in ways - aside)
    timings = [_timed(*kept)] if draw(st.booleans()) else []
    return _document(measured, aside, adapter=ADAPTER, strength=0.5, timings=timings)


@settings(max_examples=40, deadline=None)
@given(old=_documents())
def test_every_measurement_and_time_is_that_of_its_network(
    old: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    read = _read(old, tmp_path_factory.getbasetemp())
    base, adapted = read.networks
    assert (base.name, base.backbone, base.adapter) == ("test", "timm/test", None)
    assert adapted == base.model_copy(update={"name": "adapted", "adapter": ADAPTER, "strength": 0.5})
    assert read.adapted == "adapted"

    def named(measured: dict[str, Any]) -> str:
        return f"{'adapted/' if measured.get('weights') == 'adapted' else ''}{measured['branch']}"

    found = {m.branch: m.accuracy for m in (*read.branches, *read.set_aside)}
    assert found == {named(m): m["accuracy"] for m in old["branches"] + old["set_aside"]}
    assert len(found) == len(read.branches) + len(read.set_aside)
    # Those that ran still run, and the full branch of the base too, which is the reference.
    assert {m.branch for m in read.branches} == {FULL, *map(named, old["branches"])}
    assert LookupTable(read).choose(1).macs <= SMALL.macs(SMALL.full)
    name_of = {m["branch"]: named(m) for m in old["branches"]}
    for timings, before in zip(read.timings, old["timings"], strict=True):
        assert set(timings.times) == {name_of[branch] for branch in before["times"]}
        assert set(timings.together[2]) == set(timings.times)
    # As this version writes it, it is read as the same.
    path = tmp_path_factory.getbasetemp() / "new.json"
    read.write(path)
    assert json.loads(path.read_text())["schema"] == "adainf.profile/2"
    assert Profile.read(path) == read


def test_where_the_adapted_full_branch_had_replaced_the_base_one_both_may_run(tmp_path: Path) -> None:
    ways = {(FULL, "adapted"): 0.9, (CHEAP, "base"): 0.3, (FULL, "base"): 0.8, (CHEAP, "adapted"): 0.2}
    aside = {(FULL, "base"), (CHEAP, "adapted")}
    read = _read(_document(ways, aside, adapter=ADAPTER, timings=[_timed(FULL, CHEAP)]), tmp_path)
    assert [m.branch for m in read.branches] == [FULL, f"adapted/{FULL}", CHEAP]
    assert [m.branch for m in read.set_aside] == [f"adapted/{CHEAP}"]
    assert str(LookupTable(read).choose(1).branch) == f"adapted/{FULL}"
    assert read.space.full == SMALL.full
    assert set(read.timings[0].times) == {f"adapted/{FULL}", CHEAP}


def test_a_profile_without_a_run_is_one_network(tmp_path: Path) -> None:
    old = _document({(FULL, "base"): 0.8, (CHEAP, "base"): 0.3}, set(), zoom=0.5, timings=[_timed(CHEAP)])
    del old["set_aside"]
    read = _read(old, tmp_path)
    assert read == profile(SMALL, [(SMALL.cheapest, 0.3)]).model_copy(
        update={"networks": read.networks, "timings": read.timings}
    )
    assert (len(read.networks), read.reference.zoom, read.adapted) == (1, 0.5, None)


@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        ("timm/tf_efficientnet_lite0", "tf_efficientnet_lite0"),
        ("openclip/ViT-B-32", "ViT-B-32"),
        ("timm/vit_tiny.augreg_in21k", "vit_tiny.augreg_in21k"),
        ("resnet20", "resnet20"),
        ("timm/hub:x y", "hubxy"),
        ("timm/", "network"),
    ],
)
def test_a_network_is_called_as_its_backbone_is(backbone: str, name: str, tmp_path: Path) -> None:
    read = _read(_document({(FULL, "base"): 0.8}, set(), backbone=backbone), tmp_path)
    assert (read.reference.name, read.reference.backbone) == (name, backbone)


def _with(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda old: old.update({key: value})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda old: old.pop("weights"), "weights: Field required"),
        (lambda old: old.pop("backbone"), "backbone: Field required"),
        (_with("droppable", "111"), "droppable: '111': String should match pattern"),
        (_with("droppable", "01"), "profile: parts of resolution 8: must name 2 blocks and shortcuts"),
        (_with("native_resolution", 6), "profile: parts: the native resolution 6 is missing"),
        (_with("zoom", 2), "zoom: 2: Input should be less than or equal to 1"),
        (_with("adapter", "abc"), "adapter: 'abc': String should match pattern"),
        (_with("strength", 2), "strength: 2: Input should be less than or equal to 1"),
        (_with("speed", 3), "speed: 3: Extra inputs are not permitted"),
        (lambda old: old["parts"].update({"0": None}), "parts.0.[key]: '0': Input should be"),
        (lambda old: old["branches"][0].update(macs=-1), "branches.0.macs: -1: Input should be"),
        (lambda old: old["branches"][0].update(macs=104), "profile: branch 8:111: macs are 104, its parts sum to 103"),
        (lambda old: old["branches"][0].update(weights="other"), "branches.0.weights: 'other': Extra inputs are"),
        (lambda old: old["branches"][0].update(branch="4:1x1"), "branches.0.branch: branch '4:1x1': must be a"),
        (lambda old: old["branches"].pop(0), "profile: branches: the full branch 8:111 is missing"),
        (lambda old: old.pop("adapter"), "profile: branch adapted/4:100: network must be the reference"),
        (_with("branches", None), "branches: None: Input should be a valid tuple"),
        (lambda old: old.update(set_aside=old["branches"], branches=None), "branches: None: Input should be a valid"),
        (_with("branches", {"8:111": 0.8}), "branches: {'8:111': 0.8}: Input should be a valid tuple"),
    ],
)
def test_refusals_name_the_keys_that_stand_there(
    change: Callable[[dict[str, Any]], None], says: str, tmp_path: Path
) -> None:
    ways = {(FULL, "base"): 0.8, (CHEAP, "adapted"): 0.3}
    old = _document(ways, set(), adapter=ADAPTER, strength=0.5, timings=[_timed(CHEAP)])
    change(old)
    with pytest.raises(InvalidInputError) as refused:
        _read(old, tmp_path)
    assert str(refused.value).removeprefix(f"profile {tmp_path / 'old.json'}: ").startswith(says)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_KEYS = ("backbone", "native_resolution", "droppable", "parts", "adapter", "branches", "set_aside", "timings")


@settings(deadline=None)
@given(old=_documents(), changed=st.dictionaries(st.sampled_from(_KEYS), _json, max_size=2))
def test_no_document_ends_in_a_traceback(
    old: dict[str, Any], changed: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    version1.upgraded(json.loads(json.dumps({**old, **changed})))  # as traces of older versions are read
    with suppress(InvalidInputError):
        _read({**old, **changed}, tmp_path_factory.getbasetemp())


def test_the_shipped_profile_is_of_the_shipped_network() -> None:
    path = find("profiles", "efficientnet-lite0", ".json")
    read, written = Profile.read(path), json.loads(path.read_text())
    assert read.reference.backbone == "timm/tf_efficientnet_lite0"
    assert read.adapted is None
    assert len(read.branches) == len(written["branches"])
    assert read.space.full == Branch(224, (True,) * 16)


def test_a_run_takes_the_profile_that_names_its_adapter_and_no_other(trained: Path, tmp_path: Path) -> None:
    run = Run.read(trained)
    ways = {(FULL, "base"): 0.8, (CHEAP, "adapted"): 0.3}
    own = _read(_document(ways, set(), adapter=run.manifest.files["adapter.safetensors"]), tmp_path)
    run.check_calibrated(own, tmp_path / "old.json")
    assert {choice.branch.network for choice in LookupTable(own).frontier} == {REFERENCE, own.adapted}
    with pytest.raises(InvalidInputError, match="with another adapter than that of run"):
        run.check_calibrated(_read(_document(ways, set(), adapter=ADAPTER), tmp_path), tmp_path / "old.json")
