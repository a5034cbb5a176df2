"""What a reload does beside taking up a policy."""

import signal
from pathlib import Path
from typing import Any

from adainfd.client import Subscriber
from adainfd.wire.keys import KeyPair
from daemons import Network, await_true, free_port


def test_a_client_whose_key_was_removed_is_cut_off_and_others_go_on(
    launch: Any, network: Network, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "clients").mkdir()
    for name in ("box", "clients/friend", "clients/former"):
        KeyPair.new(tmp_path / name)
    stream = f"tcp://127.0.0.1:{free_port()}"
    camera = {"name": "door", "source": str(clip), "loop": True}
    file = network.configuration(tmp_path / "c.toml", bind=stream, cameras=[camera])
    guarded = "[publish]\nkey = 'box.key_secret'\nclients = 'clients'"
    file.write_text(file.read_text(encoding="utf-8").replace("[publish]", guarded), encoding="utf-8")
    daemon = launch("run", "--config", file)
    daemon.await_event("ready")
    server = str(tmp_path / "box.key")
    with (
        Subscriber(stream, key=tmp_path / "clients" / "friend.key_secret", server=server) as friend,
        Subscriber(stream, key=tmp_path / "clients" / "former.key_secret", server=server) as former,
    ):
        for reader in (friend, former):
            await_true(lambda reader=reader: reader.receive(0.1), 20, "a message")
        (tmp_path / "clients" / "former.key").unlink()
        daemon.process.send_signal(signal.SIGHUP)
        assert daemon.await_event("clients_removed")["clients"] == ["former"]
        await_true(lambda: former.receive(0.02) is None and former.condition == "not allowed", 20, "it is cut off")
        await_true(lambda: friend.receive(0.1), 20, "the other one hears again")
        assert friend.condition != "not allowed"
    daemon.process.terminate()
    assert daemon.ended(10) == 0
