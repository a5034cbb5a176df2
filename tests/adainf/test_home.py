"""Users without a home, as in a container's `--user 12345`."""

import os
import pwd
import stat
import tempfile
from pathlib import Path

import pytest

from adainf.process import home


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """This user has no entry and no variables; the folder of temporary files."""

    def unknown(user: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {user}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for variable in list(os.environ):
        if variable == "HOME" or variable.startswith("XDG_") or variable.endswith("_DIRECTORY"):
            monkeypatch.delenv(variable)
    # So that what is set is taken back.
    monkeypatch.setenv("LOGNAME", "someone")
    monkeypatch.setenv("HOME", "")
    return tmp_path


def test_a_private_temporary_folder(nobody: Path) -> None:
    home.settle()
    folder = Path.home()
    assert folder == nobody / f"adainf-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert str(folder) in str(home.notice())
    home.settle()
    assert Path.home() == folder


@pytest.mark.parametrize("unfit", ["link", "open", "file"])
def test_a_folder_that_is_not_ours_is_not_used(nobody: Path, unfit: str) -> None:
    taken = nobody / f"adainf-{os.getuid()}"
    match unfit:
        case "link":
            (nobody / "other").mkdir()
            taken.symlink_to("other")
        case "open":
            taken.mkdir()
            taken.chmod(0o777)
        case "file":
            taken.touch()
    home.settle()
    assert Path.home().parent == nobody
    assert Path.home() != taken
    assert stat.S_IMODE(Path.home().stat().st_mode) == 0o700
    assert home.notice()


@pytest.mark.parametrize("variable", ["CACHE_DIRECTORY", "STATE_DIRECTORY"])
def test_the_services_folder_goes_before(nobody: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, f"{nobody}/kept:{nobody}/other")
    home.settle()
    assert (Path.home(), home.notice()) == (nobody / "kept", None)


@pytest.mark.parametrize("useless", ["relative", "/dev/full", "/" + "x" * 300, "/caf\udce9"])
def test_a_home_that_is_of_no_use(nobody: Path, monkeypatch: pytest.MonkeyPatch, useless: str) -> None:
    monkeypatch.setenv("HOME", useless)
    home.settle()
    assert Path.home() == nobody / f"adainf-{os.getuid()}"


def test_a_home_that_is_good_stays(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", f"{nobody}/to/be/made")
    home.settle()
    assert (str(Path.home()), home.notice()) == (f"{nobody}/to/be/made", None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has borrowed homes")
def test_root_does_not_live_in_the_home_of_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As `sudo` leaves it on some systems."""
    monkeypatch.setenv("HOME", str(tmp_path))
    home.settle()
    assert Path.home() == tmp_path
    os.chown(tmp_path, 12345, 12345)
    home.settle()
    assert Path.home() == Path(pwd.getpwuid(0).pw_dir)
