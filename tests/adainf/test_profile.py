import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import SMALL, profile, profiles

from adainf.base.errors import InvalidInputError
from adainf.branch import Branch
from adainf.profile import BranchTime, Profile, Timings, write_atomically

CHEAP = Branch(4, (True, False, True))


def timings(device: str, p50_ms: float = 1.25) -> Timings:
    times = {str(CHEAP): BranchTime(p50_ms=p50_ms, p95_ms=2.5)}
    return Timings(device=device, engine="torch", threads=2, measured="2026-01-01T00:00:00+00:00", times=times)


@pytest.fixture
def data() -> dict[str, Any]:
    """A valid profile's JSON."""
    made = profile(SMALL, [(CHEAP, 0.5)]).with_timings(timings("a box"))
    loaded: dict[str, Any] = made.model_dump(mode="json", by_alias=True)
    return loaded


def refusal(path: Path) -> str:
    with pytest.raises(InvalidInputError) as raised:
        Profile.read(path)
    message = str(raised.value)
    assert message.startswith(f"profile {path}: ")
    assert "\n" not in message
    return message.removeprefix(f"profile {path}: ")


@settings(max_examples=25, deadline=None)
@given(made=profiles(SMALL), devices=st.lists(st.text(), max_size=3))
def test_written_and_read_again(made: Profile, devices: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "round.json"
    for device in devices:
        made = made.with_timings(timings(device))
    made.write(path)
    assert Profile.read(path) == made
    assert all(line == line.rstrip() for line in path.read_text().splitlines())


def test_a_branch_a_line_and_a_time_a_line(tmp_path: Path) -> None:
    times = {str(branch): BranchTime(p50_ms=1.25, p95_ms=2.5) for branch in SMALL}
    made = profile(SMALL, [(branch, 0.5) for branch in SMALL]).with_timings(
        timings("a box").model_copy(update={"times": times})
    )
    made.write(tmp_path / "new" / "profile.json")
    lines = (tmp_path / "new" / "profile.json").read_text().splitlines()
    assert '  {"branch": "4:101", "macs": 22, "accuracy": 0.5, "agreement": 0.5, "loss": null},' in lines
    assert '    "4:101": {"p50_ms": 1.25, "p95_ms": 2.5},' in lines
    assert max(map(len, lines)) <= 140


def test_times_of_several_pictures_together_are_kept_by_their_number(tmp_path: Path) -> None:
    together = {n: {str(CHEAP): BranchTime(p50_ms=n, p95_ms=n)} for n in (2, 16)}
    made = profile(SMALL, []).with_timings(timings("a").model_copy(update={"together": together}))
    made.write(tmp_path / "profile.json")
    (found,) = Profile.read(tmp_path / "profile.json").timings
    assert found.together == together
    assert {n: times[str(CHEAP)].p50_ms for n, times in found.every.items()} == {1: 1.25, 2: 2, 16: 16}
    profile(SMALL, []).with_timings(timings("a")).write(tmp_path / "profile.json")
    assert "together" not in (tmp_path / "profile.json").read_text()


def test_times_of_a_device_replace_its_older_ones() -> None:
    made = profile(SMALL, []).with_timings(timings("a")).with_timings(timings("b")).with_timings(timings("a", 2.0))
    assert [found.device for found in made.timings] == ["b", "a"]
    found = made.timings_on("a", "torch", 2)
    assert found is not None
    assert found.times[str(CHEAP)].p50_ms == 2
    assert made.timings_on("a", "torch", 4) is None


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent.json") == "cannot be read (No such file or directory)"
    assert refusal(tmp_path) == "cannot be read (Is a directory)"


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"schema": \xff}', b"[" * 100_000, b'{"schema": ' + b"9" * 5000 + b"}"]
)
def test_no_json(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_bytes(content)
    assert refusal(path).startswith("is not JSON: ")


@pytest.mark.parametrize(
    ("content", "found"), [("[]", "'list'"), ("{}", "None"), ('{"schema": "adainf.profile/9"}', "'adainf.profile/9'")]
)
def test_foreign_schema(content: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(content)
    assert refusal(path) == f"schema is {found}; must be 'adainf.profile/2', as written by `adainf calibrate`"


def put(*keys: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(data: Any) -> None:
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            put("timings", 0, "together", value={"1": {}}),
            "timings.0.together.1.[key]: '1': Input should be greater than or equal to 2",
        ),
        (
            put("branches", 0, "accuracy", value=1.2),
            "branches.0.accuracy: 1.2: Input should be less than or equal to 1",
        ),
        (put("branches", 0, "accuracy", value=float("nan")), "branches.0.accuracy: nan: Input should be"),
        (put("branches", 0, "macs", value=104), "profile: branch 8:111: macs are 104, its parts sum to 103"),
        (put("branches", 0, "macs", value=-1), "branches.0.macs: -1: Input should be greater than or equal to 0"),
        (put("branches", 0, "speed", value=3), "branches.0.speed: 3: Extra inputs are not permitted"),
        (put("branches", 1, "branch", value="4:1x1"), "branches.1.branch: branch '4:1x1': must be a resolution"),
        (put("branches", 1, "branch", value="4:011"), "profile: branch 4:011: block 0 cannot be skipped"),
        (put("branches", 1, "branch", value="5:111"), "profile: branch 5:111: resolution must be one of 4, 8"),
        (put("branches", value=[]), "branches: []: Tuple should have at least 1 item"),
        (put("timings", 0, "times", value={"6:111": {"p50_ms": 1, "p95_ms": 1}}), "profile: branch 6:111: resolution"),
        (put("timings", 0, "threads", value=0), "timings.0.threads: 0: Input should be greater than or equal to 1"),
        (put("networks", 0, "droppable", value="111"), "networks.0.droppable: '111': String should match pattern"),
        (
            put("networks", 0, "droppable", value="01"),
            "networks.0: parts of resolution 8: must name 2 blocks and shortcuts",
        ),
        (put("networks", 0, "native_resolution", value=6), "networks.0: parts: the native resolution 6 is missing"),
        (
            put("networks", 0, "parts", "0", value=None),
            "networks.0.parts.0.[key]: '0': Input should be greater than or equal to 1",
        ),
        (lambda data: data["networks"][0].pop("weights"), "networks.0.weights: Field required"),
        (put("networks", 0, "name", value="a/b"), "networks.0.name: 'a/b': String should match pattern"),
        (put("networks", 0, "scale", value=0), "networks.0.scale: 0: Input should be greater than 0"),
        (put("networks", 0, "adapter", value="abc"), "networks.0.adapter: 'abc': String should match pattern"),
        (put("networks", value=[]), "networks: []: Tuple should have at least 1 item"),
        (put("backbone", value="timm/test"), "backbone: 'timm/test': Extra inputs are not permitted"),
        (lambda data: data["branches"].pop(0), "profile: branches: the full branch 8:111 is missing"),
        (lambda data: data["calibration"].pop("seed"), "calibration.seed: Field required"),
    ],
)
def test_refusals(change: Callable[[dict[str, Any]], None], message: str, data: dict[str, Any], tmp_path: Path) -> None:
    change(data)
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(data))
    assert refusal(path).startswith(message)


