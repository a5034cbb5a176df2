"""A real Chromium, driven by its own protocol over a pair of pipes: pages are opened, keys pressed, clicks made."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
SECONDS = 60.0
_KEY_CODES = {"Escape": 27, "ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40, "ArrowUp": 38, "Delete": 46}


class Browser:
    """One page in a Chromium of its own."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._received = b""
        self._number = 0
        self._session: str | None = None

    def open(self, url: str) -> None:
        """Show this address in a new page."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._call("Page.enable")
        self._call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        told = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """What an expression gives as soon as that is true."""
        end = time.monotonic() + SECONDS
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"{script}: not within {SECONDS} s; {self.run('document.body.innerText')}"
            time.sleep(0.05)
        return value

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key, by its name in JavaScript."""
        told: dict[str, Any] = {"key": key, "modifiers": 8 if shift else 0}
        if len(key) == 1:
            told["text"] = key
        else:
            told["windowsVirtualKeyCode"] = _KEY_CODES[key]
        self._call("Input.dispatchKeyEvent", type="keyDown", **told)
        self._call("Input.dispatchKeyEvent", type="keyUp", **told)

    def photograph(self, file: Path) -> None:
        """Keep a picture of the page (PNG)."""
        file.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._reads], [], [], SECONDS)
            assert ready, "the browser says nothing"
            part = os.read(self._reads, 1 << 16)
            assert part, "the browser has ended"
            self._received += part
        line, _, self._received = self._received.partition(b"\0")
        return dict(json.loads(line))


@contextlib.contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A browser with its profile in `folder`; ended with the context."""
    its_reads, writes = os.pipe()
    reads, its_writes = os.pipe()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1100,800", f"--user-data-dir={folder}"]
    # The browser reads from descriptor 3 and writes to 4.
    command = f'exec "$@" 3<&{its_reads} 4>&{its_writes}'
    process = subprocess.Popen(
        ["bash", "-c", command, "-", str(CHROMIUM), *options, "--remote-debugging-pipe", "about:blank"],
        pass_fds=(its_reads, its_writes),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(its_reads)
    os.close(its_writes)
    try:
        yield Browser(reads, writes)
    finally:
        process.kill()
        process.wait()
        os.close(reads)
        os.close(writes)
