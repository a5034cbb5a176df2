"""Does as the pages say: runs their commands in order, as somebody who reads them would."""

import json
import os
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from documented import SUBSTITUTED, Command

__all__ = ["Follower", "Program"]

_PROGRAM = """
import contextlib, io, json, os, sys

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from adainf.cli import main

for line in sys.stdin:
    sys.argv, said, status = ["adainf", *json.loads(line)], io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as ended:
            status = ended.code or 0
    print(json.dumps([status, said.getvalue()]), file=answers, flush=True)
"""


class Program:
    """`adainf`, one command after the other in one process: importing torch anew takes longer than all of them."""

    def __init__(self, python: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [str(python), "-c", _PROGRAM],
            cwd=folder,
            # The allocator is set up as the command does it, which would start the process again.
            env={**environment, "MALLOC_TOP_PAD_": str(1 << 26)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, arguments: list[str]) -> str:
        """What `adainf ARGUMENTS` says; it must succeed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(arguments), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"adainf {arguments}: the process ended"
        status, said = json.loads(answer)
        assert status == 0, f"adainf {arguments}: {status}\n{said}"
        return str(said)

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=20)


@dataclass(slots=True)
class Follower:
    """Does as a page says: each command in a shell, in `folder`; what has been run once is not run again.

    checkout: where `make` and `pip` are called. clip: a video. here: runs a command of `adainf` without a shell.
    Programs that run until they are stopped are stopped by Ctrl-C before the next command, unless that only reads.
    """

    folder: Path
    checkout: Path
    clip: Path
    environment: Mapping[str, str]
    here: Callable[[list[str]], str] | None = None
    said: dict[str, str] = field(default_factory=dict)
    followed: set[Command] = field(default_factory=set)
    _running: "subprocess.Popen[str] | None" = None

    def follow(self, told: Iterable[Command]) -> dict[str, str]:
        """Run them, in order; what each said, by its text on the page."""
        told = list(told)
        try:
            for command in told:
                self._run(command)
        finally:
            self._stop()
        return {command.text: self.said[self._substituted(command.text)] for command in told}

    def _run(self, command: Command) -> None:
        text = self._substituted(command.text)
        self.followed.add(command)
        if text in self.said and not text.startswith("systemctl"):
            return
        if not _READS.match(text):
            self._stop()
        if text.startswith("export "):
            self.said[text] = ""
            self.environment = {**self.environment, **_exported(text, self.environment)}
        elif _ENDLESS.search(text):
            self.said[text] = self._started(command, text)
        else:
            self.said[text] = self._done(command, text)
            self._check_files(command, text)

    def _substituted(self, text: str) -> str:
        for rule in SUBSTITUTED:
            instead = str(rule.instead).replace("{folder}", str(self.folder)).replace("{clip}", str(self.clip))
            text = re.sub(rule.pattern, lambda _, instead=instead: instead, text)
        return text

    def _done(self, command: Command, text: str) -> str:
        words = shlex.split(text, comments=True)
        if self.here is not None and Path(words[0]).name == "adainf" and not {"&&", "||", "|", ";"} & {*words}:
            return self.here(words[1:])
        told = subprocess.run(
            ["sh", "-c", text],
            cwd=self._place(text),
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert told.returncode == 0, f"{command}\n{text}: {told.returncode}\n{told.stdout}"
        return told.stdout

    def _started(self, command: Command, text: str) -> str:
        """What it said until it did its work; a reader ends then, others go on."""
        process = subprocess.Popen(
            ["sh", "-c", f"exec {text}"],
            cwd=self._place(text),
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        timer = threading.Timer(60, process.kill)
        timer.start()
        said = ""
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if _WORKS.search(line):
                break
        timer.cancel()
        if not _WORKS.search(said):
            process.kill()
            process.communicate()
        assert _WORKS.search(said), f"{command}\n{text}: did not come to do its work\n{said}"
        if _READS.match(text):
            _interrupt(process)
        else:
            self._running = process
        return said

    def _stop(self) -> None:
        if self._running is not None:
            process, self._running = self._running, None
            _interrupt(process)

    def _place(self, text: str) -> Path:
        return self.checkout if re.match(r"make |\S*pip ", text) else self.folder

    def _check_files(self, command: Command, text: str) -> None:
        """What the command line says is written is there."""
        for name in re.findall(r"--(?:out|plot|bundle|record)[ =](\S+)", text):
            assert (self.folder / name).exists(), f"{command}: has made no {name}"


_ENDLESS = re.compile(r"adainfd (run|relay)\b(?!.* --seconds)|adainfd tail\b(?!.*--count)|adainfd watch\b(?!.*--once)")
_READS = re.compile(r"adainfd (tail|watch)\b|curl ")
_WORKS = re.compile(r'"event": "(ready|relaying)"|MMACs')


def _exported(text: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables as they are after an `export`."""
    command = ["sh", "-c", f"{text}\nenv -0"]
    told = subprocess.run(command, env=dict(environment), stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in told.split("\0") if "=" in line)


def _interrupt(process: "subprocess.Popen[str]") -> None:
    """Ctrl-C, as a terminal sends it: to all processes of the job."""
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 0, f"{process.args}: {process.returncode} by Ctrl-C\n{said}"
