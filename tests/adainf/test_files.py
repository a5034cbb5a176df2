import os
import threading
from pathlib import Path

import pytest

from adainf.base import files
from adainf.base.errors import InvalidInputError


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("absent", "No such file or directory"),
        ("here", "Is a directory"),
        ("text/below", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("here/" * 1000, "File name too long"),
        ("loop", "Too many levels of symbolic links"),
        ("a\0b", "embedded null byte"),
        ("/dev/full", "Is no file"),
        ("/dev/zero", "Is no file"),
        ("large", "Is larger than 0 MiB"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, why: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "text").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "large").write_bytes(bytes(200_000))
    with pytest.raises(InvalidInputError, match=r"^thing ") as refused:
        files.read(Path(path), "thing", 100_000)
    assert f"cannot be read ({why}" in str(refused.value)
    with pytest.raises(InvalidInputError):
        files.check_file(Path(path if path != "large" else "here"), "thing")


def test_what_is_there_or_not(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    assert files.is_file(tmp_path / "file", "thing")
    assert files.is_folder(tmp_path, "thing")
    for absent in (tmp_path / "absent", tmp_path / "file" / "below", tmp_path / "absent" / "below"):
        assert not files.is_file(absent, "thing")
    for strange in ("x" * 300, "loop", "a\0b"):
        assert not files.is_there(tmp_path / strange)
        for asked in (files.is_file, files.is_folder):
            with pytest.raises(InvalidInputError):
                asked(tmp_path / strange, "thing")


def test_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    from adainf.profile import write_atomically

    for path in (Path("/dev/null"), tmp_path):
        with pytest.raises(InvalidInputError, match="cannot be written"):
            write_atomically(path, "")
    assert Path("/dev/null").is_char_device()


def test_pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell's `<(…)` gives them, and those that nobody writes to."""
    read, write = os.pipe()
    os.write(write, b"\xef\xbb\xbfa = 1")
    os.close(write)
    assert files.read_text(Path(f"/dev/fd/{read}"), "thing") == "a = 1"
    os.close(read)
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Timer(0.1, (tmp_path / "fifo").write_bytes, [b"late"])
    writer.start()
    assert files.read(tmp_path / "fifo", "thing") == b"late"
    writer.join()
    monkeypatch.setattr(files, "_WRITER_WITHIN_SECONDS", 0.05)
    with pytest.raises(InvalidInputError, match="Nothing is written to this pipe"):
        files.read(tmp_path / "fifo", "thing")


def test_who_else_has_a_hand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "kept" / "file"
    assert files.stranger(file) is None
    file.parent.mkdir()
    file.write_bytes(b"x")
    assert files.read_own(file) == b"x"
    for path, mode in ((file, 0o602), (file.parent, 0o777)):
        before = path.stat().st_mode
        path.chmod(mode)
        assert files.stranger(file) == f"everyone may write to {path}"
        with pytest.raises(PermissionError):
            files.read_own(file)
        path.chmod(before)
    file.parent.chmod(0o1777)  # as in /tmp, others may not touch what is ours
    assert files.stranger(file) is None
    if os.geteuid() == 0:
        for path in (file, file.parent):
            os.chown(path, 12345, 12345)
            assert files.stranger(file) == f"{path} belongs to user 12345"
            os.chown(path, 0, 0)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_what_is_replaced_keeps_owner_and_mode(tmp_path: Path, mode: int) -> None:
    file = tmp_path / ("f" * 250)
    files.replace(file, b"1", 0o644)
    assert file.stat().st_mode & 0o777 == 0o644
    file.chmod(mode)
    if os.geteuid() == 0:
        os.chown(file, 12345, 12346)
    before = file.stat()
    files.replace(file, b"2", 0o644)
    after = file.stat()
    assert (file.read_bytes(), after.st_mode, after.st_uid, after.st_gid) == (
        b"2", before.st_mode, before.st_uid, before.st_gid,
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == [file]
