from pathlib import Path

import pytest

from adainf.base.errors import InvalidInputError
from adainf.shipped import calibration_folder, find


def test_each_shipped_name() -> None:
    for kind, suffix in (("profiles", ".json"), ("policies", ".toml")):
        for file in (calibration_folder() / kind).glob(f"*{suffix}"):
            assert find(kind, file.stem, suffix) == file


def test_path_of_the_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.json").touch()
    assert find("profiles", str(tmp_path / "mine.json"), ".json") == tmp_path / "mine.json"
    monkeypatch.chdir(tmp_path)
    assert find("profiles", "mine.json", ".json") == Path("mine.json")


@pytest.mark.parametrize("name", ["./efficientnet-lite0", "efficientnet-lite0.json", "/absent/profile.json"])
def test_missing_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match=rf"^{name}: no such file$"):
        find("profiles", name, ".json")


@pytest.mark.parametrize("name", ["efficientnet", "", "..", "*"])
def test_unknown_name_comes_with_the_shipped_ones(name: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        find("profiles", name, ".json")
    assert str(raised.value).startswith(
        f"{name!r}: not a shipped name under profiles (efficientnet-lite, efficientnet-lite0"
    )
