"""What cannot be decoded ends nothing: it is counted in every message, named once, and the rest is answered."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daemons import START_SECONDS, Network, await_true, listening, write_video
from footage import MPEG4, footage, giant_png, still, with_noise, with_zeros
from stream_servers import MjpegServer

SELECT = ("-vf", "select='lt(n,10)+not(mod(n,10))'", "-fps_mode", "vfr")


def fates(account: dict[str, Any]) -> int:
    return int(account["published"] + account["reused"] + account["waiting"] + sum(account["dropped"].values()))


def shots(folder: Path) -> Path:
    """Twelve pictures, six of which are none: by their content, their size, their name or their mode."""
    folder.mkdir()
    for number, kind in enumerate(("jpeg", "png", "webp", "tiff", "avif", "gif"), 1):
        (folder / f"{number}.{kind}").write_bytes(still(kind))
    (folder / "7.png").write_bytes(giant_png())
    (folder / "8.png").write_bytes(b"")
    (folder / os.fsdecode(b"9\xff\n.jpg")).write_bytes(b"no picture")
    (folder / ("x" * 251 + ".png")).write_bytes(still("png")[:60])
    (folder / "y.png").write_bytes(giant_png(2**31 - 1, 1))
    (folder / "z.avif").write_bytes(still("avif")[:200])
    return folder


def test_every_message_tells_exactly_what_became_of_what_is_broken(
    launch: Any, network: Network, ipc: str, tmp_path: Path
) -> None:
    sound = write_video(tmp_path / "v.avi", 60, moves=lambda _: True)
    zeros = str(with_zeros(sound, 21))
    film = str(with_noise(footage(tmp_path / "v.mp4", *MPEG4, source=sound), 0.5))
    varying = str(footage(tmp_path / "v.mkv", *SELECT, "-c:v", "mpeg4", source=sound))
    noise = np.random.default_rng(0).bytes(3000)
    server = MjpegServer(part=lambda number: noise if number % 5 == 0 else still("jpeg"))
    folder = str(shots(tmp_path / "shots"))
    cameras: list[dict[str, object]] = [
        {"name": "zeros", "source": zeros, "fps": 50},
        {"name": "zeros-again", "source": zeros, "fps": 50, "loop": True},
        {"name": "film", "source": film, "fps": 50},
        {"name": "shots", "source": folder},
        {"name": "shots-again", "source": folder, "loop": True},
        {"name": "stream", "source": server.address},
        {"name": "varying", "source": varying},
    ]
    last: dict[str, dict[str, Any]] = {}
    times: list[tuple[int, float]] = []
    with listening(ipc) as receive:
        file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)
        program = launch("run", "--config", file, "--seconds", "3")
        while True:
            topic, message = receive(START_SECONDS)
            if topic.startswith("result/"):
                if message["camera"] == "varying":
                    times.append((message["frame"], message["captured_at"]))
            elif topic == "status/here":
                for name, account in (message["cameras"] or {}).items():
                    assert account["captured"] == fates(account), name
                if message["state"] == "stopped":
                    break
            elif not message["repeated"]:
                last[message["camera"]] = message["account"]
                assert message["account"]["captured"] == fates(message["account"])
    server.close()
    assert program.ended(START_SECONDS) == 0
    undecodable = {name: account["dropped"]["undecodable"] for name, account in last.items()}
    assert (last["zeros"]["captured"], undecodable["zeros"]) == (60, 1)
    assert last["zeros-again"]["captured"] > 100
    assert undecodable["zeros-again"] >= 2
    assert last["film"]["captured"] == 60
    assert undecodable["film"] > 0
    assert (last["shots"]["captured"], undecodable["shots"]) == (12, 6)
    assert undecodable["shots-again"] == pytest.approx(last["shots-again"]["captured"] / 2, abs=6)
    assert undecodable["stream"] == pytest.approx(last["stream"]["captured"] / 5, abs=2)
    assert (last["varying"]["captured"], undecodable["varying"]) == (15, 0)

    said = [(line["camera"], line["what"]) for line in program.named("camera_undecodable")]
    assert len(said) == len(set(said))
    for name in ("shots", "shots-again"):
        whats = [what for camera, what in said if camera == name]
        assert {"7.png", "8.png", "9\\xff\\n.jpg", "y.png", "z.avif"} < set(whats)
        assert len(whats) == 6
    assert [what for camera, what in said if camera.startswith("zeros")] == ["frame 21"] * 2
    whys = {line["what"]: line["why"] for line in program.named("camera_undecodable")}
    assert whys["7.png"].startswith("is too large")
    assert not program.named("camera_broke_off")
    assert program.said.count("\n") == len(program.events), "something else was printed"
    # Filmed at 0, 0.04 … 0.36 and then at every 0.4 s.
    filmed = dict(enumerate([*(n / 25 for n in range(10)), *(n / 2.5 for n in range(1, 6))], 1))
    start = times[0][1] - filmed[times[0][0]]
    assert [at - start for _, at in times] == pytest.approx([filmed[number] for number, _ in times], abs=0.15)
    assert {12, 13, 14, 15} <= {number for number, _ in times}


def test_a_folder_of_nothing_that_can_be_decoded_is_refused(
    launch: Any, network: Network, ipc: str, tmp_path: Path
) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    (folder / "1.png").write_bytes(giant_png())
    (folder / "2.png").write_bytes(b"no picture")
    camera = {"name": "door", "source": str(folder)}
    program = launch("run", "--config", network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[camera]))
    await_true(lambda: program.process.poll() is not None, START_SECONDS, "its end")
    assert program.process.returncode == 78
    assert program.said.count("\n") == 1
    assert "holds no picture that OpenCV can decode" in program.said
