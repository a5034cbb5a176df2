"""`adainf evaluate --out`: every method at every budget, composed from answers that are computed once."""

import csv
import json
import shutil

import numpy as np
import pytest

SETTINGS = ("--weights", "random", "--threads", "1")


@pytest.fixture(scope="module")
def calibrated(made, trained, profile, pictures, tmp_path_factory):
    """A run with its profile."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("calibrated") / "run")
    arguments = ("--profile", profile, *SETTINGS, "--branches", 24, "--images", pictures)
    made("calibrate", "--run", run, *arguments)
    return run


@pytest.fixture(scope="module")
def evaluated(made, calibrated, pictures, tmp_path_factory):
    """The folder of a whole evaluation, and what was printed."""
    out = tmp_path_factory.mktemp("evaluated") / "out"
    arguments = (*SETTINGS, "--images", pictures, "--branches", "--budgets", 20, "--out", out)
    return out, made("evaluate", "--run", calibrated, *arguments)


def rows(out):
    with (out / "curve.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_no_cell_is_empty_and_no_hard_budget_is_exceeded(evaluated):
    out, printed = evaluated
    found = rows(out)
    assert list(found[0])[:8] == [
        "method", "bound", "budget", "floor", "macs_fraction", "macs_fraction_max", "top1", "images",
    ]  # fmt: skip
    assert all(value not in ("", "nan") for row in found for value in row.values())
    assert {row["images"] for row in found} == {"40"}
    by_method = {}
    for row in found:
        by_method.setdefault((row["method"], row["bound"]), []).append(row)
        kept = "macs_fraction_max" if row["bound"] == "hard" else "macs_fraction"
        assert float(row[kept]) <= max(float(row["budget"]), float(row["floor"])) + 1e-6
    assert {len(of_method) for of_method in by_method.values()} == {20}
    assert {name for name, _ in by_method} >= {
        "table", "lookup, raw weights", "lookup, adapted weights", "upper envelope", "oracle", "random feasible branch",
    }  # fmt: skip
    for name in ("curve.png", "branches.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert "hard budgets exceeded: 0" in printed
    assert "33%" in printed


def test_what_is_composed_is_what_a_plain_evaluation_finds(done, evaluated, calibrated, pictures):
    common = ("evaluate", "--run", calibrated, *SETTINGS, "--images", pictures)
    plain = json.loads(done(*common, "--ceilings", "1,0.5,0.25", "--json"))
    found = rows(evaluated[0])
    table = {float(row["budget"]): row for row in found if (row["method"], row["bound"]) == ("table", "hard")}
    for point in plain:
        assert float(table[point["ceiling"]]["top1"]) == pytest.approx(point["top1"], abs=1e-6)
        assert float(table[point["ceiling"]]["macs_fraction"]) == pytest.approx(point["macs_fraction"], abs=1e-6)


def test_bounds_hold_what_they_say(evaluated):
    found = rows(evaluated[0])
    top1 = {(row["method"], row["budget"]): float(row["top1"]) for row in found if row["bound"] == "hard"}
    for (method, budget), share in top1.items():
        if method.startswith("lookup"):
            assert share <= top1["upper envelope", budget]
        elif method != "upper envelope":
            assert share <= top1["oracle", budget]


def test_killed_it_goes_on_and_ends_the_same(done, refused, evaluated, calibrated, pictures, tmp_path):
    whole, begun = evaluated[0], tmp_path / "begun"
    common = ("evaluate", "--run", calibrated, *SETTINGS, "--images", pictures, "--budgets", 20, "--out", begun)
    with np.load(whole / "answers.npz") as answers:
        kept = dict(answers)
    kept["done"] = np.array(16)
    kept["classes"][16:] = 0
    begun.mkdir()
    np.savez(begun / "answers.npz", **kept)
    done(*common)
    for name in ("curve.csv", "answers.npz"):
        assert (begun / name).read_bytes() == (whole / name).read_bytes()
    # What the first 16 pictures gave is taken as it stands there.
    kept["classes"][:16] = -1
    np.savez(begun / "answers.npz", **kept)
    done(*common)
    assert max(float(row["top1"]) for row in rows(begun)) <= 24 / 40
    assert "another evaluation" in refused(*common, "--limit", 20)


def test_a_profile_without_a_run_and_pictures_without_labels(done, profile, pictures, tmp_path):
    out = tmp_path / "out"
    done("evaluate", "--profile", profile, *SETTINGS, "--images", pictures, "--unlabelled", "--limit", 20, "--out", out)
    found = rows(out)
    assert {row["method"] for row in found} == {"table", "upper envelope", "oracle", "random feasible branch"}
    # The full branch agrees with itself.
    assert [float(row["top1"]) for row in found if row["budget"] == "1.0" and row["method"] == "oracle"] == [1.0]


def test_what_others_published_is_drawn_on_request(done, evaluated, calibrated, pictures, tmp_path):
    out = shutil.copytree(evaluated[0], tmp_path / "out")
    done("evaluate", "--run", calibrated, *SETTINGS, "--images", pictures, "--budgets", 20, "--published", "cifar-100",
         "--out", out)  # fmt: skip
    assert (out / "curve.png").read_bytes() != (evaluated[0] / "curve.png").read_bytes()
    assert (out / "curve.csv").read_bytes() == (evaluated[0] / "curve.csv").read_bytes()


def test_what_cannot_be_done_is_refused(refused, calibrated, profile, pictures, tmp_path):
    common = ("evaluate", *SETTINGS, "--images", pictures)
    assert "Missing option '--run' or '--profile'" in refused(*common)
    assert "--branches goes with --out" in refused(*common, "--profile", profile, "--branches")
    assert "--published goes with --out" in refused(*common, "--profile", profile, "--published", "imagenet")
    assert "give the run" in refused(*common, "--profile", calibrated / "profile.json", "--out", tmp_path / "out")
    assert "resolution 7: the profile's are" in refused(*common, "--profile", profile, "--resolutions", 7)
    (tmp_path / "file").touch()
    assert "is no folder" in refused(*common, "--profile", profile, "--out", tmp_path / "file")


def test_a_content_aware_scheduler_is_taught_by_other_pictures(done, refused, profile, pictures, tmp_path):
    common = ("evaluate", "--profile", profile, *SETTINGS, "--images", pictures, "--budgets", 16)
    done(*common, "--part", "1/2", "--out", tmp_path / "lesson")
    printed = done(*common, "--part", "2/2", "--teach", tmp_path / "lesson", "--out", tmp_path / "out")
    means = [row for row in rows(tmp_path / "out") if row["bound"] == "mean"]
    assert {row["method"] for row in means} == {"table", "content", "content, shuffled"}
    for row in means:
        assert float(row["macs_fraction"]) <= max(float(row["budget"]), float(row["floor"])) + 1e-6
    assert "content before table" in printed
    of_the_same = (*common, "--part", "1/2", "--teach", tmp_path / "lesson")
    assert "very pictures" in refused(*of_the_same, "--out", tmp_path / "same")
    assert "no such file" in refused(*common, "--teach", tmp_path / "nowhere", "--out", tmp_path / "none")
    assert not (tmp_path / "same" / "curve.csv").exists()
    with np.load(tmp_path / "lesson" / "answers.npz") as answers:
        kept = dict(answers)
    told = json.loads(str(kept["settings"]))
    # As by a version that looked at other points.
    kept["settings"] = np.array(json.dumps({**told, "points": ["32:11"]}))
    kept["32:11"] = np.zeros((len(kept["truth"]), 2), np.float16)
    (tmp_path / "older").mkdir()
    np.savez(tmp_path / "older" / "answers.npz", **kept)
    assert "another version" in refused(
        *common, "--part", "2/2", "--teach", tmp_path / "older", "--out", tmp_path / "out"
    )