def test_full_branch_without_macs(data: dict[str, Any], tmp_path: Path) -> None:
    nothing = {"stem": 0, "blocks": [0, 0, 0], "shortcuts": [0, 0, 0], "head": 0}
    data["networks"][0]["parts"] = {"8": nothing}
    data |= {"branches": [{**data["branches"][0], "macs": 0}], "timings": []}
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(data))
    assert refusal(path) == "profile: parts: the full branch 8:111 takes no MACs"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TOP = ("networks", "calibration", "branches", "set_aside", "scheduled", "timings", "new")
OF_NETWORK = (
    "name",
    "backbone",
    "weights",
    "native_resolution",
    "zoom",
    "scale",
    "droppable",
    "parts",
    "adapter",
    "new",
)


@given(value=json_values, key=st.sampled_from((*TOP, *OF_NETWORK)), alone=st.booleans())
def test_no_json_ends_in_a_traceback(
    value: object, key: str, alone: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    valid = profile(SMALL, [(CHEAP, 0.5)]).model_dump(mode="json", by_alias=True)
    (valid["networks"][0] if key in OF_NETWORK else valid)[key] = value
    path.write_text(json.dumps(value if alone else valid))
    with suppress(InvalidInputError):
        Profile.read(path)


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    profile(SMALL, []).write(path)
    before = path.read_bytes()
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "half of it \ud800")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "profile.json"
    with pytest.raises(InvalidInputError, match=rf"^{re.escape(str(path))}: cannot be written \(.+\)$"):
        profile(SMALL, []).write(path)


def test_at_some_resolutions_there_are_their_branches_and_the_full_one() -> None:
    made = profile(SMALL, [(CHEAP, 0.5), (Branch(8, (True, False, True)), 0.6)])
    assert [m.branch for m in made.at([4]).branches] == [str(SMALL.full), str(CHEAP)]
    assert [m.branch for m in made.at([8]).branches] == [str(SMALL.full), "8:101"]
    assert made.at([4, 8]) == made
    with pytest.raises(InvalidInputError, match="resolution 5: the profile's are 4, 8"):
        made.at([5])
