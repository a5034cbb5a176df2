"""What a daemon tells systemd, on a real socket."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from adainfd.service.notify import for_systemd
from adainfd.service.overview import Overview
from adainfd.wire.observing import NOBODY
from daemons import Network
from notified import Manager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    listens = Manager(tmp_path / "notify")
    yield listens
    listens.close()


@pytest.fixture
def configuration(network: Network, clip: Path, ipc: str, tmp_path: Path) -> Path:
    camera = {"name": "door", "source": str(clip), "loop": True}
    return network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[camera])


def test_life_of_a_service(launch: Any, manager: Manager, configuration: Path) -> None:
    policy = configuration.with_name("policy.toml")
    policy.write_text("[budget]\nmaximum = 0.9\n", encoding="utf-8")
    text = configuration.read_text(encoding="utf-8").replace("[model]", f"[model]\npolicy = '{policy}'")
    configuration.write_text(text, encoding="utf-8")
    daemon = launch("run", "--config", configuration, NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="800000")
    ready = manager.until("READY")
    assert ready["STATUS"].startswith("1 camera, ")
    before = manager.heard[:-1]
    assert any(said.get("STATUS", "").startswith("starting: loading cifar/resnet20") for said in before)
    assert all(int(said["EXTEND_TIMEOUT_USEC"]) > 0 for said in before if "starting" in said.get("STATUS", ""))
    assert not any("STOPPING" in said for said in before)
    manager.until("WATCHDOG")
    assert "budget 0.9" in manager.until("STATUS", "1 camera, ")["STATUS"]

    policy.write_text("[budget]\nmaximum = 9\n", encoding="utf-8")
    daemon.process.send_signal(signal.SIGHUP)
    assert int(manager.until("RELOADING")["MONOTONIC_USEC"]) > 0
    failed = manager.until("READY")["STATUS"]
    assert failed.startswith("reload failed, the policy before stays: policy ")
    assert "budget.maximum" in failed
    assert manager.until("STATUS")["STATUS"].startswith("reload failed")

    policy.write_text("[budget]\nmaximum = 0.8\n", encoding="utf-8")
    daemon.process.send_signal(signal.SIGHUP)
    manager.until("RELOADING")
    assert manager.until("READY")["STATUS"].startswith("1 camera, ")

    daemon.process.terminate()
    manager.until("STOPPING")
    assert daemon.ended(5) == 0
    assert len(daemon.events) == len(daemon.said.splitlines())


def test_no_sign_of_life_from_a_loop_that_hangs(launch: Any, manager: Manager, configuration: Path) -> None:
    daemon = launch("run", "--config", configuration, NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="400000")
    manager.until("READY")
    daemon.process.send_signal(signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        manager.until("nothing more", seconds=1)
    daemon.process.send_signal(signal.SIGCONT)
    manager.until("WATCHDOG")


def test_abort_leaves_where_it_hung(launch: Any, manager: Manager, configuration: Path) -> None:
    """It is by SIGABRT that systemd ends a service whose watchdog has run out."""
    daemon = launch("run", "--config", configuration, NOTIFY_SOCKET=str(manager.path))
    manager.until("READY")
    daemon.process.send_signal(signal.SIGABRT)
    assert daemon.ended(5) == -signal.SIGABRT
    assert "most recent call first" in daemon.said


def test_nothing_is_told_where_nobody_started_it() -> None:
    assert for_systemd({}, Overview()) is NOBODY


def test_a_manager_that_is_gone_disturbs_nobody(tmp_path: Path) -> None:
    for address in (f"{tmp_path}/none", "@nobody-listens-here"):
        observer = for_systemd({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"}, Overview())
        observer.beginning("to start", 1)
        observer.turned()
        observer.stopping()


def test_service_imports_no_heavy_library() -> None:
    code = (
        "import sys, adainfd.service.notify; "
        "sys.exit(bool({'torch', 'cv2', 'prometheus_client', 'http.server'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, env=dict(os.environ)).returncode == 0
