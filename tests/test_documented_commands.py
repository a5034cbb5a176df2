"""Every command of the pages is one that the programs know, and does as the page says: nothing here is left to trust.

`documented.py` has what is put in place of hardware and hubs, and which commands are not run, with the reason. Pages
that speak of an installed box are followed by tests/systemd/scenario.py.
"""

import json
import os
import re
import shlex
import shutil
import sys
from contextlib import closing
from pathlib import Path

import click
import cv2
import daemons
import numpy as np
import pytest
from adainfd.cli import adainfd
from documented import EXCUSED, ON_A_BOX, PAGES, Command, commands, to_run
from following import Follower, Program

from adainf.backbones import cifar, weights
from adainf.cli import cli as adainf
from adainf.profile import Profile

REPOSITORY = Path(__file__).parents[1]
# What a page uses of another one has been made before.
ORDER = ("README.md", "docs/how-to/train.md", "docs/how-to/calibrate.md", "docs/how-to/teach.md", *PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_is_known(page: str) -> None:
    for told in commands(page):
        words = shlex.split(told.text, comments=True)
        if words[0] == "torchrun":
            words = words[words.index("adainf") :]
        if Path(words[0]).name not in ("adainf", "adainfd"):
            continue
        command: click.Command = adainfd if words[0].endswith("d") else adainf
        words = words[1:]
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            known = command.get_command(click.Context(command), words.pop(0))
            assert known is not None, told
            command = known
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= {*options, "--help"}, told


def test_nothing_is_excused_or_replaced_that_no_page_tells() -> None:
    told = [command.text for page in PAGES for command in commands(page) if not command.inline]
    assert len(told) > 60
    for rule in EXCUSED:
        assert any(re.search(rule.pattern, text) for text in told), f"{rule.pattern}: no page has such a command"


def test_the_parts_of_a_page_are_told_apart(tmp_path: Path) -> None:
    page = """
# A page

Text with `adainf measure p.json` and `plan.branch`.

    adainfd tail       # a comment
    [Service]

## Below it

```console
$ adainf train --out x \\
    --minutes 3
trained
$ for a in b c; do
    echo $a
done
```

```python
adainf = 1
```
"""
    (tmp_path / "page.md").write_text(page, encoding="utf-8")
    found = [(told.heading, told.text, told.shown, told.inline) for told in commands(str(tmp_path / "page.md"))]
    assert [(heading, text, shown, inline) for heading, text, shown, inline in found] == [
        ("A page", "adainf measure p.json", (), True),
        ("A page", "adainfd tail       # a comment", (), False),
        ("Below it", "adainf train --out x --minutes 3", ("trained",), False),
        ("Below it", "for a in b c; do echo $a; done", (), False),
    ]


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages' readers have: photographs, footage, clips, a network, a policy of their own."""
    for kind in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    folder = tmp_path / "workshop"
    folder.mkdir()
    pictures = np.random.default_rng(0).integers(0, 256, (16, 40, 40, 3), np.uint8)
    for number, picture in enumerate(pictures):
        state = "open" if number % 2 else "shut"
        for path in (
            f"photographs/{number % 4}/{number}.png",
            f"footage/{number}.png",
            f"gate/{state}/{number}.png",
            f"collect/gate/{state}/{number}.png",
            f"collect/gate/unsorted/20260114T061502.{number:03}Z_{('unsure', 'sample')[number % 2]}_shut_0.52.jpg",
        ):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / path), picture)
    daemons.write_video(folder / "clip.mp4", 20, moves=lambda number: number >= 10)
    shutil.copy(folder / "clip.mp4", folder / "doorway.mp4")
    daemons.write_video(folder / "gate.mp4", 50, moves=lambda _: True)
    shutil.copy(folder / "gate.mp4", folder / "car-detection.mp4")
    (folder / "road.csv").write_text("start,end,label\n0,1,empty\n1,2,car\n", encoding="utf-8")
    (folder / "gate.csv").write_text("start,end,label\n0,1,shut\n1,2,open\n", encoding="utf-8")
    network = daemons.small_network(folder)
    weights.write(folder / "resnet32.safetensors", cifar.network("resnet32", len(network.labels)), network.labels)
    camera = {"name": "door", "source": "clip.mp4", "loop": True}
    network.configuration(folder / "small.toml", bind=f"ipc://{folder}/stream", cameras=[camera])
    for name in ("edge.toml", "lesson.toml", "road.toml"):
        network.configuration(folder / name, bind="tcp://127.0.0.1:*", cameras=[camera])
    shutil.copy(REPOSITORY / "calibration" / "policies" / "power-saver.toml", folder / "mine.toml")
    (folder / "benchmarks").symlink_to(REPOSITORY / "benchmarks")
    return folder


def test_every_other_page_does_as_it_says(workshop: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    said: dict[str, str] = {}
    with closing(Program(Path(sys.executable), workshop, environment)) as program:
        follower = Follower(workshop, workshop, workshop / "clip.mp4", environment, program)
        for page in dict.fromkeys(ORDER):
            said |= follower.follow(told for told in to_run(page) if not ON_A_BOX.match(f"{page}, {told.heading}"))
    for told in follower.followed:
        assert_as_shown(told, said[told.text])
    assert_claims(workshop, said)


def assert_as_shown(told: Command, said: str) -> None:
    """What a page shows below a command is what it says, up to numbers."""
    for line in told.shown:
        assert re.sub(r"\d+", "N", line) in re.sub(r"\d+", "N", said), f"{told} says\n{said}"


def assert_claims(folder: Path, said: dict[str, str]) -> None:
    def of(start: str) -> str:
        (found, *_) = (text for command, text in said.items() if command.startswith(start))
        return found

    assert Profile.read(folder / "profile.json").timings
    assert Profile.read(folder / "mine.json").calibration.part == "1/2"
    assert "of the full" in of("adainf evaluate --profile profile.json")
    assert [network.name for network in Profile.read(folder / "family.json").networks] == ["resnet32", "resnet20"]
    by_run = Profile.read(folder / "mine" / "profile.json")
    assert [network.name for network in by_run.networks] == ["resnet20", "adapted"]
    assert by_run.adapted == "adapted"
    assert json.loads((folder / "runs" / "doorway" / "manifest.json").read_text(encoding="utf-8"))
    assert (folder / "found" / "curve.csv").read_text(encoding="utf-8").startswith("method,")
    assert (folder / "found" / "branches.png").is_file()
    assert cv2.imread(str(folder / "mine.png")) is not None
    assert "frames" in of("adainfd replay")
