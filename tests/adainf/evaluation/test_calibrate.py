import json
import shutil
import signal
import time

import cv2
import numpy as np
import pytest


def branches_of(profile):
    return [measured["branch"] for measured in json.loads(profile.read_text())["branches"]]


def test_a_profile_tells_what_was_measured(profile, pictures):
    told = json.loads(profile.read_text())
    (network,) = told["networks"]
    described = [network[key] for key in ("name", "backbone", "native_resolution", "scale")]
    assert described == ["resnet20", "cifar/resnet20", 32, 1.0]
    assert list(network["parts"]) == ["16", "32"]
    assert told["calibration"]["images"] == 40
    assert told["branches"][0] == {**told["branches"][0], "branch": "32:111111111", "agreement": 1.0}
    assert len(branches_of(profile)) == 24
    assert not list(profile.parent.glob("*.partial"))


def test_the_same_settings_give_the_same_profile_and_another_seed_another(done, settings, profile, pictures, tmp_path):
    for name, seed in (("same", 0), ("other", 1)):
        done("calibrate", *settings, "--images", pictures, "--seed", seed, "--out", tmp_path / name)
    assert (tmp_path / "same").read_bytes() == profile.read_bytes()
    assert branches_of(tmp_path / "other") != branches_of(profile)


@pytest.fixture(scope="module")
def killed_once(start, settings, pictures, tmp_path_factory):
    """The counts of a calibration that was killed after it had written its first."""
    out = tmp_path_factory.mktemp("killed") / "killed.json"
    partial = out.with_name("killed.json.partial")
    with start("calibrate", *settings, "--images", pictures, "--out", out) as process:
        while not partial.exists() and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return partial


@pytest.fixture
def killed(killed_once, tmp_path):
    """A folder that holds the counts of a killed calibration, and nothing else."""
    shutil.copy(killed_once, tmp_path)
    return tmp_path


def test_killed_and_started_again_it_ends_with_the_same_profile(done, settings, profile, pictures, killed):
    begun = json.loads((killed / "killed.json.partial").read_text())
    assert begun["images"] < 40
    done("calibrate", *settings, "--images", pictures, "--out", killed / "killed.json")
    assert (killed / "killed.json").read_bytes() == profile.read_bytes()
    assert [path.name for path in killed.iterdir()] == ["killed.json"]


def test_it_goes_on_from_the_counts_it_has(done, settings, pictures, killed):
    partial = killed / "killed.json.partial"
    counts = json.loads(partial.read_text())
    # As if the first 32 pictures had been right along every branch.
    partial.write_text(
        json.dumps(counts | {"images": 32, "right": [32] * 24, "agreed": [32] * 24, "losses": [[0.0] * 11] * 24})
    )
    done("calibrate", *settings, "--images", pictures, "--out", killed / "killed.json")
    told = json.loads((killed / "killed.json").read_text())
    assert all(measured["accuracy"] >= 0.8 for measured in told["branches"])


def test_other_settings_leave_unfinished_counts_alone(refused, settings, pictures, killed):
    partial = killed / "killed.json.partial"
    before = partial.read_bytes()
    said = refused("calibrate", *settings, "--images", pictures, "--seed", 7, "--out", killed / "killed.json")
    assert "seed 0, not 7" in said
    assert "delete it" in said
    assert partial.read_bytes() == before
    assert [path.name for path in killed.iterdir()] == [partial.name]


def test_a_file_that_is_no_count_is_left_alone(refused, settings, pictures, tmp_path):
    (tmp_path / "p.json.partial").write_text("mine")
    said = refused("calibrate", *settings, "--images", pictures, "--out", tmp_path / "p.json")
    assert "is no unfinished calibration" in said
    assert (tmp_path / "p.json.partial").read_text() == "mine"


def test_unlabelled_pictures_give_agreement_and_no_accuracy(done, settings, pictures, tmp_path):
    out = tmp_path / "p.json"
    done("calibrate", *settings, "--images", pictures, "--unlabelled", "--limit", 20, "--out", out)
    told = json.loads(out.read_text())
    assert (told["calibration"]["images"], told["calibration"]["labelled"]) == (20, False)
    assert {measured["accuracy"] for measured in told["branches"]} == {None}


def test_labels_are_names_for_the_folders(done, draw, settings, tmp_path):
    folder = draw(tmp_path / "animals", ["small_cat", "Dog"], each=2)
    out = tmp_path / "p.json"
    done("calibrate", *settings, "--images", folder, "--labels", "dog,small cat", "--out", out)
    assert json.loads(out.read_text())["calibration"]["labelled"] is True


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (["--backbone", "cifar/resnet21"], "unknown"),
        (["--backbone", "resnet20"], "must be FAMILY/NAME"),
        (["--weights", "nowhere.pth"], "no such file"),
        (["--weights", "broken.pth"], "must be a safetensors file or a PyTorch state dict"),
        (["--images", "empty"], "empty: holds no picture; taken are .avif .bmp .gif .jpeg"),
        (["--images", "nowhere"], "nowhere: no such folder"),
        (["--images", "unreadable", "--unlabelled"], "bad.png: cannot be decoded"),
        (["--images", "strange"], "class folder 'unicorn'"),
        (["--out", "empty"], "is a folder"),
        (["--out", "broken.pth/p.json"], "cannot be written"),
        (["--resolutions", "30"], "takes multiples of 4"),
        (["--resolutions", "64"], "must be at most 32"),
        (["--resolutions", "large"], "whole numbers with commas"),
        (["--part", "3/2"], "must be K/N"),
        (["--part", "41/41"], "has only 40 pictures"),
        (["--limit", "0"], "--limit"),
        (["--branches", "2"], "must be at least 3"),
        (["--labels", "one,two,"], "indices 0 to 1 and the names one, two"),
        (["--labels", "no.txt"], "no.txt"),
        (["--mean", "1,2"], "is not 3 numbers"),
        (["--std", "0,1,1"], "must be above 0"),
        (["--size", "0"], "--size"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_refused(refused, settings, pictures, tmp_path, monkeypatch, changed, says):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "unreadable", "strange/unicorn"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "broken.pth").write_bytes(b"broken")
    (tmp_path / "unreadable" / "bad.png").write_bytes(b"broken")
    cv2.imwrite(str(tmp_path / "strange/unicorn/1.png"), np.zeros((4, 4, 3), np.uint8))
    before = sorted(tmp_path.rglob("*"))
    given = list(settings)
    if changed[0] in ("--backbone", "--weights"):  # which may be given more than once
        at = given.index(changed[0])
        del given[at : at + 2]
    said = refused("calibrate", *given, "--images", pictures, "--out", "p.json", *changed)
    assert says in said
    assert sorted(tmp_path.rglob("*")) == before


def test_smaller_inputs_show_as_much_as_the_profile_was_measured_with(done, settings, pictures, tmp_path):
    out = tmp_path / "p.json"
    done("calibrate", *settings, "--images", pictures, "--zoom", 0.5, "--out", out)
    assert json.loads(out.read_text())["networks"][0]["zoom"] == 0.5
    printed = done("evaluate", "--profile", out, "--weights", "random", "--images", pictures, "--threads", 1, "--json")
    points = [point for point in json.loads(printed) if point["branch"]]
    assert [point["top1"] for point in points] == pytest.approx([point["expected_accuracy"] for point in points])
