import os
import stat
from pathlib import Path
from typing import Any

import pytest
import zmq.auth
from adainfd.wire.keys import AllowList, KeyPair, public_key
from daemons import assert_refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adainf.base.errors import InvalidInputError

WRONG = 78


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0, 0o077])
def test_new_keys_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        pair = KeyPair.new(tmp_path / "edge1.local")
    finally:
        os.umask(before)
    public, secret = tmp_path / "edge1.local.key", tmp_path / "edge1.local.key_secret"
    assert (mode(public), mode(secret)) == (0o644, 0o600)
    assert KeyPair.read(secret) == pair
    assert public_key(str(public)) == public_key(pair.public) == pair.public
    assert pair.secret not in public.read_text(encoding="utf-8") + repr(pair)
    assert zmq.auth.load_certificate(secret) == (pair.public.encode(), pair.secret.encode())


@pytest.mark.parametrize("there", ["edge1.key", "edge1.key_secret"])
def test_nothing_is_overwritten_and_nothing_left_half(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious", encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"edge1.key(_secret)? cannot be written \(File exists\)"):
        KeyPair.new(tmp_path / "edge1")
    assert {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()} == {there: "precious"}


def test_secret_that_everyone_may_read_is_refused(tmp_path: Path) -> None:
    KeyPair.new(tmp_path / "a")
    (tmp_path / "a.key_secret").chmod(0o644)
    with pytest.raises(InvalidInputError, match="chmod 600"):
        KeyPair.read(tmp_path / "a.key_secret")
    (tmp_path / "a.key_secret").chmod(0o440)  # as systemd hands over credentials
    KeyPair.read(tmp_path / "a.key_secret")


def test_key_that_systemd_hands_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair, other = KeyPair.new(tmp_path / "keys_edge1"), KeyPair.new(tmp_path / "other")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert KeyPair.read(Path("/etc/adainf/keys/edge1.key_secret")) == pair
    assert KeyPair.read(tmp_path / "other.key_secret") == other


def test_credential_that_another_unit_is_handed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that names it means the key that it is made of: in a unit beside it, and for root outside."""
    told = Path("/run/credentials/adainfd@nosuch.service/keys_nosuch.key_secret")
    with pytest.raises(InvalidInputError, match=r"key /etc/adainf/keys/nosuch.key_secret: cannot be read"):
        KeyPair.read(told)
    with pytest.raises(InvalidInputError, match=r"key /etc/adainf/keys/nosuch.key: cannot be read"):
        public_key(str(told.with_name("keys_nosuch.key")))
    pair = KeyPair.new(tmp_path / "keys_nosuch")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert KeyPair.read(told) == pair
    with pytest.raises(InvalidInputError, match="restart it"):
        KeyPair.read(Path("/etc/adainf/keys/made-later.key_secret"))


def test_refused_files(tmp_path: Path) -> None:
    pair, other = KeyPair.new(tmp_path / "a"), KeyPair.new(tmp_path / "b")
    file = tmp_path / "a.key_secret"
    good = file.read_text(encoding="utf-8")
    for text, why in (
        ("", "holds no public key"),
        (good.replace(pair.public, other.public), "does not belong to its public key"),
        (good.replace(pair.secret, pair.secret[1:]), "must have 40 characters"),
        (good.replace(pair.secret, '"' * 40), "must have 40 characters|no secret key"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(InvalidInputError, match=why) as refused:
            KeyPair.read(file)
        assert pair.secret[1:] not in str(refused.value)
    for path, why in (("a.key", "holds no secret key"), ("nosuch", "no such file"), (".", "is a folder")):
        with pytest.raises(InvalidInputError, match=why):
            KeyPair.read(tmp_path / path)
    file.write_bytes(b"\xff\xfe public-key = \xff")
    with pytest.raises(InvalidInputError):
        KeyPair.read(file)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        public_key("not a key, not a file")


def test_allow_list_follows_its_folder(tmp_path: Path) -> None:
    clients = tmp_path / "clients"
    clients.mkdir()
    first, second = KeyPair.new(clients / "dashboard"), KeyPair.new(tmp_path / "phone")
    allowed = AllowList(clients)
    assert allowed.now() == {first.public: "dashboard"}
    (tmp_path / "phone.key").rename(clients / "phone.key")
    assert allowed.now()[second.public] == "phone"
    (clients / "dashboard.key").write_text("half copi", encoding="utf-8")
    assert allowed.now() == {second.public: "phone"}
    for file in clients.iterdir():
        file.unlink()
    clients.rmdir()
    assert allowed.now() == {}


def test_refused_folders(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="nosuch: cannot be read"):
        AllowList(tmp_path / "nosuch")
    (tmp_path / "bad.key").write_text("no key", encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"bad\.key: holds no public key"):
        AllowList(tmp_path)


def test_command(run: Any, tmp_path: Path) -> None:
    made = run("keys", "new", "edge1")
    key = KeyPair.read(tmp_path / "edge1.key_secret").public
    assert (made.returncode, made.stdout, made.stderr) == (0, f"{key}\n", "")
    for shown in ("edge1.key", "edge1.key_secret", key):
        assert run("keys", "show", shown).stdout == f"{key}\n"
    doubled = "H!H*n]IknybCO//eQ(:Hu5#K]5fwO/kk+eS}<)QC"
    assert run("keys", "show", doubled).stdout == f"{doubled}\n"
    assert run("keys", "show", ".").stdout == f"{key}  edge1\n"
    assert_refused(run("keys", "new", "edge1"), WRONG, "edge1.key_secret", "File exists")
    assert_refused(run("keys", "new", "nosuch/edge1"), WRONG, "No such file")
    assert_refused(run("keys", "show", "nosuch"), WRONG, "nosuch")
    assert_refused(run("keys", "show", "x" * 300), WRONG, "cannot be read")


@pytest.mark.parametrize("stem", ["", "/", "..", "x" * 300, "nosuch/a"])
def test_refused_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stem: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match="keys "):
        KeyPair.new(Path(stem))
    assert not list(tmp_path.iterdir())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60), content=st.binary(max_size=200) | st.from_regex(rb'(public|secret)-key = "?[^\n]*'))
def test_anything_is_a_key_or_refused(tmp_path: Path, text: str, content: bytes) -> None:
    file = tmp_path / "a.key_secret"
    file.write_bytes(content)
    file.chmod(0o600)
    for read in (lambda: public_key(text), lambda: public_key(str(file)), lambda: KeyPair.read(file)):
        refusal = ""
        try:
            read()
        except InvalidInputError as error:
            refusal = str(error)
        assert "\n" not in refusal.replace(text, "")
