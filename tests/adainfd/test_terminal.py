"""What comes from elsewhere is text to a terminal: names, labels, details, errors, whoever has written them."""

import io
import json
import os
import pty
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from adainfd import demo, doctor, logs, watch
from adainfd.client import Message, Result, Status
from adainfd.control import Budget
from adainfd.doctor.finding import warn
from adainfd.replaying.decisions import Decision, Decisions
from adainfd.replaying.report import table
from adainfd.service.overview import Overview
from adainfd.tail import line
from adainfd.wire import messages
from adainfd.wire.keys import KeyPair
from generated import generous
from hypothesis import given
from hypothesis import strategies as st
from rich.console import RenderableType
from terminals import HOSTILE, Terminal, assert_harmless, obeyed

from adainf import output

_WITHIN_SECONDS = 40.0
COUNTS = messages.Dropped(0, 0)
NO_SIGNALS = messages.Signals(None, None, None, None, None, None)
LITERAL = ("\\x1b[97;45mPWN", "[red]PWN[/red][link=", "\\u202eNWP")
# Neither JSON nor MessagePack brings a surrogate.
ON_THE_WIRE = [text for kind, text in HOSTILE.items() if kind != "surrogate"]
anything = st.text(st.characters(), max_size=60) | st.sampled_from(sorted(HOSTILE.values()))


def result(text: str, sequence: int = 1) -> Result:
    """A result all of whose texts are this one."""
    return Result(
        host=text,
        camera=text,
        region=text,
        sequence=sequence,
        frame=1,
        captured_at=1.0,
        published_at=2.0,
        labels=[messages.Label(text, 0, 0.5)] * 2,
        budget=messages.Budget(0.5, text),
        plan=messages.Plan("32:1\n", "lookup", 1_000_000, 0.5, 0.5),
        signals=NO_SIGNALS,
        timing_ms=messages.Timing(1.0, 1.0, 1.0, 3.0),
        dropped=COUNTS,
    )


def statuses(text: str, sequence: int = 1) -> tuple[Status, Status]:
    """Of a daemon and of a camera of it that is offline, whose texts are this one."""
    common: dict[str, Any] = {"host": text, "sequence": sequence, "published_at": 1.0, "detail": text, "code": text}
    model = messages.Model(text, text, text, text, 1, 1.0)
    camera = f"offline {text}"
    whole = Status(state="degraded", model=model, lost={text: 1}, recording=text, **common)
    return whole, Status(state="offline", camera=camera, **common)


def sent(message: Message, sequence: int) -> list[bytes]:
    """The parts of a message on the wire; JSON has escapes for what UTF-8 cannot hold."""
    body = json.dumps(msgspec.to_builtins(msgspec.structs.replace(message, sequence=sequence))).encode()
    topic = f"{message.schema.split('.')[1].split('/')[0]}/{message.host}/{getattr(message, 'camera', None)}"
    return [topic.encode("utf-8", "backslashreplace"), body]


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[str]:
    """The address of a publisher that keeps to the schema and means no good."""
    address = f"ipc://{tmp_path}/s"
    over = threading.Event()

    def publish() -> None:
        with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
            socket.linger = 0
            socket.bind(address)
            sequence = 0
            while not over.wait(0.1):
                sequence += 1
                socket.send_multipart([b"result/\x1b[97;45mPWN", b"\x1b[97;45mPWN"])
                for text in ON_THE_WIRE:
                    for message in (*statuses(text), result(text)):
                        socket.send_multipart(sent(message, sequence))

    thread = threading.Thread(target=publish)
    thread.start()
    yield address
    over.set()
    thread.join()


def test_a_hostile_publisher_does_nothing_to_the_terminals_of_watch_and_tail(
    publisher: str, environment: dict[str, str], tmp_path: Path
) -> None:
    program = [sys.executable, "-m", "adainfd"]
    count = ["--count", str(len(ON_THE_WIRE)), "--connect", publisher]
    commands = (["watch", "--connect", publisher], ["tail", *count], ["tail", "--json", *count])
    watching, tailing, as_json = [Terminal([*program, *command], tmp_path, environment) for command in commands]
    try:
        watching.until(lambda written: all(text in written for text in LITERAL), _WITHIN_SECONDS)
        watching.process.send_signal(signal.SIGINT)
        shown, lines, whole = (terminal.ended(_WITHIN_SECONDS) for terminal in (watching, tailing, as_json))
        assert [terminal.process.returncode for terminal in (watching, tailing, as_json)] == [0, 0, 0]
        assert_harmless(shown)
        assert_harmless(lines)
        assert_harmless(whole, longest=1 << 20)
        assert all(text in lines for text in LITERAL)
        assert {json.loads(part)["labels"][0]["label"] for part in whole.splitlines()} == set(ON_THE_WIRE)
    finally:
        for terminal in (watching, tailing, as_json):
            terminal.close()


