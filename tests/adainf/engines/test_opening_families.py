"""Opening an engine for several networks: what each needs, what is left out, and what a second start needs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from families import TINY, beside
from profiles import SMALL, profile
from safetensors.torch import save_file

from adainf import engines
from adainf.backbones import Options, cifar
from adainf.base.errors import InvalidInputError
from adainf.branch import REFERENCE
from adainf.engines import OutOfMemoryError, devices
from adainf.engines.opening import NetworkSource, Opening, sources

PROGRAM = """
import json, sys, numpy as np
from adainf.backbones import Options
from adainf.branch import REFERENCE, Branch
from adainf.engines.opening import NetworkSource, Opening
names, said, scores = json.loads(sys.argv[1]), [], {}
networks = {
    ("" if not number else name): NetworkSource(name, f"cifar/{name}", Options(weights, mean=(0.1 * number + 0.4,) * 3))
    for number, (name, weights) in enumerate(names.items())
}
engine = Opening(None, networks, threads=1, warn=said.append).open()
picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
for key, outline in engine.outlines.items():
    branch = Branch(16, (True,) * len(outline.droppable), key)
    (found,) = engine.run([engine.prepare(picture, 16, key)], [branch])
    scores[networks[key].name] = found.tolist()
print(json.dumps({"engine": engine.name, "torch": "torch" in sys.modules, "scores": scores, "said": said}))
"""


def write_weights(file: Path, name: str, *, classes: int = 10, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    save_file(cifar.network(name, classes).state_dict(), file)
    return file


def opened(cache: Path, **weights: Path) -> dict[str, Any]:
    """Opens the networks in a process of its own, the first as reference, and runs a picture along each."""
    environment = {**os.environ, "CACHE_DIRECTORY": str(cache)}
    given = json.dumps({name: str(file) for name, file in weights.items()})
    command = [sys.executable, "-c", PROGRAM, given]
    told: dict[str, Any] = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    return told


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path], dict[str, Any]]:
    """A first start of two networks: the cache that it left, the weights, and its answer. Not to be changed."""
    folder = tmp_path_factory.mktemp("first")
    weights = {
        name: write_weights(folder / f"{name}.safetensors", name, seed=seed)
        for seed, name in enumerate(("resnet32", "resnet20"))
    }
    return folder, weights, opened(folder, **weights)


def test_a_second_start_answers_alike_and_loads_no_torch(
    first: tuple[Path, dict[str, Path], dict[str, Any]],
) -> None:
    cache, weights, before = first
    assert (before["engine"], before["torch"], before["said"]) == ("onnx", True, [])
    assert before["scores"].keys() == {"resnet32", "resnet20"}
    assert before["scores"]["resnet32"] != before["scores"]["resnet20"]
    assert opened(cache, **weights) == {**before, "torch": False}


def test_a_network_is_remembered_by_itself(first: tuple[Path, dict[str, Path], dict[str, Any]]) -> None:
    """One that was opened beside another needs no torch by itself."""
    cache, weights, before = first
    alone = opened(cache, resnet32=weights["resnet32"])
    assert alone["torch"] is False
    assert alone["scores"] == {"resnet32": before["scores"]["resnet32"]}


def test_a_network_without_weights_is_left_out_with_one_warning(tmp_path: Path) -> None:
    reference = write_weights(tmp_path / "resnet20.safetensors", "resnet20")
    absent = tmp_path / "absent.safetensors"
    both = opened(tmp_path, resnet20=reference, resnet32=absent)
    assert both["scores"].keys() == {"resnet20"}
    (said,) = both["said"]
    assert said == f"network resnet32: is left out; install the file {absent} (weights {absent}: no such file)"
    with pytest.raises(subprocess.CalledProcessError) as refused:
        opened(tmp_path, resnet32=absent, resnet20=reference)
    assert f"{absent}: no such file" in refused.value.stderr.decode()


def _opening(said: list[str] | None = None, **weights: Path) -> Opening:
    networks = {
        (name if number else REFERENCE): NetworkSource(name, f"cifar/{name}", Options(str(file)))
        for number, (name, file) in enumerate(weights.items())
    }
    return Opening("onnx", networks, threads=1, warn=[].append if said is None else said.append)


def test_networks_of_other_classes_are_refused_by_the_first_that_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    ten = write_weights(tmp_path / "ten.safetensors", "resnet20")
    twelve = write_weights(tmp_path / "twelve.safetensors", "resnet32", classes=12)
    says = "^network resnet32: must have the classes of resnet20; class 10 is 'class 10', not missing$"
    with pytest.raises(InvalidInputError, match=says):
        _opening(resnet20=ten, resnet32=twelve).open()
    # Each by itself leaves what a start without torch needs, which sees the difference too.
    for name, weights in (("resnet20", ten), ("resnet32", twelve)):
        _opening(**{name: weights}).open().close()
    with pytest.raises(InvalidInputError, match=says):
        _opening(resnet20=ten, resnet32=twelve).recall()


def test_weights_that_are_there_and_do_not_fit_are_refused(tmp_path: Path) -> None:
    """The user's mistake is not passed over as weights that may come later."""
    twenty = write_weights(tmp_path / "resnet20.safetensors", "resnet20")
    with pytest.raises(InvalidInputError, match=r"cifar/resnet32"):
        _opening(resnet20=twenty, resnet32=twenty).open()


