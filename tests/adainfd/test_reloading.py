"""What a reload does beside taking up a policy."""

import os
import signal
from pathlib import Path
from typing import Any

from adainfd.client import Subscriber
from adainfd.wire.keys import KeyPair
from daemons import Network, await_true, free_port
from hostile import HOSTILE


def test_a_client_whose_key_was_removed_is_cut_off_whatever_else_is_wrong(
    launch: Any, network: Network, clip: Path, tmp_path: Path
) -> None:
    clients = tmp_path / "clients"
    clients.mkdir()
    for name in ("box", "clients/friend", "clients/former"):
        KeyPair.new(tmp_path / name)
    stream = f"tcp://127.0.0.1:{free_port()}"
    camera = {"name": "door", "source": str(clip), "loop": True}
    file = network.configuration(tmp_path / "c.toml", bind=stream, cameras=[camera])
    guarded = "[publish]\nkey = 'box.key_secret'\nclients = 'clients'"
    good = file.read_text(encoding="utf-8").replace("[publish]", guarded)
    policy = tmp_path / "policy.toml"
    policy.touch()
    good = good.replace("[model]", f"[model]\npolicy = '{policy}'")
    file.write_text(good, encoding="utf-8")
    daemon = launch("run", "--config", file)
    daemon.await_event("ready")
    server = str(tmp_path / "box.key")

    def reload() -> str:
        before = len(daemon.named("reload_failed"))
        daemon.process.send_signal(signal.SIGHUP)
        await_true(lambda: len(daemon.named("reload_failed")) > before, 10, "a reload")
        return str(daemon.named("reload_failed")[-1]["why"])

    with (
        Subscriber(stream, key=clients / "friend.key_secret", server=server) as friend,
        Subscriber(stream, key=clients / "former.key_secret", server=server) as former,
    ):
        for reader in (friend, former):
            await_true(lambda reader=reader: reader.receive(0.1), 20, "a message")
        (clients / "former.key").unlink()
        (clients / os.fsdecode(b"caf\xe9.key")).write_text("no key")
        file.write_text("publish = " + "[" * 5000, encoding="utf-8")
        assert "nested too deeply" in reload()
        assert daemon.await_event("clients_removed")["clients"] == ["former"]
        # Not only because the gate looks by itself, seconds later.
        happened = [line["event"] for line in daemon.events]
        assert happened.index("clients_removed") < happened.index("reload_failed")
        await_true(lambda: former.receive(0.02) is None and former.condition == "not allowed", 20, "it is cut off")
        await_true(lambda: friend.receive(0.1), 20, "the other one hears again")
        assert friend.condition != "not allowed"

        file.write_text(good, encoding="utf-8")
        assert ".key: holds no public key" in reload()
        (clients / os.fsdecode(b"caf\xe9.key")).unlink()
        assert policy.is_file()
        for name in ("brackets", "many digits", "many hexadecimal digits", "a key of many parts", "no number", "zeros"):
            policy.write_bytes(HOSTILE[name])
            said = reload()
            assert said.startswith(f"policy {policy}: "), name
            assert len(said) < 500
        policy.write_text("", encoding="utf-8")
        clients.rename(tmp_path / "elsewhere")
        assert "clients: cannot be read" in reload()
        await_true(lambda: friend.receive(0.02) is None and friend.condition == "not allowed", 20, "it is cut off")
        assert daemon.named("clients_removed")[-1]["clients"] == ["friend"]
        assert "nobody may come in" in daemon.named("clients_removed")[-1]["why"]
    daemon.process.terminate()
    assert daemon.ended(10) == 0
    assert "Traceback" not in daemon.said
