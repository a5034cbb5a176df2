"""The commands that the pages tell, in their order, and a test's way of doing as they say.

`tests/test_documented_commands.py` follows the pages that need nothing but a folder, `tests/systemd/scenario.py` those
that speak of an installed box.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "EXCUSED",
    "ON_A_BOX",
    "PAGES",
    "SUBSTITUTED",
    "Command",
    "Follower",
    "Program",
    "commands",
    "excuse",
    "to_run",
]

REPOSITORY = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "calibration/README.md",
    *sorted(f"docs/{file.name}" for file in (REPOSITORY / "docs").glob("*.md")),
)

_SHELL = ("sh", "bash", "shell", "console")
_OURS = ("adainf", "adainfd", "torchrun")
_TOLD_INLINE = (*_OURS, "make", "systemctl", "journalctl", "kill", "pip", "apt-get", "dnf", "gcc", "npm", "python")
_BUILT_IN = ("cd", "export", "for", "source")


@dataclass(frozen=True, slots=True)
class Command:
    """One command line of a page. heading: the nearest above it. shown: the output that stands below it."""

    page: str
    heading: str
    text: str
    shown: tuple[str, ...] = ()
    inline: bool = False

    def __str__(self) -> str:
        return f"{self.page}, {self.heading}: {self.text}"


def commands(page: str) -> list[Command]:
    """All of a page: from shell blocks, from indented ones where a line is a command, and told within a sentence."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    found: list[Command] = []
    heading = ""
    for kind, lines in _blocks(text.splitlines()):
        if kind == "heading":
            heading = lines[0].strip("# ")
        elif kind in _SHELL or kind == "indented":
            found += _told(page, heading, lines, certain=kind != "indented")
        elif kind == "text":
            found += _within(page, heading, " ".join(lines))
    return found


def _blocks(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """The page's parts: ("heading", [line]), ("text", lines of a paragraph), ("indented", …) or (language, …)."""
    kind, part = "text", list[str]()
    for line in lines:
        fence = re.match(r" *```(\w*)", line)
        if kind not in ("text", "indented"):
            if fence:
                yield kind, part
                kind, part = "text", []
            else:
                part.append(line)
            continue
        now = "indented" if line.startswith("    ") and (kind == "indented" or not part) else "text"
        if fence or line.startswith("#") or not line.strip() or now != kind:
            yield kind, part
            kind, part = now, []
        if fence:
            kind = fence[1] or "output"
        elif line.startswith("#"):
            yield "heading", [line]
        elif line.strip():
            part.append(line)
    yield kind, part


def _told(page: str, heading: str, lines: list[str], *, certain: bool) -> Iterator[Command]:
    prompted = any(line.lstrip().startswith("$ ") for line in lines)
    command, shown = "", list[str]()
    for line in [*_joined(lines), None]:
        starts = line is not None and (line.lstrip().startswith("$ ") if prompted else certain or _is_command(line))
        if starts or line is None:
            if command:
                yield Command(page, heading, command, tuple(shown))
            command, shown = (line or "").strip().removeprefix("$ "), []
        elif command and prompted:
            shown.append(line or "")


def _joined(lines: list[str]) -> list[str]:
    """With what is continued in one line: after a backslash, an operator, or in a loop."""
    joined: list[str] = []
    for line in lines:
        if not line.strip():
            continue
        last = joined[-1] if joined else ""
        if last.endswith("\\"):
            joined[-1] = f"{last[:-1].rstrip()} {line.strip()}"
        elif last.endswith(("&&", "||", "|")):
            joined[-1] = f"{last} {line.strip()}"
        elif re.match(r"(\$ +| *)for ", last) and not last.endswith("done"):
            joined[-1] = f"{last}{'' if last.endswith(' do') else ';'} {line.strip()}"
        else:
            joined.append(line)
    return joined


def _is_command(line: str) -> bool:
    word = line.split()[0]
    return word.rpartition("/")[2] in (*_TOLD_INLINE, *_BUILT_IN) or (word.isascii() and shutil.which(word) is not None)


def _within(page: str, heading: str, text: str) -> Iterator[Command]:
    for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text):
        words = span.split()
        if len(words) > 1 and words[0] in _TOLD_INLINE and not words[1].startswith("="):
            yield Command(page, heading, " ".join(words), inline=True)


@dataclass(frozen=True, slots=True)
class Rule:
    """Of the commands in which `pattern` is found: why they are not run, or what stands there in a test, and why."""

    pattern: str
    why: str
    instead: str | None = None