def test_on_a_gpu_that_is_full_a_network_is_said_to_be_left_out_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutOfMemoryError("device 'cuda': out of memory")

    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(devices, "may_be_there", lambda: True)
    monkeypatch.setattr(engines, "_load_gpu", full)
    said: list[str] = []
    weights = write_weights(tmp_path / "resnet20.safetensors", "resnet20")
    opening = _opening(said, resnet20=weights, resnet32=tmp_path / "absent.safetensors")
    engine = Opening(None, opening.networks, threads=1, warn=said.append).open()
    assert (engine.name, list(engine.outlines)) == ("onnx", [REFERENCE])
    assert [line.partition(":")[0] for line in said] == ["network resnet32", "engine"]


CHEAPER = profile(TINY, [(TINY.cheapest, 0.5)])
FAMILY = beside(profile(SMALL, []), CHEAPER, name="tiny", backbone="timm/tiny")


def test_a_profile_s_networks_are_opened_that_may_be_chosen() -> None:
    opening = Opening.of(FAMILY, None, Options("mine.pth"), weights={"tiny": "tiny.pth"})
    assert {key: (source.backbone, source.options.weights) for key, source in opening.networks.items()} == {
        REFERENCE: ("timm/test", "mine.pth"),
        "tiny": ("timm/tiny", "tiny.pth"),
    }
    useless = beside(profile(SMALL, [(SMALL.cheapest, 0.7)]), profile(TINY, []), name="tiny")
    assert SMALL.macs(SMALL.cheapest) < TINY.macs(TINY.full)  # and as good
    worse = useless.model_copy(
        update={
            "branches": tuple(
                measured.model_copy(update={"agreement": 0.1, "accuracy": 0.1}) if "/" in measured.branch else measured
                for measured in useless.branches
            )
        }
    )
    assert set(Opening.of(worse, None, Options("mine.pth")).networks) == {REFERENCE}


def test_what_is_given_for_the_reference_is_not_taken_for_another_network() -> None:
    given = Options("mine.pth", ("cat", "dog"), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    found = sources(FAMILY, None, given, {})
    assert (found[REFERENCE].options.weights, found[REFERENCE].options.mean) == ("mine.pth", (0.1, 0.2, 0.3))
    assert (found["tiny"].options.weights, found["tiny"].options.mean) == (None, None)
    assert found["tiny"].options.labels == ("cat", "dog")
    assert found["tiny"].options.size == TINY.native_resolution


def test_an_adapter_goes_onto_the_weights_of_the_network_that_it_adapts() -> None:
    adapted = beside(FAMILY, CHEAPER, name="adapted", backbone="timm/tiny", adapter="a" * 64, strength=0.5)
    found = sources(adapted, None, Options("mine.pth"), {"tiny": "tiny.pth"})
    assert [source.options.weights for source in found.values()] == ["mine.pth", "tiny.pth", "tiny.pth"]
    assert found["adapted"].strength == 0.5
    of_reference = beside(FAMILY, profile(SMALL, []), name="adapted", adapter="a" * 64)
    found = sources(of_reference, None, Options("mine.pth"), {"tiny": "tiny.pth"})
    assert found["adapted"].options.weights == "mine.pth"
    found = sources(of_reference, None, Options(), {"test": "mine.pth"})
    assert found["adapted"].options.weights == "mine.pth"


def test_weights_of_a_network_that_the_profile_lacks_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"^weights of network tony: the profile's networks are test, tiny$"):
        sources(FAMILY, None, Options(), {"tony": "tiny.pth"})
    by_name = sources(FAMILY, None, Options(), {"test": "mine.pth", "tiny": "tiny.pth"})
    assert [source.options.weights for source in by_name.values()] == ["mine.pth", "tiny.pth"]
