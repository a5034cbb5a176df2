"""Root's look at a service's configuration is made as its user, in its sandbox; `tests/systemd` has a real one."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemons import Network, assert_refused

REPOSITORY = Path(__file__).parents[3]
DROP_IN = """
# /etc/systemd/system/adainfd@edge.service.d/mine.conf
[Unit]
User=nobody
[Service]
WorkingDirectory={folder}
DeviceAllow=
DeviceAllow=char-nvhost* \\
    rw
Environment="WHERE=the yard"
ExecStart=
ExecStart=/usr/bin/true
"""
RUNNER = """#!{python}
import json, os, sys
at = sys.argv.index("--")
open({calls!r}, "a").write(json.dumps(sys.argv[1:at]) + "\\n")
told = dict(word.removeprefix("--setenv=").split("=", 1) for word in sys.argv[1:at] if word.startswith("--setenv="))
status = int(os.environ.get("RUNNER_FAILS", "0"))
if status:
    sys.exit(status)
os.execvpe(sys.argv[at + 1], sys.argv[at + 1:], os.environ | told)
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may look as another user")


@pytest.fixture
def systemd(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """The environment of a box on which the service is in this state; what systemd-run is told stands in `calls`."""

    def box(state: str) -> dict[str, str]:
        programs = tmp_path / "bin"
        programs.mkdir(exist_ok=True)
        unit = (REPOSITORY / "systemd" / "adainfd@.service").read_text(encoding="utf-8")
        (tmp_path / "unit").write_text(unit + DROP_IN.format(folder=tmp_path), encoding="utf-8")
        systemctl = f"""#!/bin/sh
case "$*" in
    *"cat adainfd@edge.service" | *"cat adainfd@any.service") cat {tmp_path}/unit ;;
    *"show --value --property=ActiveState adainfd@edge.service") echo {state} ;;
    *) exit 1 ;;
esac
"""
        runner = RUNNER.format(python=sys.executable, calls=str(tmp_path / "calls"))
        for name, text in (("systemctl", systemctl), ("systemd-run", runner)):
            (programs / name).write_text(text, encoding="utf-8")
            (programs / name).chmod(0o755)
        return {"PATH": f"{programs}:{os.environ['PATH']}"}

    return box


def configured(network: Network, folder: Path, ipc: str, source: str) -> Path:
    return network.configuration(folder / "edge.toml", bind=ipc, cameras=[{"name": "door", "source": source}])


def test_the_unit_with_its_drop_ins_decides(
    run: Any, systemd: Any, network: Network, clip: Path, ipc: str, tmp_path: Path
) -> None:
    file = configured(network, tmp_path, ipc, str(clip))
    looked = run("check-config", "edge.toml", **systemd("inactive"))
    assert (looked.returncode, looked.stderr) == (0, "")
    assert looked.stdout.startswith("edge.toml: good; cifar/resnet20 with 7 branches")
    assert "; seen as adainfd@edge (user root)" in looked.stdout
    told = json.loads((tmp_path / "calls").read_text(encoding="utf-8"))
    told = [word.removeprefix("--property=") for word in told if word.startswith("--property=")]
    for wanted in (
        "User=adainfd-edge",
        "DynamicUser=yes",
        "SupplementaryGroups=adainf video",
        "StateDirectory=adainf/edge",
        "CacheDirectory=adainf/edge",
        "RuntimeDirectory=adainf/edge",
        "LoadCredential=keys:/etc/adainf/keys",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "Environment=HOME=/var/cache/adainf/edge PYTHONDONTWRITEBYTECODE=1",
        'Environment="WHERE=the yard"',
    ):
        assert wanted in told
    assert told.index("DeviceAllow=char-nvidia* rw") < told.index("DeviceAllow=")
    assert " ".join(told[told.index("DeviceAllow=") + 1].split()) == "DeviceAllow=char-nvhost* rw"
    assert not [
        word
        for word in told
        if word.startswith(("User=nobody", "ExecStart=", "ExecReload", "Type", "Restart=", "Watchdog"))
    ]

    # The folder of a running service would go with this unit.
    found = run("doctor", file, **systemd("activating"))
    assert found.returncode == 0, found.stdout
    assert "not tried: adainfd@edge runs" in found.stdout
    last = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()[-1]
    assert "RuntimeDirectory" not in last
    assert "StateDirectory=adainf/edge" in last


def test_what_the_service_would_not_see_is_refused_with_the_remedy(
    run: Any, systemd: Any, network: Network, ipc: str, tmp_path: Path
) -> None:
    """The runner here hides nothing, so these are not there at all."""
    box = systemd("inactive")
    for address in ("file:///home/nosuch/clip.mp4", "/home/nosuch/*.jpg"):
        file = configured(network, tmp_path, ipc, address)
        path = address.removeprefix("file://")
        assert_refused(run("check-config", file, **box), 78, f"camera door: {path} is hidden from the service; move it")
    found = run("doctor", file, **box)
    assert found.returncode == 1
    assert "fail  camera door     /home/nosuch/*.jpg is hidden" in found.stdout
    before = file.read_bytes()
    assert_refused(run("adopt", file, "--profile", network.profile, **box), 78, "is hidden from the service")
    assert file.read_bytes() == before
    # What systemd cannot run stands for itself, and is no word about the configuration.
    assert_refused(run("check-config", file, **box, RUNNER_FAILS="226"), 69, "adainfd@edge", "226")
    assert run("doctor", file, **box, RUNNER_FAILS="243").returncode == 69


def test_another_file_is_looked_at_with_our_own_eyes(
    run: Any, systemd: Any, network: Network, clip: Path, ipc: str, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    for file in (tmp_path / "elsewhere" / "edge.toml", tmp_path / "Edge.toml", tmp_path / f"{'e' * 24}.toml"):
        network.configuration(file, bind=ipc, cameras=[{"name": "door", "source": str(clip)}])
        told = run("check-config", file, **systemd("active")).stdout
        assert "; seen as user root" in told
        assert ("no service can run it" in told) is (file.parent == tmp_path)
    assert not (tmp_path / "calls").exists()
