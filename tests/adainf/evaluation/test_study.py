"""`adainf evaluate --out`: every method at every budget, composed from answers that are computed once."""

import csv
import json

import numpy as np
import pytest

SETTINGS = ("--weights", "random", "--threads", "1")


@pytest.fixture(scope="module")
def calibrated(start, trained, profile, pictures, tmp_path_factory):
    """A run with its profile."""
    out = trained / "profile.json"
    if not out.exists():
        arguments = ("--profile", profile, *SETTINGS, "--branches", 24, "--images", pictures)
        with start("calibrate", "--run", trained, *arguments) as process:
            _, said = process.communicate()
        assert process.returncode == 0, said
    return trained


def rows(out):
    with (out / "curve.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_no_cell_is_empty_and_no_hard_budget_is_exceeded(done, calibrated, pictures, tmp_path):
    out = tmp_path / "out"
    printed = done("evaluate", "--run", calibrated, *SETTINGS, "--images", pictures, "--branches", "--out", out)
    found = rows(out)
    assert list(found[0])[:8] == [
        "method", "bound", "budget", "floor", "macs_fraction", "macs_fraction_max", "top1", "images",
    ]  # fmt: skip
    assert all(value not in ("", "nan") for row in found for value in row.values())
    assert {row["images"] for row in found} == {"40"}
    by_method = {}
    for row in found:
        by_method.setdefault((row["method"], row["bound"]), []).append(row)
        if row["bound"] == "hard":
            assert float(row["macs_fraction_max"]) <= max(float(row["budget"]), float(row["floor"])) + 1e-6
        else:
            assert float(row["macs_fraction"]) <= max(float(row["budget"]), float(row["floor"])) + 1e-6
    assert {len(of_method) for of_method in by_method.values()} == {128}
    assert {name for name, _ in by_method} >= {
        "table", "lookup, raw weights", "lookup, adapted weights", "upper envelope", "oracle", "random feasible branch",
    }  # fmt: skip
    for name in ("curve.png", "branches.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert "hard budgets exceeded: 0" in printed
    assert "33%" in printed


def test_what_is_composed_is_what_a_plain_evaluation_finds(done, calibrated, pictures, tmp_path):
    common = ("evaluate", "--run", calibrated, *SETTINGS, "--images", pictures)
    plain = json.loads(done(*common, "--ceilings", "1,0.5,0.25", "--json"))
    done(*common, "--budgets", 4, "--out", tmp_path / "out")
    table = {
        float(row["budget"]): row
        for row in rows(tmp_path / "out")
        if (row["method"], row["bound"]) == ("table", "hard")
    }
    for point in plain:
        assert float(table[point["ceiling"]]["top1"]) == pytest.approx(point["top1"], abs=1e-6)
        assert float(table[point["ceiling"]]["macs_fraction"]) == pytest.approx(point["macs_fraction"], abs=1e-6)


def test_bounds_hold_what_they_say(done, calibrated, pictures, tmp_path):
    done("evaluate", "--run", calibrated, *SETTINGS, "--images", pictures, "--budgets", 16, "--out", tmp_path / "out")
    top1 = {(row["method"], row["bound"], row["budget"]): float(row["top1"]) for row in rows(tmp_path / "out")}
    for (method, bound, budget), share in top1.items():
        if bound == "hard":
            assert share <= top1["oracle", "hard", budget] or method in (
                "lookup, raw weights",
                "lookup, adapted weights",
                "upper envelope",
            )
            if method.startswith("lookup"):
                assert share <= top1["upper envelope", "hard", budget]


def test_killed_it_goes_on_and_ends_the_same(done, refused, calibrated, pictures, tmp_path):
    common = ("evaluate", "--run", calibrated, *SETTINGS, "--images", pictures, "--budgets", 8)
    done(*common, "--out", tmp_path / "whole")
    (tmp_path / "begun").mkdir()
    with np.load(tmp_path / "whole" / "answers.npz") as whole:
        kept = dict(whole)
    kept["done"] = np.array(16)
    kept["classes"][16:] = 0
    np.savez(tmp_path / "begun" / "answers.npz", **kept)
    done(*common, "--out", tmp_path / "begun")
    for name in ("curve.csv", "answers.npz"):
        assert (tmp_path / "begun" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    # What the first 16 pictures gave was taken as it stood there.
    kept["classes"][:16] = -1
    np.savez(tmp_path / "begun" / "answers.npz", **kept)
    done(*common, "--out", tmp_path / "begun")
    best = max(float(row["top1"]) for row in rows(tmp_path / "begun"))
    assert best <= 24 / 40
    assert "another evaluation" in refused(*common, "--limit", 20, "--out", tmp_path / "begun")


def test_a_profile_without_a_run_and_pictures_without_labels(done, profile, pictures, tmp_path):
    out = tmp_path / "out"
    done("evaluate", "--profile", profile, *SETTINGS, "--images", pictures, "--unlabelled", "--limit", 20, "--out", out)
    found = rows(out)
    assert {row["method"] for row in found} == {"table", "upper envelope", "oracle", "random feasible branch"}
    # The full branch agrees with itself.
    assert [float(row["top1"]) for row in found if row["budget"] == "1.0" and row["method"] == "oracle"] == [1.0]


def test_what_cannot_be_done_is_refused(refused, calibrated, profile, pictures, tmp_path):
    common = ("evaluate", *SETTINGS, "--images", pictures)
    assert "Missing option '--run' or '--profile'" in refused(*common)
    assert "goes with --out" in refused(*common, "--profile", profile, "--branches")
    assert "give the run" in refused(*common, "--profile", calibrated / "profile.json", "--out", tmp_path / "out")
    (tmp_path / "file").touch()
    assert "is no folder" in refused(*common, "--profile", profile, "--out", tmp_path / "file")
