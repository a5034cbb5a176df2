"""Taught again: the file before is compared on the same pictures, and kept."""

import json
import shutil

import pytest

from adainf.classes.taught import Taught


@pytest.fixture
def out(lesson, tmp_path):
    return shutil.copy(lesson / "gate.classes", tmp_path / "gate.classes")


def test_the_file_before_is_compared_and_kept(lesson, done, paintings, network, out, tmp_path):
    folder = shutil.copytree(paintings, tmp_path / "pictures")
    shutil.copytree(folder / "sky", folder / "unknown")
    shutil.copytree(folder / "sky", folder / "unsorted")
    printed = done("teach", "--images", folder, *network, "--out", out, "--json", tmp_path / "r.json")
    assert "| before |" in " ".join(printed.split())
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    taught = Taught.read(lesson / "gate.classes")
    assert {of["branch"] for of in report["before"]} == {str(branch) for branch in taught.familiar}
    assert [of["label"] for of in report["classes"]] == list(taught.labels)
    now = {of["branch"]: of["accuracy"] for of in report["levels"]}
    known = json.loads((lesson / "report.json").read_text(encoding="utf-8"))
    good = {of["branch"] for of in known["levels"] if of["accuracy"] == 1}
    assert any(of["before"] == 1 for of in report["before"] if of["branch"] in good)
    assert all(of["now"] == now[of["branch"]] for of in report["before"])
    assert (tmp_path / "gate.classes.before").read_bytes() == (lesson / "gate.classes").read_bytes()


def test_a_class_that_was_not_taught_before_was_always_wrong(done, paintings, network, out, tmp_path):
    folder = shutil.copytree(paintings, tmp_path / "pictures")
    (folder / "sky").rename(folder / "heaven")
    done("teach", "--images", folder, *network, "--out", out, "--json", tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert max(of["before"] for of in report["before"]) == pytest.approx(2 / 3, abs=1e-3)


def test_a_file_of_other_networks_is_kept_and_not_compared(done, paintings, network, out, tmp_path):
    document = Taught.read(out)
    first = document.profile.networks[0].model_copy(update={"weights": "f" * 64})
    networks = (first, *document.profile.networks[1:])
    strange = document.profile.model_copy(update={"networks": networks})
    Taught(document.labels, strange, document.squeezed, document.heads, document.familiar).write(out)
    before = out.read_bytes()
    printed = done("teach", "--images", paintings, *network, "--out", out)
    assert "not compared with the file before: classes: were taught to other weights" in printed
    assert (tmp_path / "gate.classes.before").read_bytes() == before


def test_nothing_else_is_overwritten(refused, paintings, network, tmp_path):
    (tmp_path / "mine").write_text("mine")
    assert "no file of `adainf teach`" in refused("teach", "--images", paintings, *network, "--out", tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "mine.before").exists()
