"""A bundle comes from elsewhere: whatever it claims, it takes no more than its own place and room."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

from adainf.base.errors import InvalidInputError
from adainf.downloads import fetched as models
from adainf.downloads.bundles import bundle, unbundle
from adainf.downloads.fetched import FetchedManifest

NAME = "hub/models--timm--x/snapshots/1/model.safetensors"
CONTENT = b"weights" * 1000


def manifest(**changes: object) -> dict[str, object]:
    digest = hashlib.sha256(CONTENT).hexdigest()
    whole = {"backbone": "timm/x", "weights": None, "fingerprint": "", "files": {NAME: digest}}
    return {**whole, "schema": "adainf.model/1", **changes}


def member(name: str = NAME, content: bytes = CONTENT, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    head = tarfile.TarInfo(name)
    head.size = len(content)
    for field, value in fields.items():
        setattr(head, field, value)
    return head, content


def packed(
    path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w", told: object = None, first: bool = True
) -> Path:
    text = told if isinstance(told, bytes) else json.dumps(told or manifest()).encode()
    head = member("manifest.json", text)
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for info, content in (head, *members) if first else (*members, head):
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return path


def written(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if not file.is_dir()]


def test_a_model_there_and_back(tmp_path: Path) -> None:
    file, here, there = tmp_path / "b.tar", tmp_path / "here", tmp_path / "there"
    told = unbundle(packed(file, member()), here)
    bundle(here, told, tmp_path / "again.tar")
    assert unbundle(tmp_path / "again.tar", there) == told
    assert (there / NAME).read_bytes() == CONTENT
    assert unbundle(file, there) == told  # once more is no harm
    assert models.check_fetched(there, "timm/x")
    assert not models.check_fetched(there, "timm/y")


OTHER = {NAME: hashlib.sha256(b"").hexdigest()}
ATTACKS: dict[str, Callable[[Path], object]] = {
    "compressed": lambda file: packed(file, member(), mode="w:gz"),
    "compressed otherwise": lambda file: packed(file, member(), mode="w:xz"),
    "twice": lambda file: packed(file, member(), member()),
    "more": lambda file: packed(file, member(), member("hub/models--timm--x/snapshots/1/more")),
    "less": lambda file: packed(file),
    "manifest last": lambda file: packed(file, member(), first=False),
    "link": lambda file: packed(file, member(type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0)),
    "hard link": lambda file: packed(file, member(type=tarfile.LNKTYPE, linkname="manifest.json", size=0)),
    "device": lambda file: packed(file, member(type=tarfile.CHRTYPE, devmajor=1, devminor=5, size=0)),
    "pipe": lambda file: packed(file, member(type=tarfile.FIFOTYPE, size=0)),
    "holes": lambda file: packed(file, member(pax_headers={"GNU.sparse.map": "0,7000", "GNU.sparse.size": "99999999"})),
    "holes of old": lambda file: packed(file, member(type=tarfile.GNUTYPE_SPARSE)),
    "other content": lambda file: packed(file, member(content=b"evil")),
    "large header": lambda file: packed(file, member(pax_headers={"comment": "x" * (2 << 20)})),
    "large manifest": lambda file: packed(file, member(), told=b" " * (1 << 21)),
    "nested manifest": lambda file: packed(file, member(), told=b"[" * 100_000),
    "huge number": lambda file: packed(file, member(), told=b"9" * 10_000),
    "no manifest": lambda file: packed(file, member(), told=b"7"),
    "no text": lambda file: packed(file, member(), told=b"\xff"),
    "no files": lambda file: packed(file, told=manifest(files={})),
    "files of no type": lambda file: packed(file, member(), told=manifest(files=[NAME])),
    "digest of no type": lambda file: packed(file, member(), told=manifest(files={NAME: 7})),
    "many files": lambda file: packed(file, told=manifest(files={f"{NAME}{n}": "0" * 64 for n in range(1001)})),
    "weights that lead away": lambda file: packed(file, member(), told=manifest(weights="../../../evil")),
    "weights with a folder": lambda file: packed(file, member(), told=manifest(weights="a/b")),
    "backbone that leads away": lambda file: packed(file, member(), told=manifest(backbone="../evil")),
    "unknown key": lambda file: packed(file, member(), told=manifest(extra=1)),
    **{
        name: lambda file, name=name: packed(file, member(name), told=manifest(files={name: OTHER[NAME]}))  # type: ignore[misc]
        for name in (
            "hub/models--x/snapshots/../../../../evil", "hub/models--x/snapshots/./a", "/hub/models--x/snapshots/a",
            "hub/models--x/blobs/a", "hub/x/snapshots/a", "hub/models--x/snapshots", "hub/models--x/snapshots/a\0b",
            "hub/models--x/refs/" + "x" * 300, "timm--y.json", "",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_no_model_installs_nothing(tmp_path: Path, attack: str) -> None:
    file, into = tmp_path / "b.tar", tmp_path / "into"
    ATTACKS[attack](file)
    with pytest.raises(InvalidInputError) as refused:
        unbundle(file, into)
    assert str(file) in str(refused.value) or "timm/x" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not written(into)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "told",
    [
        {"backbone": "timm/evil"},
        {"weights": "evil"},
        {"backbone": "timm/x--y", "weights": None},
    ],
)
def test_file_of_another_model_is_never_overwritten(tmp_path: Path, told: dict[str, object]) -> None:
    into = tmp_path / "into"
    unbundle(packed(tmp_path / "good.tar", member()), into)
    unbundle(packed(tmp_path / "y.tar", member(), told=manifest(weights="y")), into)  # the same files may be shared
    before = {file: file.read_bytes() for file in written(into)}
    evil = packed(tmp_path / "evil.tar", member(content=b""), told=manifest(**{"files": OTHER, **told}))
    with pytest.raises(InvalidInputError, match=r"belongs to timm/x|is that of timm/x"):
        unbundle(evil, into)
    assert {file: file.read_bytes() for file in written(into)} == before


def test_bundle_that_refers_to_itself_ends(tmp_path: Path) -> None:
    """A member of negative size, in base 256, leads back to a header that was read before."""
    file = packed(tmp_path / "b.tar", member())
    content = bytearray(file.read_bytes())
    at = content.index(NAME.encode())
    content[at + 124 : at + 136] = b"\xff" * 10 + (65536 - 1024).to_bytes(2, "big")
    content[at + 148 : at + 156] = b" " * 8
    content[at + 148 : at + 156] = b"%06o\0 " % sum(content[at : at + 512])
    file.write_bytes(content)
    with pytest.raises(InvalidInputError):
        unbundle(file, tmp_path / "into")


@pytest.mark.generated
@generous(100)
@given(changes=st.lists(st.tuples(st.integers(0, 11_000), st.binary(min_size=1, max_size=20)), min_size=1, max_size=4))
def test_damaged_bundles(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]]) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    file, into = packed(folder / "b.tar", member()), folder / "into"
    content = bytearray(file.read_bytes())
    for at, written_there in changes:
        content[at : at + len(written_there)] = written_there
    file.write_bytes(content)
    try:
        unbundle(file, into)
    except InvalidInputError:
        assert not written(into)
    else:
        assert (into / NAME).read_bytes() == CONTENT


def test_what_was_fetched_and_is_not_the_same_any_more_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adainf.downloads.hub import from_hub

    unbundle(packed(tmp_path / "b.tar", member()), tmp_path)
    monkeypatch.setenv("ADAINF_MODELS", str(tmp_path))

    def load() -> bytes:
        return from_hub("weights", "timm/x", (tmp_path / NAME).read_bytes)

    assert load() == CONTENT
    file = tmp_path / NAME
    status = file.stat()
    file.write_bytes(b"X" + CONTENT[1:])
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(InvalidInputError, match="is damaged; fetch it again"):
        load()
    file.write_bytes(CONTENT)
    planted = file.with_name("pytorch_model.bin")
    planted.write_bytes(b"evil")
    with pytest.raises(InvalidInputError, match=r"pytorch_model.bin was not fetched with it"):
        load()
    planted.unlink()
    (tmp_path / "timm--x.json").chmod(0o666)
    with pytest.raises(InvalidInputError, match="everyone may write to"):
        load()
    (tmp_path / "timm--x.json").chmod(0o644)
    assert load() == CONTENT


def test_a_folder_of_models_reads_as_manifests(tmp_path: Path) -> None:
    unbundle(packed(tmp_path / "b.tar", member()), tmp_path)
    assert [found.backbone for found in models.manifests(tmp_path)] == ["timm/x"]
    with pytest.raises(InvalidInputError):
        FetchedManifest.parse("[" * 100_000, "x")
