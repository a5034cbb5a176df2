import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from adainf.branch import Branch
from adainf.classes.labels import UNKNOWN
from adainf.classes.taught import Taught
from adainf.profile import Profile

LABELS = ("a <b>gate", "empty", "sky")


def test_classes_are_taught_and_evaluated(lesson, done, paintings):
    taught = Taught.read(lesson / "gate.classes")
    assert taught.names == (*LABELS, UNKNOWN)
    printed = json.loads(
        done("evaluate", "--classes", lesson / "gate.classes", "--images", paintings, "--weights", "random", "--json")
    )
    assert printed["names"] == list(taught.names)
    assert {level["branch"] for level in printed["levels"]} == {of.branch for of in taught.profile.branches}
    # Branches of a network with random weights that never saw a block skipped may answer anything; those that were
    # right about pictures that they were not taught are right about those that they were.
    report = json.loads((lesson / "report.json").read_text(encoding="utf-8"))
    good = {level["branch"] for level in report["levels"] if level["accuracy"] == 1}
    found = [level["confusion"] for level in printed["levels"] if level["branch"] in good]
    assert found
    assert all(confusion == [[8, 0, 0, 0], [0, 8, 0, 0], [0, 0, 8, 0]] for confusion in found)


def test_the_profile_tells_of_the_taught_question(lesson, profile):
    before, taught = Profile.read(profile), Taught.read(lesson / "gate.classes")
    assert taught.profile.space.full == before.space.full
    assert taught.profile.networks[0].weights == before.networks[0].weights
    smallest = min(Branch.parse(of.branch).resolution for of in (*taught.profile.branches, *taught.profile.set_aside))
    assert smallest < min(before.space.reference.parts)
    assert set(taught.familiar) == {Branch.parse(of.branch) for of in taught.profile.branches}
    assert taught.profile.calibration.images == 24


def test_the_report_counts_each_picture_at_each_level(lesson, done):
    report = json.loads((lesson / "report.json").read_text(encoding="utf-8"))
    assert report["classes"] == [{"label": label, "pictures": 8} for label in LABELS]
    assert report["blocks"] == "listing"
    for level in report["levels"]:
        assert [sum(row) for row in level["confusion"]] == [8, 8, 8]
        right = sum(row[number] for number, row in enumerate(level["confusion"]))
        assert level["accuracy"] == pytest.approx(right / 24, abs=1e-4)
        low, high = level["interval"]
        assert low <= level["accuracy"] <= high
    best = max(level["accuracy"] for level in report["levels"])
    cheapest = next(level for level in report["levels"] if level["branch"] == report["cheapest_within_a_point"])
    assert cheapest["accuracy"] >= best - 0.01
    cheaper = [level["accuracy"] for level in report["levels"] if level["macs"] < cheapest["macs"]]
    assert all(accuracy < best - 0.01 for accuracy in cheaper)


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_the_page_holds_its_pictures_and_no_label_acts_in_it(lesson):
    page = Page((lesson / "report.html").read_text(encoding="utf-8"))
    tags = [tag for tag, _ in page.elements]
    images = [attributes["src"] for tag, attributes in page.elements if tag == "img"]
    assert len(images) >= 24
    assert all(source.startswith("data:image/jpeg;base64,") for source in images)
    assert not {"script", "link", "iframe"} & set(tags)
    assert "b" not in tags
    assert "a <b>gate" in page.text


def test_mislabelled_pictures_and_twins_are_told(done, network, paintings, tmp_path):
    folder = tmp_path / "pictures"
    shutil.copytree(paintings, folder)
    shutil.copy(folder / "sky" / "3.png", folder / "empty" / "35.png")
    printed = done(
        "teach", "--images", folder, *network, "--out", tmp_path / "a.classes", "--json", tmp_path / "r.json"
    )
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert {tuple(pair["pictures"]) for pair in report["twins"]} == {("empty/35.png", "sky/3.png")}
    assert ("empty/35.png", "empty", "sky") in {
        (doubt["picture"], doubt["label"], doubt["looks_like"]) for doubt in report["doubts"]
    }
    assert "likely mislabelled: empty/35.png (empty) looks like sky" in printed


def test_frames_of_a_video_are_taught_by_spans(done, network, film, tmp_path):
    spans = tmp_path / "spans.csv"
    spans.write_text("start,end,label\n0,1,empty\n1,2,sky\n2,3,empty\n3,4,sky\n", encoding="utf-8")
    out = tmp_path / "a.classes"
    done(
        "teach", "--video", film, "--spans", spans, *network, "--limit", 12, "--out", out, "--json", tmp_path / "r.json"
    )
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert report["blocks"] == "time"
    assert report["classes"] == [{"label": label, "pictures": 12} for label in ("empty", "sky")]
    spans.write_text("4,5,empty\n5,6,sky\n", encoding="utf-8")
    common = ("--classes", out, "--video", film, "--spans", spans, "--weights", "random", "--threads", 1)
    levels = json.loads(done("evaluate", *common, "--json"))["levels"]
    good = {level["branch"] for level in report["levels"] if level["accuracy"] == 1}
    found = [level["balanced_accuracy"] for level in levels if level["branch"] in good]
    assert found
    assert min(found) > 0.9
    assert "balanced" in done("evaluate", *common)