EXCUSED = (
    Rule(r"^git clone ", "gets the checkout that the test is in"),
    Rule(r"^(\S*/)?pip install (?!'\.)|^(apt-get|dnf|npm) |^python3 -m venv \.venv", "installs packages from an index"),
    Rule(r"^make (run|test|check|bench\S*|soak|generated)\b", "sets up an environment from an index, and takes long"),
    Rule(r"python benchmarks/(?!labelled_clips)", "measures for minutes, and rewrites its page"),
    Rule(r"adainf fetch (?!--check)", "needs a model hub: tests/adainf/test_fetch.py has one"),
    Rule(
        r"imagenet_500 .*calibration/profiles|--profile efficientnet-lite0 --images", "of photographs not shipped here"
    ),
    Rule(r"^scp ", "copies to another box; the scenario copies on this one"),
    Rule(r"^torchrun ", "tests/adainf/training/test_ranks.py runs both, and compares with what one process finds"),
    Rule(r"\bday\.trace", "a day of the running service: its recording has a test of its own in the scenario"),
)
"""Commands that are not run, each with the reason. A page's command is run, or it stands here."""

EXCUSED_PAGES = {"docs/results.md": "hours of training and measuring on data that are not shipped: its figures' origin"}

_SMALL = r"cifar/resnet20 --weights {folder}/resnet20.safetensors --threads 1"
SUBSTITUTED = (
    Rule(
        r"(?<=pretrain )--backbone cifar/resnet18",
        "a network that takes no time",
        "--threads 1 --backbone cifar/resnet20",
    ),
    Rule(r"timm/tf_efficientnet_lite0", "a network that takes no time", _SMALL),
    Rule(r'openclip/ViT-B-32 --labels "[^"]*"', "the same, without a hub", _SMALL),
    Rule(r"--minutes \d+", "a training of two steps", "--steps 2 --batch 8"),
    Rule(r"(?<=adainf train) (?!.*--steps)", "a training of two steps", " --steps 2 --batch 8 "),
    Rule(r"(?<=adainf train) ", "small inputs", " --resolutions 16 "),
    Rule(r"(?<=adainf calibrate) ", "few branches", " --branches 6 --zoom 0 "),
    Rule(
        r"(?<=adainf calibrate) (?=.*--run)",
        "one strength",
        " --strength 1 --threads 1 --weights {folder}/resnet20.safetensors ",
    ),
    Rule(r"(?<=adainf evaluate) ", "no hub", " --weights {folder}/resnet20.safetensors --threads 1 "),
    Rule(r"(?<=adainf measure) ", "a second", " --seconds 1 --threads 1 "),
    Rule(r"(?<=adainf export) (?!.*efficientnet)", "no hub", " --weights {folder}/resnet20.safetensors "),
    Rule(
        r"(?<=adainf export) --profile efficientnet-lite0",
        "the small network",
        " --weights {folder}/resnet20.safetensors --profile mine.json",
    ),
    Rule(r"(?<=labelled_clips\.py) ", "seconds of a clip", " --seconds-each 0.5 "),
    Rule(r"OTHER_FOLDER|FOLDER", "pictures", "photographs"),
    Rule(r"\bRUN\b", "a run", "mine"),
    Rule(r"\bCAMERA\b|/path/to/video\.mp4|(?<=--source )0|rtsp://camera\.local/stream", "no camera is here", "{clip}"),
    Rule(r"(?<=adainfd run )(?=--source|--run)", "the small network", "--config {folder}/small.toml "),
    Rule(r"'\.\[demo\]'", "no index", "--quiet --no-deps --no-build-isolation --no-index ."),
    Rule(r"--profile base\.json", "the profile that the page has made of the same pictures", "--profile mine.json"),
    Rule(
        r"--run doorway --branch \S+", "the run that training.md has made", "--run runs/doorway --branch 16:111111111"
    ),
    Rule(r"edge1\.local", "this box", "127.0.0.1"),
    Rule(r"edge2\.local:5600", "a box that is away", "127.0.0.1:5699"),
    Rule(r"broker\.local", "a broker that is away", "127.0.0.1"),
)
"""What stands in a test in place of hardware, hubs and long computations."""

ON_A_BOX = re.compile(r"README\.md, Install it|docs/install\.md|docs/publishing\.md, Keys|docs/relay\.md")
"""Pages and headings that speak of an installed box: tests/systemd/scenario.py follows them; others need a folder."""


def excuse(command: Command) -> str | None:
    """Why a command is not run; None where it is."""
    if command.inline:
        return "told within a sentence: it is known, with its options, and a block tells it in full"
    if command.page in EXCUSED_PAGES:
        return EXCUSED_PAGES[command.page]
    return next((rule.why for rule in EXCUSED if re.search(rule.pattern, command.text)), None)


def to_run(page: str, heading: str | None = None) -> list[Command]:
    """What is run of a page, or of what stands below one heading."""
    return [told for told in commands(page) if heading in (None, told.heading) and excuse(told) is None]


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
