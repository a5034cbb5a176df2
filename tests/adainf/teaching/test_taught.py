import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from generated import generous
from hostile import HOSTILE
from hypothesis import given
from hypothesis import strategies as st
from profiles import SMALL, profile
from safetensors import numpy as safetensors

from adainf.base.errors import InvalidInputError, printable
from adainf.branch import Branch
from adainf.classes.labels import UNKNOWN
from adainf.classes.taught import ClassHead, Familiar, Taught

WIDTH = 6
LOW = Branch(4, (True, True, False))


def taught(labels=("a gate that is open", "shut"), seed=0, squeezed=True, threshold=0.25) -> Taught:
    """Classes with random heads, for two branches of a small network."""
    random = np.random.default_rng(seed)

    def values(*shape: int):
        return random.normal(size=shape).astype(np.float32)

    def units(*shape: int):
        of = values(*shape)
        return of / np.linalg.norm(of, axis=1, keepdims=True)

    branches = SMALL.full, LOW
    return Taught(
        tuple(labels),
        profile(SMALL, [(LOW, 0.5)]),
        squeezed,
        {"": ClassHead(values(len(labels), WIDTH), values(len(labels)))},
        {branch: Familiar(units(3, WIDTH), threshold) for branch in branches},
    )


labels = st.lists(
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20).filter(
        lambda label: label != UNKNOWN and printable(label, 20) == label
    ),
    min_size=2,
    max_size=6,
    unique=True,
)


@generous(30)
@given(labels, st.integers(0, 9), st.booleans(), st.floats(0.001, 2))
def test_written_and_read_it_scores_the_same(tmp_path, labels, seed, squeezed, threshold):
    before = taught(labels, seed, squeezed, threshold)
    before.write(tmp_path / "a.classes")
    after = Taught.read(tmp_path / "a.classes")
    assert (after.labels, after.squeezed, after.profile) == (tuple(labels), squeezed, before.profile)
    features = np.random.default_rng(1).normal(size=WIDTH).astype(np.float32)
    for branch in (SMALL.full, LOW):
        np.testing.assert_array_equal(after.scores(branch, features), before.scores(branch, features))


def test_what_is_as_far_as_the_threshold_is_as_likely_unknown_as_not():
    classes = taught()
    features = classes.familiar[LOW].sights[0] + np.random.default_rng(2).normal(0, 0.3, WIDTH).astype(np.float32)
    distance = classes.familiar[LOW].distance(features)
    at_threshold = replace(classes, familiar={LOW: replace(classes.familiar[LOW], threshold=distance)})
    shares = np.exp(at_threshold.scores(LOW, features))
    assert at_threshold.names[-1] == UNKNOWN
    assert shares[-1] / shares.sum() == pytest.approx(0.5, abs=1e-4)


def test_a_taught_sight_is_known_and_its_opposite_is_unknown():
    classes = taught()
    sight = classes.familiar[LOW].sights[0]
    assert classes.scores(LOW, 5 * sight).argmax() < len(classes.labels)
    assert classes.scores(LOW, -sight).argmax() == len(classes.labels)
    assert classes.scores(LOW, 0 * sight).argmax() == len(classes.labels)


def damaged(path: Path, change) -> Path:
    """A file of `taught()` with its document or its tensors changed."""
    taught().write(path)
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    document, tensors = json.loads(header["__metadata__"]["adainf"]), dict(safetensors.load(content))
    document, tensors = change(document, tensors)
    path.write_bytes(safetensors.save(tensors, {"adainf": json.dumps(document)}))
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d, t: ({**d, "schema": "adainf.classes.taught/9"}, t), "schema is 'adainf.classes.taught/9'"),
        (lambda d, t: ({**d, "labels": ["a", "a"]}, t), "each once"),
        (lambda d, t: ({**d, "labels": ["a"]}, t), "2 to 256"),
        (lambda d, t: ({**d, "labels": "ab"}, t), "2 to 256"),
        (lambda d, t: ({**d, "labels": ["a", UNKNOWN]}, t), "stands for"),
        (lambda d, t: ({**d, "labels": ["a", 5]}, t), "must be a text"),
        (lambda d, t: ({**d, "labels": ["a", "b", "c"]}, t), "tensor /weight"),
        (lambda d, t: ({**d, "squeezed": 1}, t), "squeezed"),
        (lambda d, t: ({**d, "thresholds": {}}, t), "damaged"),
        (lambda d, t: ({**d, "thresholds": dict.fromkeys(d["thresholds"], 0)}, t), "threshold of"),
        (lambda d, t: ({**d, "profile": 5}, t), "profile"),
        (lambda d, t: ({**d, "profile": {}}, t), "networks: Field required"),
        (lambda _, t: ([], t), "damaged"),
        (lambda d, t: (d, {name: of for name, of in t.items() if name != "/bias"}), "tensor /bias is missing"),
        (lambda d, t: (d, {**t, "/weight": t["/weight"][:, :-1]}), "sights is float32"),
        (lambda d, t: (d, {**t, "/weight": t["/weight"].astype(np.float64)}), "tensor /weight is float64"),
        (lambda d, t: (d, {**t, "/bias": t["/bias"] * np.nan}), "not finite"),
        (lambda d, t: (d, {**t, f"{LOW}/sights": np.zeros((600, WIDTH), np.float32)}), "sights is float32 (600, 6)"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change, says):
    path = damaged(tmp_path / "a.classes", change)
    with pytest.raises(InvalidInputError, match=r"^classes ") as error:
        Taught.read(path)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@generous(60)
@given(st.data())
def test_a_file_with_other_bytes_is_refused_or_read(tmp_path, data):
    path = tmp_path / "a.classes"
    taught().write(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    with suppress(InvalidInputError):
        Taught.read(path)


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_content_is_refused(tmp_path, content):
    path = tmp_path / "a.classes"
    for before in (b"", len(content).to_bytes(8, "little"), (1 << 62).to_bytes(8, "little")):
        path.write_bytes(before + content)
        with pytest.raises(InvalidInputError, match=r"^classes "):
            Taught.read(path)
