"""Makes the pictures in docs/images/: `adainfd watch` (watch.svg) and the status page (page.png).

    .venv/bin/python benchmarks/screenshots.py CLIP…

A daemon with the shipped weights shows each CLIP as a camera, while a busy loop takes a processor. Needs Chromium.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from adainfd.client import Result, Subscriber
from adainfd.terminal import watch
from rich.console import Console

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SECONDS = 12.0


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("needs Chromium (Debian: apt-get install chromium)")
    clips = parser.parse_args().clips
    with tempfile.TemporaryDirectory() as folder:
        endpoint, page = f"ipc://{folder}/s", "127.0.0.1:9617"
        file = Path(folder) / "edge.toml"
        file.write_text(configuration(clips, endpoint, page), encoding="utf-8")
        daemon = subprocess.Popen([sys.executable, "-m", "adainfd", "run", "--config", file], stderr=subprocess.DEVNULL)
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            await_results(endpoint)
            console = Console(
                record=True, width=132, height=14, force_terminal=True, file=(Path(folder) / "o").open("w")
            )
            watch.show(endpoint, key=None, server=None, once=True, console=console)
            console.save_svg(str(IMAGES / "watch.svg"), title="adainfd watch")
            for clip in clips:
                await_picture(f"http://{page}/picture/{clip.stem}")
            photograph(chromium, f"http://{page}/", IMAGES / "page.png", Path(folder))
        finally:
            busy.kill()
            daemon.terminate()
            daemon.wait()


def configuration(clips: list[Path], endpoint: str, page: str) -> str:
    """Return the TOML configuration of a daemon that plays the clips."""
    lines = ['[publish]\nhost = "edge1"', f'bind = ["{endpoint}"]', f'[web]\nbind = "{page}"']
    lines.append(f"pictures = {[clip.stem for clip in clips]}")
    for clip in clips:
        lines += ["[[camera]]", f'name = "{clip.stem}"', f'source = "{clip.absolute()}"', "loop = true"]
    return "\n".join(lines) + "\n"


def await_results(endpoint: str) -> None:
    """Wait until the daemon has published results for 12 seconds."""
    with Subscriber(endpoint) as messages:
        while not isinstance(messages.receive(), Result):
            pass
        time.sleep(SECONDS)


def await_picture(url: str) -> None:
    """Request a picture until there is one; the daemon keeps pictures only while they are requested."""
    while True:
        try:
            urllib.request.urlopen(url, timeout=10).close()  # noqa: S310
        except urllib.error.HTTPError:
            time.sleep(0.2)
        else:
            return


def photograph(chromium: str, url: str, file: Path, folder: Path) -> None:
    """Save a screenshot of the page after it has updated itself for 3.5 seconds."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/browser"]
    options += ["--window-size=1000,640", "--virtual-time-budget=3500", f"--screenshot={file}"]
    subprocess.run([chromium, *options, url], check=True, capture_output=True, timeout=60)


if __name__ == "__main__":
    main()
