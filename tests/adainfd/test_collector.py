"""Which pictures the collector keeps, by a clock of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import structlog
from adainfd.collecting.collector import Collector, Glance
from adainfd.collecting.kept import KeptPicture
from adainfd.collecting.rule import CollectRule
from daemons import Network
from numpy.typing import NDArray

from adainf.branch import Branch
from adainf.classes.taught import ClassHead, Familiar, Taught
from adainf.profile import Profile

WIDTH = 64
SURE, UNSURE, UNKNOWN = (9.0, 0.0, 0.0), (1.0, 0.9, -9.0), (0.0, 0.0, 9.0)
"""Scores of open, shut and unknown."""

NEVER = 1e6
GREY = np.full((48, 64, 3), 128, np.uint8)


def unit(number: int, turned: float = 0.0) -> NDArray[np.float32]:
    """Features at right angles to those of other numbers; turned: their distance from the number's own."""
    features = np.zeros(WIDTH, np.float32)
    features[number % WIDTH], features[(number + 1) % WIDTH] = 1 - turned, (1 - (1 - turned) ** 2) ** 0.5
    return 3 * features


@dataclass
class Watching:
    """A collector, and a view that it is shown pictures of."""

    taught: Taught
    folder: Path
    rule: CollectRule
    now: float = 100.0
    collector: Collector = field(init=False)

    def __post_init__(self) -> None:
        self.collector = Collector(self.rule, structlog.get_logger(), lambda: self.now)

    def look(
        self,
        scores: tuple[float, ...],
        features: NDArray[np.float32],
        *,
        state: str | None = "open",
        picture: NDArray[np.uint8] = GREY,
        holds: Callable[[], bool] = lambda: True,
        region: str | None = None,
        branch: int = 0,
    ) -> list[str]:
        """Show a picture; the reasons of all that is kept."""
        along = list(self.taught.familiar)[branch]
        self.collector.look(
            Glance(
                "door", region, picture, holds, 1.7e9 + self.now, self.taught, along,
                np.array(scores, np.float32), features, state,
            )
        )  # fmt: skip
        return self.kept(region)

    def kept(self, region: str | None = None) -> list[str]:
        folder = self.folder.joinpath("adainf", "collect", "door", *([] if region is None else [region]), "unsorted")
        told = [KeptPicture.named(path.name) for path in sorted(folder.glob("*.jpg"))]
        return ["?" if one is None else one.reason for one in told]


@pytest.fixture
def watching(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Watching]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    profile = Profile.read(network.profile)
    heads = {"": ClassHead(np.zeros((2, WIDTH), np.float32), np.zeros(2, np.float32))}
    sights = np.eye(1, WIDTH, dtype=np.float32)
    familiar = {Branch.parse(of.branch): Familiar(sights, 0.4) for of in profile.branches}
    taught = Taught(("open", "shut"), profile, True, heads, familiar)

    def made(**bounds: Any) -> Watching:
        usual = {"pictures": 50, "megabytes": 10, "a_minute": 60, "margin": 0.3, "sample_seconds": NEVER}
        return Watching(taught, tmp_path, CollectRule(**{**usual, **bounds}))

    return made


def test_what_is_sure_is_passed_over_and_what_teaches_is_kept(watching: Callable[..., Watching]) -> None:
    view = watching()
    assert view.look(SURE, unit(0)) == []
    assert view.look(UNSURE, unit(2)) == ["unsure"]
    view.now += 1
    assert view.look(UNKNOWN, unit(4)) == ["unsure", "unknown"]
    view.now += 1
    assert view.look(SURE, unit(6), state="shut") == ["unsure", "unknown", "change"]
    view.now += 1
    assert view.look(SURE, unit(8), state="shut") == ["unsure", "unknown", "change"]
    view.now += 1
    assert view.look(SURE, unit(10), state=None) == ["unsure", "unknown", "change"], "no state is no change"


def test_the_margin_is_that_of_the_rule(watching: Callable[..., Watching]) -> None:
    half = (1.1, 0.0, -9.0)  # 75 % and 25 %
    assert watching(margin=0.4).look(half, unit(0)) == []
    assert watching(margin=0.6).look(half, unit(0)) == ["unsure"]


def test_what_looks_like_a_picture_that_is_kept_is_passed_over(watching: Callable[..., Watching]) -> None:
    view = watching()
    assert len(view.look(UNSURE, unit(0))) == 1
    for turned, kept in ((0.0, 1), (0.09, 1), (0.11, 2)):  # a quarter of the threshold is 0.1
        view.now += 10
        assert len(view.look(UNSURE, unit(0, turned))) == kept
    view.now += 10
    assert len(view.look(UNSURE, unit(0), branch=3)) == 2, "along other branches of the network too"
    view.now += 10
    assert len(view.look(UNSURE, 1e3 * unit(0))) == 2, "whatever their length"
    assert len(view.look(UNSURE, unit(0), region="gate")) == 1, "another view has pictures of its own"


def test_no_more_are_kept_in_a_minute_than_may_be(watching: Callable[..., Watching]) -> None:
    view = watching(a_minute=2)
    counts = []
    for number in range(WIDTH - 4):
        counts.append(len(view.look(UNKNOWN, unit(number))))
        view.now += 1
    assert counts[3] == 3, "a first few at once"
    assert counts[-1] <= 3 + 2
    assert counts[-1] >= 4


def test_a_few_are_kept_by_chance(watching: Callable[..., Watching]) -> None:
    view = watching(sample_seconds=10)
    for number in range(40):
        view.now += 10
        view.look(SURE, unit(number))
    assert set(view.kept()) == {"sample"}
    assert 10 <= len(view.kept()) <= 39


def test_a_picture_that_was_overwritten_meanwhile_is_not_kept(watching: Callable[..., Watching]) -> None:
    view = watching()
    assert view.look(UNSURE, unit(0), holds=lambda: False) == []
    assert view.look(UNSURE, unit(0)) == ["unsure"], "nor remembered"


def test_pictures_are_not_kept_where_everyone_may_write(watching: Callable[..., Watching], tmp_path: Path) -> None:
    folder = tmp_path / "adainf" / "collect" / "door" / "unsorted"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    view = watching()
    assert view.look(UNSURE, unit(0)) == []
    assert f"everyone may write to {folder}" in (view.collector.hindrance or "")
    assert view.collector.lost == {"pictures": 1}
    folder.chmod(0o700)
    assert view.look(UNSURE, unit(2)) == [], "it is tried again at a heartbeat"
    assert view.collector.lost == {"pictures": 2}
    view.collector.retry()
    assert view.look(UNSURE, unit(4)) == ["unsure"]
    assert view.collector.hindrance is None


@pytest.mark.parametrize(
    ("size", "kept"),
    [((480, 640), (480, 640)), ((1080, 1920), (640, 1138)), ((3000, 4000), (640, 853)), ((700, 9000), (640, 8229))],
)
def test_a_picture_is_kept_no_larger_than_teaching_looks_at(
    watching: Callable[..., Watching], tmp_path: Path, size: tuple[int, int], kept: tuple[int, int]
) -> None:
    picture = np.full((*size, 3), 90, np.uint8)
    watching().look(UNSURE, unit(0), picture=picture)
    (file,) = tmp_path.rglob("*.jpg")
    assert cv2.imread(str(file)).shape[:2] == kept
    assert (picture == 90).all(), "the frame itself is left as it was"
