"""A run's profile: each branch once, with the network it is better with, of those with and without the adapter."""

import json
import shutil

import pytest


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


SETTINGS = ("--weights", "random", "--threads", "1")


def split(measured):
    """What a measurement's branch names its network, and the path along that."""
    network, _, path = measured["branch"].rpartition("/")
    return network, path


def test_each_branch_stands_once_with_the_network_of_the_lower_loss(done, run, profile, pictures):
    printed = done("calibrate", "--run", run, "--profile", profile, *SETTINGS, "--branches", 24, "--images", pictures)
    told = json.loads((run / "profile.json").read_text())
    assert str(run / "profile.json") in printed
    known = json.loads(profile.read_text())
    paths = [split(measured)[1] for measured in told["branches"]]
    assert len(paths) == len(set(paths))
    assert {measured["branch"] for measured in known["branches"]} <= set(paths)
    base, adapted = told["networks"]
    assert (base["name"], adapted["name"], adapted["backbone"]) == ("resnet20", "adapted", "cifar/resnet20")
    assert "adapter" not in base
    assert adapted["adapter"] == json.loads((run / "manifest.json").read_text())["files"]["adapter.safetensors"]
    assert [adapted[key] for key in ("weights", "zoom", "scale")] == [base[key] for key in ("weights", "zoom", "scale")]
    aside = {split(measured)[1]: measured for measured in told["set_aside"]}
    assert {split(measured)[0] for measured in told["branches"]} == {"", "adapted"}
    # The run was trained for branches of up to 0.4 of the MACs.
    full = next(measured["macs"] for measured in told["branches"] if measured["branch"] == "32:111111111")
    assert all(measured["macs"] <= 0.4 * full for measured in told["branches"] if split(measured)[0] == "adapted")
    for measured in told["branches"][1:]:
        network, path = split(measured)
        if path in aside:
            assert measured["loss"] <= aside[path]["loss"] or measured["macs"] > 0.4 * full
            assert network != split(aside[path])[0]


def test_an_adapter_that_goes_too_far_is_taken_half_way(done, run, profile, pictures, tmp_path):
    """What a few pictures teach in many large steps is further than serves others; all of that is tried here."""
    common = ("calibrate", "--run", run, "--profile", profile, *SETTINGS, "--branches", 8, "--images", pictures)
    by_strength = {}
    for strength in (1, 0.75, 0.5, 0.25):
        out = tmp_path / f"{strength}.json"
        done(*common, "--strength", strength, "--out", out)
        told = json.loads(out.read_text())
        assert told["networks"][1]["strength"] == strength
        every = {measured["branch"]: measured["loss"] for measured in told["branches"] + told["set_aside"]}
        by_strength[strength] = every["adapted/16:111111111"]
    done(*common)
    told = json.loads((run / "profile.json").read_text())
    assert told["networks"][1]["strength"] == min(by_strength, key=by_strength.get)


def test_what_is_known_of_the_base_weights_need_not_be_measured_again(done, run, profile, pictures, tmp_path):
    common = ("calibrate", "--run", run, *SETTINGS, "--branches", 24, "--images", pictures)
    done(*common, "--profile", profile, "--out", tmp_path / "known.json")
    done(*common, "--resolutions", "16,32", "--out", tmp_path / "anew.json")
    known, anew = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("known", "anew"))
    of_anew = {measured["branch"]: measured for measured in anew["branches"]}
    in_both = [measured for measured in known["branches"] if measured["branch"] in of_anew]
    assert len(in_both) >= 24
    assert all(measured == of_anew[measured["branch"]] for measured in known["branches"][:1])


def test_a_profile_of_other_pictures_is_refused(refused, run, profile, pictures):
    said = refused("calibrate", "--run", run, "--profile", profile, *SETTINGS, "--limit", 20, "--images", pictures)
    assert "other pictures" in said
    assert not (run / "profile.json").exists()


def test_a_run_of_other_weights_is_refused(refused, run, pictures):
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"weights": "0" * 64}))
    assert "other weights" in refused("calibrate", "--run", run, *SETTINGS, "--images", pictures)
    assert "no such folder" in refused("calibrate", "--run", "./nowhere", *SETTINGS, "--images", pictures)
    assert "nothing: no such folder" in refused("calibrate", "--run", "nothing", *SETTINGS, "--images", pictures)
