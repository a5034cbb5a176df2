"""A thread that ends by a defect is noticed, said, and brought back by whoever restarts the program."""

import os
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from adainfd.wire.keys import KeyPair
from daemons import Network, await_true, free_port, listening
from ending import breakable, end
from notified import Manager

from adainf.base.hindrances import Watched

DEFECT = 70


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_daemon_says_which_thread_has_ended_and_wants_to_be_restarted(
    launch: Any,
    network: Network,
    clip: Path,
    ipc: str,
    tmp_path: Path,
) -> None:
    manager = Manager(tmp_path / "notify")
    folder = tmp_path / "ending"
    folder.mkdir()
    (tmp_path / "clients").mkdir()
    KeyPair.new(tmp_path / "box")
    camera = {"name": "door", "source": str(clip), "loop": True}
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[camera])
    web = f"127.0.0.1:{free_port()}"
    guarded = "[publish]\nkey = 'box.key_secret'\nclients = 'clients'"
    text = file.read_text(encoding="utf-8").replace("[publish]", guarded)
    file.write_text(f"{text}\n[web]\nbind = '{web}'\n", encoding="utf-8")
    notify = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
    daemon = launch("run", "--config", file, **notify, **breakable(folder, os.environ))
    daemon.await_event("ready")
    await_true(lambda: get(f"http://{web}/ready")[0] == 200, 20, "readiness")
    manager.until("WATCHDOG")
    with listening(ipc, b"status/here") as receive:
        for number, thread in enumerate(("sensors", "gate", "web"), start=1):
            end(folder, thread)
            said = f"the thread {thread} has ended (ZeroDivisionError)"

            def told(said: str = said) -> bool:
                socket.create_connection(
                    ("127.0.0.1", int(web.rpartition(":")[2])), timeout=5
                ).close()  # wakes the web thread, which sleeps
                message = receive(5)[1]
                return message["state"] == "degraded" and said in (message["detail"] or "")

            await_true(told, 5, said)
            await_true(lambda number=number: len(daemon.named("broken")) == number, 5, "a log line")
            assert said in daemon.named("broken")[-1]["why"]
            if thread == "sensors":
                status, body = get(f"http://{web}/ready")
                assert (status, said in body) == (503, True)
                assert get(f"http://{web}/live")[0] == 503
    heard = len(manager.heard)
    manager.until("STATUS", "degraded: the thread")
    manager.until("STATUS", "degraded: the thread")  # two seconds: the watchdog's time five times over
    assert not any("WATCHDOG" in told for told in manager.heard[heard + 5 :])
    assert daemon.process.poll() is None  # it still answers
    manager.close()
    daemon.process.terminate()
    assert daemon.ended(10) == 0


@pytest.mark.parametrize("thread", ["gate"])
def test_a_relay_ends(launch: Any, tmp_path: Path, thread: str) -> None:
    folder = tmp_path / "ending"
    folder.mkdir()
    (tmp_path / "clients").mkdir()
    KeyPair.new(tmp_path / "relay")
    (tmp_path / "relay.toml").write_text(
        """
        key = "relay.key_secret"
        box = [{connect = "ipc://nobody"}]
        publish = {bind = ["tcp://127.0.0.1:*"], clients = "clients"}
        """,
        encoding="utf-8",
    )
    relay = launch("relay", "--config", "relay.toml", **breakable(folder, os.environ))
    relay.await_event("relaying")
    end(folder, thread)
    assert relay.ended(10) == DEFECT
    assert f"the thread {thread} has ended (ZeroDivisionError)" in relay.said


def test_an_end_is_told_apart_from_one_that_was_asked_for() -> None:
    over = threading.Event()
    thread = Watched("one", over.wait)
    assert thread.hindrance is None
    thread.start()
    assert thread.hindrance is None
    thread.leave()
    over.set()
    assert thread.join(5)
    assert thread.hindrance is thread.defect is None
    thread.check()
    idle = Watched("idle", lambda: None)
    idle.start()
    assert idle.join(5)
    assert idle.hindrance == "the thread idle has ended (nobody asked it to)"
    with pytest.raises(RuntimeError, match="idle has ended"):
        idle.check()