COMMANDS: dict[str, list[str]] = {
    "adainfd": [
        "check-config {}.toml",
        "keys show {}",
        "keys show keys",
        "replay {}",
        "rollback {}",
        "adopt {}.toml --run {}",
    ],
    "adainf": ["evaluate --profile {} --images .", "fetch --from {}", "export {} --out x"],
}


@pytest.mark.parametrize("program", COMMANDS)
def test_names_on_the_command_line_and_of_files_do_nothing_to_the_terminal(
    program: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """Each command on a terminal, one after the other in one process."""
    (tmp_path / "keys").mkdir()
    names = [HOSTILE[kind].replace("/", "")[:60] for kind in HOSTILE if kind not in ("long", "surrogate")]
    for name in names:
        KeyPair.new(tmp_path / "keys" / name)
        (tmp_path / "keys" / f"{name}.key_secret").unlink()
    arguments = [
        [word.format(name) for word in command.split()]
        for command in COMMANDS[program]
        for name in (names if "{}" in command else names[:1])
    ]
    module = {"adainf": "adainf.cli", "adainfd": "adainfd.cli"}[program]
    code = f"""
import json, sys
from {module} import main

for arguments in json.loads(sys.argv[1]):
    sys.argv = [{program!r}, *arguments]
    try:
        main()
    except SystemExit as ended:
        assert ended.code in (0, 78), ended.code
"""
    terminal = Terminal([sys.executable, "-c", code, json.dumps(arguments)], tmp_path, environment)
    try:
        written = terminal.ended(_WITHIN_SECONDS)
        assert terminal.process.returncode == 0, written
        assert_harmless(written)
        assert not obeyed(written)
        assert "Traceback" not in written
        assert all(text in written.replace("\r\n", "") for text in (LITERAL[0], "[red]PWN[red]", LITERAL[2]))
    finally:
        terminal.close()


def drawn(*shown: RenderableType) -> str:
    """As it goes to a terminal."""
    out = io.StringIO()
    console = output.console(file=out, force_terminal=True, width=240, color_system="standard")
    for part in shown:
        console.print(part)
    return out.getvalue()


def views(text: str) -> str:
    """All that is drawn or printed of what comes from elsewhere, each of its texts being this one."""
    overview, view = Overview(), demo._View()
    for message in (*statuses(text), result(text)):
        overview.published(message)
        view.take_in(message)
    view.model = messages.Model(text, text, text, text, 1, 1.0)
    decision = Decision(text, 1, 1.0, Budget(0.5, text), text, None, 0.5, 0.5, None, 1.0, None)
    made = Decisions([decision], 0, ())
    watched = [watch.view(overview.view(), "receiving", 1, width) for width in (240, 80)]
    return drawn(*watched, demo._picture(view), demo._summary(view), table(made, made, text), "\n") + "\n".join(
        [line(result(text)), doctor.line(warn(text, text, text))]
    )


ORDINARY = obeyed(views("door"))


@pytest.mark.generated
@given(text=anything)
@generous(60)
def test_nothing_that_is_drawn_takes_orders_from_a_text(text: str) -> None:
    written = views(text)
    assert_harmless(written)
    assert obeyed(written) <= ORDINARY


@pytest.mark.parametrize("text", [HOSTILE["markup"], "[/nothing]", "[bold", ":smile:", "[@click=x]y[/]"])
def test_markup_is_shown_as_it_is(text: str) -> None:
    written = views(text)
    assert obeyed(written) <= ORDINARY
    letters = re.sub(r"[^ ]", "q", text)
    assert written.count(text) == views(letters).count(letters) > 12


@pytest.mark.parametrize("on_terminal", [True, False])
def test_log_lines(on_terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    file = tmp_path / "log"
    target = theirs if on_terminal else os.open(file, os.O_WRONLY | os.O_CREAT)
    monkeypatch.setattr(sys, "stderr", os.fdopen(target, "w", closefd=False))
    lines = logs.LogLines(target)
    log = logs.configure(lines)
    for text in HOSTILE.values():
        log.warning("hostile", why=text, values=[text], table={text: text}, number=1, none=None)
        if on_terminal:
            written = os.read(ours, 1 << 16).decode()
            while not written.endswith("\n"):  # a terminal takes so much at once
                lines.retry()
                written += os.read(ours, 1 << 16).decode()
            assert_harmless(written)
            assert "97;45" not in "".join(obeyed(written))
            assert written.count("\n") == 1
        else:
            written = file.read_text(encoding="utf-8")
            assert written.isascii()
            assert_harmless(written, longest=1 << 20)
            assert json.loads(written.splitlines()[-1])["why"] == text
    for descriptor in {ours, theirs, target}:
        os.close(descriptor)
