"""`.ci/apart` hides from the tests what an earlier installation or run left, where it can."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

APART = Path(__file__).parents[1] / ".ci" / "apart"
CACHES = (".cache/adainf", ".cache/torch", ".cache/huggingface", ".local/state/adainf", ".local/share/adainf")

# An installation, on a copy of the folders that it is in.
INSTALLED = """
set -e
mount -t tmpfs tmpfs /mnt
for folder in /opt /etc /usr/local; do
    mkdir -p /mnt/$folder/upper /mnt/$folder/work
    mount -t overlay overlay $folder -o lowerdir=$folder,upperdir=/mnt/$folder/upper,workdir=/mnt/$folder/work
done
mkdir -p /opt/adainf/bin /etc/adainf/keys /usr/local/lib/systemd/system
touch /opt/adainf/bin/adainfd /etc/adainf/edge.toml /usr/local/lib/systemd/system/adainfd@.service /opt/kept
ln -sf /opt/adainf/bin/adainfd /usr/local/bin/adainfd
printf '#!/bin/sh\\n' >/usr/local/bin/adainf; chmod +x /usr/local/bin/adainf
"$@"
test -e /etc/adainf/edge.toml && test -x /usr/local/bin/adainf && ! test -e /etc/adainf/test
"""
LOOK = """
find /opt/adainf /etc/adainf -mindepth 1; ls /usr/local/bin/adainf* /usr/local/lib/systemd/system/adainfd* 2>/dev/null
find "$HOME" -type f -name left; ls /opt/kept; touch /etc/adainf/test
exit 3
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """Of somebody who has run it before; with a copy of the program, since others may not enter root's checkout."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for cache in (*CACHES, ".cache/pip"):
            (folder / cache).mkdir(parents=True)
            (folder / cache / "left").touch()
        (folder / "checkout" / ".ci").mkdir(parents=True)
        shutil.copy(APART, folder / "checkout" / ".ci")
        folder.chmod(0o755)
        yield folder


def apart(home: Path, *before: str, look: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("XDG", "HF", "TORCH"))},
        "HOME": str(home),
    }
    return subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *before, str(home / "checkout" / ".ci" / "apart"), "sh", "-c", look],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip


def test_an_installation_is_not_seen(home: Path) -> None:
    own = ["unshare", "--mount", "--propagation", "private"]
    if os.getuid() or subprocess.run([*own, "mount", "-t", "tmpfs", "t", "/mnt"], check=False).returncode:
        pytest.skip("needs root, and may make no mounts here")
    result = apart(home, *own, "bash", "-c", INSTALLED, "bash", look=LOOK)
    lines = result.stdout.splitlines()
    hidden = {line.removeprefix("hidden from the tests: ") for line in lines if line.startswith("hidden")}
    assert {*(f"{home}/{folder}" for folder in CACHES), "/opt/adainf", "/etc/adainf"} <= hidden
    seen = [line for line in lines if not line.startswith("hidden")]
    assert (seen, result.returncode) == ([f"{home}/.cache/pip/left", "/opt/kept"], 3), result.stderr
    assert all((home / folder / "left").exists() for folder in CACHES)


def test_who_is_not_root_is_told(home: Path) -> None:
    other = ["setpriv", "--reuid=65534", "--clear-groups"] if os.getuid() == 0 else []
    if other and shutil.which("setpriv") is None:
        pytest.skip("needs setpriv (util-linux)")
    result = apart(home, *other, look="echo ran; exit 3")
    assert (result.returncode, result.stdout.splitlines()[-1]) == (3, "ran"), result.stderr
    for folder in CACHES:
        assert (
            f"NOT hidden from the tests, since that takes root and mounts of its own: {home}/{folder}\n"
            in result.stdout
        )
