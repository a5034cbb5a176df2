"""The public library: its names, and a model that answers pictures within a budget."""

import doctest
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import daemons
import numpy as np
import pytest
from numpy.typing import NDArray

import adainf
from adainf import AdaptiveModel, Policy, Signals
from adainf.control.policy import Budgets, CeilingRule, EvidenceRule, ReuseRule, SecondLookRule, ShareRule
from adainf.control.signals import contention
from adainf.sensors import Readings

Load = Callable[..., AdaptiveModel]

PUBLIC = [
    "AdainfError",
    "AdaptiveModel",
    "Answer",
    "Branch",
    "Budget",
    "CallTiming",
    "InvalidInputError",
    "LookupTable",
    "OutOfMemoryError",
    "Policy",
    "Profile",
    "ScoredLabel",
    "Signals",
    "UnavailableError",
    "load",
]


def test_the_public_names_are_these_and_each_tells_what_it_is_for() -> None:
    assert adainf.__all__ == PUBLIC == sorted(PUBLIC)
    assert dir(adainf) == PUBLIC
    for name in PUBLIC:
        docstring = getattr(adainf, name).__doc__ or ""
        assert len(docstring.splitlines()[0]) > 10, name
        assert ">>> " in docstring, name
    with pytest.raises(AttributeError, match="no attribute 'Stream'"):
        _ = adainf.Stream  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["Branch", "InvalidInputError", "Policy"])
def test_examples_that_need_nothing_do_as_they_say(name: str) -> None:
    examples = doctest.DocTestFinder(recurse=False).find(getattr(adainf, name), name, globs={"adainf": adainf})
    results = [doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example) for example in examples]
    assert sum(result.attempted for result in results) >= 1
    assert sum(result.failed for result in results) == 0


def test_importing_the_library_imports_nothing_heavy() -> None:
    code = "import sys, adainf; print([m for m in ('torch', 'numpy', 'cv2', 'pydantic') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[daemons.Network]:
    folder = tmp_path_factory.mktemp("network")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield daemons.small_network(folder)


@pytest.fixture(scope="module")
def load(network: daemons.Network) -> Iterator[Load]:
    """Load the small network under a policy; closed when the tests are over."""
    loaded: list[AdaptiveModel] = []

    def under(policy: Policy, **more: Any) -> AdaptiveModel:
        loaded.append(adainf.load(str(network.profile), policy=policy, weights=str(network.weights), **more))
        return loaded[-1]

    yield under
    for model in loaded:
        model.close()


def pictures(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(count)]


ALONE = Signals()


def test_each_picture_is_answered_within_its_budget(load: Load) -> None:
    busy = CeilingRule(curve=((0.0, 1.0), (1.0, 0.3)))
    model = load(Policy(contention=busy))
    for share, picture in zip((0.0, 0.5, 0.9, 1.0), pictures(4), strict=True):
        answer = model(picture, stream=str(share), signals=Signals(gpu_foreign=share))
        assert answer.macs_fraction <= answer.budget.fraction <= busy.at(share) + 1e-9
        assert answer.budget.limited_by == ("maximum" if share == 0 else "contention")
        assert answer.macs_fraction == pytest.approx(model.profile.space.fraction(answer.branch))
        assert 0 < answer.timing.forward <= answer.timing.total
        assert len(answer.labels) == 5
        assert [label.score for label in answer.labels] == sorted((one.score for one in answer.labels), reverse=True)


def test_streams_remember_for_themselves(load: Load) -> None:
    still, other = pictures(2)
    model = load(Policy(reuse=ReuseRule(change=0.05, seconds=60)))
    first = model(still, stream="door")
    assert not first.reused
    again = model(still, stream="door")
    assert (again.reused, again.macs_fraction, again.labels) == (True, 0.0, first.labels)
    assert again.signals.motion == again.signals.change == 0
    assert not model(still, stream="yard").reused
    changed = model(other, stream="door")
    assert not changed.reused
    assert changed.signals.motion is not None
    assert changed.signals.motion > 0.5
    model.forget("yard")
    assert not model(still, stream="yard").reused


