"""No password and no secret key leaves the daemon, by whatever way it speaks.

What the programs of the other tests print is looked through by the fixtures that start them.
"""

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from adainfd.client import Message, Subscriber
from adainfd.wire.keys import KeyPair
from daemons import PASSWORD, Network, assert_no_secret, await_true, free_port


def test_nothing_that_leaves_a_daemon_holds_a_secret(
    launch: Any, run: Any, network: Network, clip: Path, tmp_path: Path
) -> None:
    """A stream with a password that cannot be reached, keys, a client that is refused, metrics and the status page."""
    for name in ("box", "reader", "stranger"):
        assert run("keys", "new", name).returncode == 0
    (tmp_path / "clients").mkdir()
    (tmp_path / "reader.key").rename(tmp_path / "clients" / "reader.key")
    page, stream = free_port(), f"tcp://127.0.0.1:{free_port()}"
    dark = f"rtsp://viewer:{PASSWORD}@127.0.0.1:{free_port()}/cam?user=viewer&password={PASSWORD}"
    cameras = [{"name": "door", "source": str(clip), "loop": True}, {"name": "dark", "source": dark}]
    file = network.configuration(tmp_path / "c.toml", bind=stream, cameras=cameras)
    told = file.read_text(encoding="utf-8").replace(
        "[publish]", "[publish]\nkey = 'box.key_secret'\nclients = 'clients'"
    )
    file.write_text(f"{told}[web]\nbind = '127.0.0.1:{page}'\n", encoding="utf-8")
    daemon = launch("run", "--config", file, "--record", "trace")
    daemon.await_event("ready")
    heard: list[Message] = []
    with (
        Subscriber(stream, key=tmp_path / "stranger.key_secret", server=str(_box(tmp_path))) as stranger,
        Subscriber(
            stream,
            topics=["result/", "status/"],
            key=tmp_path / "reader.key_secret",
            server=str(_box(tmp_path)),
        ) as reader,
    ):
        await_true(lambda: stranger.receive(0.02) or stranger.condition == "not allowed", 20, "a refusal")

        def offline() -> bool:
            heard.extend(filter(None, [reader.receive(0.1)]))
            return any(getattr(message, "state", None) == "offline" for message in heard)

        await_true(offline, 20, "the camera that cannot be reached")
    said = [repr(heard)]
    for path in ("/", "/metrics", "/state"):
        with urllib.request.urlopen(f"http://127.0.0.1:{page}{path}") as answer:
            said.append(answer.read().decode())
    assert json.loads(said[-1])["host"] == "here"
    daemon.process.terminate()
    assert daemon.ended(10) == 0
    said += [daemon.said, daemon.out.read_text(encoding="utf-8")]
    said.append((tmp_path / "trace").read_bytes().decode(errors="replace"))
    assert "dark" in daemon.said
    for text in said:
        assert_no_secret(text, tmp_path)


def _box(folder: Path) -> Path:
    return folder / "box.key"


def test_a_secret_would_be_noticed(tmp_path: Path) -> None:
    pair = KeyPair.new(tmp_path / "a")
    for secret in (pair.secret, PASSWORD):
        with pytest.raises(AssertionError, match="a secret is said"):
            assert_no_secret(f"oh {secret}!", tmp_path)
    assert_no_secret(f"{pair} and {pair.public}", tmp_path)