def test_pictures_of_none_of_the_classes_may_be_evaluated(done, lesson, paintings, tmp_path):
    folder = tmp_path / "pictures"
    shutil.copytree(paintings / "sky", folder / "sky")
    (folder / UNKNOWN).mkdir()
    for level in (0, 255):
        cv2.imwrite(str(folder / UNKNOWN / f"{level}.png"), np.full((40, 40, 3), level, np.uint8))
    printed = done(
        "evaluate", "--classes", lesson / "gate.classes", "--images", folder, "--weights", "random", "--json"
    )
    for level in json.loads(printed)["levels"]:
        assert [sum(row) for row in level["confusion"]] == [0, 0, 8, 2]


def without(folder: Path, label: str, keep: int) -> None:
    for file in sorted((folder / label).iterdir())[keep:]:
        file.unlink()


def all_the_same(folder: Path) -> None:
    first, *others = sorted((folder / "sky").iterdir())
    for other in others:
        shutil.copy(first, other)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: [without(folder, label, 0) for label in LABELS[:2]], "classes: 1 ('sky'); must be 2 to 256"),
        (lambda folder: without(folder, "sky", 2), "class 'sky': has 2 pictures; at least 3 are needed"),
        (all_the_same, "class 'sky': its 8 pictures are all the same"),
    ],
)
def test_pictures_that_teach_nothing_are_refused(refused, network, paintings, lesson, tmp_path, change, says):
    folder, out = tmp_path / "pictures", tmp_path / "a.classes"
    shutil.copytree(paintings, folder)
    change(folder)
    shutil.copy(lesson / "gate.classes", out)
    assert says in refused("teach", "--images", folder, *network, "--out", out)
    assert out.read_bytes() == (lesson / "gate.classes").read_bytes()
    assert not (tmp_path / "a.classes.before").exists()


@pytest.mark.parametrize(
    ("spans", "says"),
    [
        ("0,1,empty\n0.5,2,sky\n", "overlap"),
        ("0,1,empty\n1,9,sky\n", "1 to 9 s, 'sky' leaves the video, which has 6.0 s"),
        ("0,1\n", "is not START,END,LABEL"),
        ("0,1,empty\n1,2,unknown\n", "label 'unknown': stands for"),
        ("0,1,empty\n1,2,empty\n", "classes: 1 ('empty')"),
    ],
)
def test_spans_that_teach_nothing_are_refused(refused, network, film, tmp_path, spans, says):
    (tmp_path / "s.csv").write_text(spans, encoding="utf-8")
    out = tmp_path / "a.classes"
    assert says in refused("teach", "--video", film, "--spans", tmp_path / "s.csv", *network, "--out", out)
    assert not out.exists()


def test_a_file_that_cannot_be_written_is_refused_before_any_work(refused, network, paintings, tmp_path):
    said = refused("teach", "--images", paintings, *network, "--out", tmp_path)
    assert "cannot be written" in said
    said = refused("teach", "--images", paintings, *network, "--out", tmp_path / "a", "--html", "/proc/no/page.html")
    assert "cannot be written" in said
    assert not (tmp_path / "a").exists()


def test_classes_of_other_weights_and_other_labels_are_refused(refused, lesson, paintings, shared_weights, tmp_path):
    classes = ("evaluate", "--classes", lesson / "gate.classes")
    said = refused(*classes, "--images", paintings, "--weights", shared_weights)
    assert "were taught to other weights of cifar/resnet20" in said
    shutil.copytree(paintings / "sky", tmp_path / "pictures" / "cloud")
    said = refused(*classes, "--images", tmp_path / "pictures", "--weights", "random")
    assert re.search(r"label 'cloud': the classes are .*'unknown'", said)


@pytest.fixture
def shared_weights(tmp_path):
    """Weights that fit the profile's network and are not its own."""
    import torch

    from adainf.backbones.cifar import CifarResNet

    torch.save(CifarResNet((16, 32, 64), 3, 100).state_dict(), tmp_path / "other.pth")
    return tmp_path / "other.pth"


@pytest.mark.parametrize("sources", [(), ("--images", "a", "--video", "b"), ("--video", "b"), ("--spans", "c")])
def test_a_folder_or_a_video_with_spans_is_needed(adainf, lesson, sources):
    for command in (("teach", "--profile", "p", "--out", "o"), ("evaluate", "--classes", lesson / "gate.classes")):
        status, _, said = adainf(*command, *sources)
        assert status == 78, said
        assert "give --images, or --video and --spans" in said


@pytest.mark.parametrize("other", ["--profile", "--out"])
def test_classes_have_a_profile_of_their_own(adainf, lesson, paintings, other):
    status, _, said = adainf("evaluate", "--classes", lesson / "gate.classes", "--images", paintings, other, "p")
    assert (status, "--classes does not go with" in said) == (78, True)