def test_still_pictures_pay_for_a_better_look(load: Load) -> None:
    (still,) = pictures(1)
    policy = Policy(
        budget=Budgets(maximum=1.0, minimum=0.2, mean=0.4),
        evidence=EvidenceRule(curve=((0.0, 1.0), (1.0, 0.0))),
        reuse=ReuseRule(change=0.05, seconds=60),
        second_look=SecondLookRule(savings=4),
    )
    model = load(policy)
    assert model.look_again() is None
    first = model(still)
    assert model.look_again() is None  # nothing was saved yet
    better = None
    for _ in range(40):
        time.sleep(0.02)  # the pace of the stream, which leaves time before the next picture
        given = still.copy()
        assert model(given).reused
        given[:] = 0  # as a program does that reads the next picture into the same memory
        if (better := model.look_again()) is not None:
            break
    assert better is not None
    assert better.macs_fraction > first.macs_fraction
    assert model.look_again() is None  # a picture has one
    again = model(still)
    assert (again.reused, again.branch, again.labels) == (True, better.branch, better.labels)
    # What it says is what that branch says of the picture alone.
    enough = min(1.0, better.macs_fraction + 0.001)
    alone = load(Policy(budget=Budgets(maximum=enough)))(still, signals=ALONE)
    assert alone.branch == better.branch
    assert [label.index for label in better.labels] == [label.index for label in alone.labels]


def test_streams_divide_the_share_that_the_policy_grants(load: Load) -> None:
    granted, (picture,) = 0.5, pictures(1)
    model = load(Policy(share=ShareRule(busy=granted)))

    def busy() -> list[float]:
        return [state.decider.policy.share.busy for state in model._streams.values()]

    for number in range(1, 4):
        model(picture, stream=str(number), signals=ALONE)
        assert busy() == [granted / number] * number
    model.forget("2")
    assert busy() == [granted / 2] * 2
    assert model.policy.share is not None
    assert model.policy.share.busy == granted


def test_the_gpu_s_other_programs_take_nothing_from_a_model_on_the_processors() -> None:
    readings = Readings(gpu_foreign=0.9, gpu_utilization=0.9, cpu_foreign=0.1)
    assert contention(Signals.of(readings)) == 0.9
    assert contention(Signals.of(readings, on_gpu=False)) == 0.1


def test_sensors_are_read_only_where_no_signals_are_given(load: Load) -> None:
    def reading() -> int:
        return sum(thread.name == "sensors" for thread in threading.enumerate())

    (picture,), before = pictures(1), reading()
    model = load(Policy())
    model(picture, signals=ALONE)
    assert reading() == before
    model(picture)
    assert reading() == before + 1
    model.close()
    assert reading() == before
    model.close()


def test_a_file_is_answered_as_its_pixels(load: Load, tmp_path: Path) -> None:
    (picture,) = pictures(1)
    assert cv2.imwrite(str(tmp_path / "a.png"), picture)
    model = load(Policy())
    answers = [model(one, stream=str(n), signals=ALONE) for n, one in enumerate((picture, tmp_path / "a.png"))]
    assert answers[0].labels == answers[1].labels
    assert model(str(tmp_path / "a.png"), stream="text", signals=ALONE).labels == answers[0].labels


def test_labels_that_are_asked_for_are_told_apart_alone(load: Load) -> None:
    model = load(Policy(), labels=["class 3", "class 7"], top=9)
    (picture,) = pictures(1)
    answer = model(picture, signals=ALONE)
    assert {(label.name, label.index) for label in answer.labels} == {("class 3", 3), ("class 7", 7)}
    assert sum(label.score for label in answer.labels) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (np.zeros((4, 4, 3)), r"^picture of float64 \(4, 4, 3\): must be bytes \(height, width, 3\), BGR$"),
        (np.zeros((4, 4), np.uint8), r"^picture of uint8 \(4, 4\): must be"),
        (np.zeros((0, 4, 3), np.uint8), r"^picture of uint8 \(0, 4, 3\): must be"),
        (None, r"^picture of None None: must be"),
        ("nowhere.jpg", r"nowhere\.jpg"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_line_and_the_next_is_answered(load: Load, picture: Any, says: str) -> None:
    model = load(Policy())
    with pytest.raises(adainf.AdainfError, match=says):
        model(picture, signals=ALONE)
    assert model(pictures(1)[0], signals=ALONE).labels


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"profile": "nosuch"}, r"^'nosuch': not a shipped name under profiles"),
        ({"policy": "nosuch"}, r"^'nosuch': not a shipped name under policies"),
        ({"run": "nosuch"}, r"^run nosuch: no such folder"),
        ({"device": "tpu"}, r"tpu"),
    ],
)
def test_wrong_names_are_refused_in_a_line(network: daemons.Network, arguments: dict[str, str], says: str) -> None:
    given: dict[str, Any] = {"profile": str(network.profile), "weights": str(network.weights), **arguments}
    with pytest.raises(adainf.AdainfError, match=says) as refused:
        adainf.load(**given)
    assert len(str(refused.value).splitlines()) == 1


def test_other_weights_than_the_profile_s_are_told(network: daemons.Network) -> None:
    with pytest.warns(UserWarning, match=r"was made for other weights; run `adainf calibrate`$"):
        model = adainf.load(str(network.profile), policy=Policy(), weights="random")
    model.close()
