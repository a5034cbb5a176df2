"""A box with a booted systemd, as root uses it: commands, the service's configuration, and what the pages say to do."""

import os
import subprocess
from pathlib import Path

from daemons import listening
from documented import to_run
from following import Follower

REPOSITORY = Path(__file__).parents[1]
MATERIAL = Path("/srv/material")
ETC = Path("/etc/adainf")
UNIT = "adainfd@edge"
ENDPOINT = "tcp://127.0.0.1:5600"
START_SECONDS = 60.0
LOOKED_AT = ("/etc", "/opt", "/usr/local", "/var")
# Root's home is hidden from services, as every home is.
WORK = Path("/root/work")
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin"
SETTINGS = {"PIP_OPTIONS": "--no-deps --no-build-isolation --no-index", "EXTRAS": ""}


def run(*command: str, status: int | None = 0, seconds: float = START_SECONDS) -> str:
    """The output of a command that ends with `status`."""
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False
    )
    assert status in (None, result.returncode), f"{command}: {result.returncode}: {result.stdout}\n{journal()}"
    return result.stdout


def follower() -> Follower:
    """Root, in a folder of their own; links to the commands stand before what the test's own PATH has."""
    return Follower(WORK, REPOSITORY, MATERIAL / "clip.mp4", {**os.environ, **SETTINGS, "PATH": PATH})


FOLLOWER = follower()


def documented(heading: str, page: str = "docs/how-to/install.md") -> list[str]:
    """The commands that a page tells an owner under a heading."""
    found = [command.text for command in to_run(page, heading)]
    assert found, heading
    return found


def follow(heading: str, page: str = "docs/how-to/install.md") -> dict[str, str]:
    """Do as the document says; the output of each command."""
    return FOLLOWER.follow(to_run(page, heading))


def make(target: str) -> str:
    settings = [f"{name}={value}" for name, value in SETTINGS.items()]
    return run("make", "--silent", "-C", str(REPOSITORY), target, *settings, seconds=120)


def save(file: Path, text: str) -> None:
    """As an editor of root's with a strict umask does: nobody else may read it."""
    draft = WORK / "draft"
    draft.write_text(text, encoding="utf-8")
    run("install", "-m", "600", "-o", "root", "-g", "root", str(draft), str(file))


def journal(unit: str = "adainfd@*") -> str:
    command = ["journalctl", "--no-pager", "--output=cat", f"--unit={unit}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout[-6000:]


def shown(name: str, unit: str = UNIT) -> str:
    return run("systemctl", "show", "--value", f"--property={name}", unit).strip()


def files() -> set[str]:
    found = run("find", *LOOKED_AT, "-xdev", "(", "-path", "/opt/packages", "-prune", ")", "-o", "-print")
    volatile = ("/var/lib/systemd", "/var/log", "/var/tmp", "/var/cache/ldconfig", "/etc/group", "/etc/gshadow")  # noqa: S108
    return {line for line in found.splitlines() if not line.startswith(volatile)}


def results_since(moment: float) -> None:
    """A result of a frame that was captured after `moment` (Unix time) comes."""
    with listening(ENDPOINT, b"result/") as receive:
        try:
            while receive(START_SECONDS)[1]["captured_at"] < moment:
                pass
        except AssertionError:
            raise AssertionError(f"no results: {journal()}") from None


def configure(name: str, *, source: str = "/etc/adainf/clip.mp4", port: int = 5600, more: str = "") -> None:
    web = "[web]" if name == "edge" else ""
    save(
        ETC / f"{name}.toml",
        f"""
[model]
backbone = "cifar/resnet20"
weights = "/etc/adainf/resnet20.safetensors"
profile = "/etc/adainf/resnet20.json"
policy = "/etc/adainf/policies/mine.toml"
{more}
[publish]
bind = ["tcp://127.0.0.1:{port}"]
host = "here"
{web}
[[camera]]
name = "door"
source = "{source}"
loop = true
""",
    )
