"""The commands that the pages tell, in their order: what stands in place of some in a test, and which are not run.

`tests/test_documented_commands.py` follows the pages that need nothing but a folder, `tests/systemd/scenario.py` those
that speak of an installed box.
"""

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["EXCUSED", "ON_A_BOX", "PAGES", "SUBSTITUTED", "Command", "commands", "excuse", "to_run"]

REPOSITORY = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "calibration/README.md",
    "examples/README.md",
    *sorted(
        str(file.relative_to(REPOSITORY))
        for folder in ("docs", "benchmarks")
        for file in (REPOSITORY / folder).rglob("*.md")
    ),
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
            kind = "output" if fence[1] in ("", "text") else fence[1]
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
    Rule(r"^python3 -m venv reader|^reader/bin/", "tests/test_client_package.py runs them, with what is built here"),
    Rule(r"^(\S*/)?pip install (?!'\.)|^(apt-get|dnf|npm) |^python3 -m venv \.venv", "installs packages from an index"),
    Rule(
        r"^make (run|test|check|bench\S*|gpu-pack|soak|generated)\b",
        "sets up an environment from an index, and takes long",
    ),
    Rule(r"python benchmarks/(?!labelled_clips)", "measures for minutes, and rewrites its page"),
    Rule(r"^bash build/gpu/run", "needs an NVIDIA GPU"),
    Rule(r"adainf fetch (?!--check)", "needs a model hub: tests/adainf/test_fetch.py has one"),
    Rule(
        r"imagenet_500 .*calibration/profiles|\befficientnet-lite\.json|--profile efficientnet-lite0 --images",
        "of photographs not shipped here",
    ),
    Rule(r"^scp ", "copies to another box; the scenario copies on this one"),
    Rule(r"^torchrun ", "tests/adainf/training/test_ranks.py runs both, and compares with what one process finds"),
    Rule(r"^adainfd label .* --serve", "waits for a browser: tests/adainfd/labelling/test_page.py opens one"),
    Rule(r"\bday\.trace", "a day of the running service: its recording has a test of its own in the scenario"),
)
"""Commands that are not run, each with the reason. A page's command is run, or it stands here."""

EXCUSED_PAGES = {
    "benchmarks/reports/results.md": "hours of training and measuring on data that are not shipped",
}

_SMALL = r"cifar/resnet20 --weights {folder}/resnet20.safetensors --threads 1"
_FAMILY = "--threads 1 --branches 20 " + "".join(
    f"--backbone cifar/{name} --weights {name}={{folder}}/{name}.safetensors " for name in ("resnet32", "resnet20")
)
SUBSTITUTED = (
    Rule(
        r"(?<=pretrain )--backbone cifar/resnet18",
        "a network that takes no time",
        "--threads 1 --backbone cifar/resnet20",
    ),
    Rule(r"(--backbone timm/\w+ ){3}", "networks that take no time", _FAMILY),
    Rule(r"timm/tf_efficientnet_lite0", "a network that takes no time", _SMALL),
    Rule(r"timm/mobilenetv4_conv_small\S* --weights \S+", "a network that takes no time", _SMALL),
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
    Rule(
        r"--profile efficientnet-lite0(?= --out (gate|road))",
        "the small network",
        "--profile mine.json --weights {folder}/resnet20.safetensors --threads 1",
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
    Rule(r"--run doorway --branch \S+", "the run that train.md has made", "--run runs/doorway --branch 32:111111111"),
    Rule(r"(?<=adainfd tail --count 5)$", "its own socket, beside other tests", " --connect ipc://{folder}/stream"),
    Rule(r"edge1\.local", "this box", "127.0.0.1"),
    Rule(r"edge2\.local:5600", "a box that is away", "127.0.0.1:5699"),
    Rule(r"broker\.local", "a broker that is away", "127.0.0.1"),
)
"""What stands in a test in place of hardware, hubs and long computations."""

ON_A_BOX = re.compile(
    r"README\.md, Install it|docs/how-to/install\.md|docs/how-to/publish\.md, Keys|docs/how-to/relay\.md"
)
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
