"""What comes from elsewhere is text to a terminal: names, labels, details, errors, whoever has written them."""

import contextlib
import io
import json
import os
import pty
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from adainfd import doctor
from adainfd.base import logs
from adainfd.client import Message, Result, State, Status
from adainfd.doctor.finding import warn
from adainfd.replaying.decisions import Decision, Decisions
from adainfd.replaying.report import table
from adainfd.service.overview import Overview
from adainfd.terminal import demo, watch
from adainfd.terminal.tail import line, state_line
from adainfd.wire import messages
from adainfd.wire.keys import KeyPair
from generated import generous
from hypothesis import given
from hypothesis import strategies as st
from rich.console import RenderableType
from terminals import HOSTILE, Terminal, assert_harmless, obeyed

from adainf.base import output
from adainf.control import Budget

_WITHIN_SECONDS = 40.0
COUNTS = messages.Dropped(0, 0)
NO_SIGNALS = messages.ResultSignals(None, None, None, None, None, None)
LITERAL = ("\\x1b[97;45mPWN", "[red]PWN[/red][link=", "\\u202eNWP")
# Neither JSON nor MessagePack brings a surrogate.
ON_THE_WIRE = {kind: text for kind, text in HOSTILE.items() if kind != "surrogate"} | {
    "wide": "\uff30\uff37\uff2e" * 999
}
anything = st.text(st.characters(), max_size=60) | st.sampled_from(sorted(HOSTILE.values()))


def result(text: str, name: str | None = None, sequence: int = 1) -> Result:
    """A result whose words are this text, as far as they may be so long. name: of host and camera, else the text."""
    words = text[: messages.LONGEST_LABEL]
    return Result(
        host=name or text,
        camera=name or text,
        region=name or text,
        sequence=sequence,
        frame=1,
        captured_at=1.0,
        published_at=2.0,
        labels=[messages.Label(words, 0, 0.5)] * 2,
        budget=messages.ResultBudget(0.5, words),
        plan=messages.Plan("32:1\n", "lookup", 1_000_000, 0.5, 0.5),
        signals=NO_SIGNALS,
        timing_ms=messages.Timing(1.0, 1.0, 1.0, 3.0),
        dropped=COUNTS,
    )


def state(text: str, name: str | None = None, sequence: int = 1) -> State:
    """A state whose words are this text; text and name as of a result."""
    words, name = text[: messages.LONGEST_LABEL], name or text
    named: dict[str, Any] = {"host": name, "camera": f"states.{name}", "region": name, "sequence": sequence}
    return State(state=words, previous=words, options=[words], score=0.5, seconds=1.0, published_at=1.0, **named)


def statuses(text: str, name: str | None = None, sequence: int = 1) -> tuple[Status, Status]:
    """Of a daemon and of a camera of it that is offline; text and name as of a result."""
    words, text = text[: messages.LONGEST_LABEL], text[: messages.LONGEST_TEXT]
    common: dict[str, Any] = {"host": name or text, "sequence": sequence, "published_at": 1.0}
    common |= {"detail": text, "code": words}
    model = messages.Model(text, text, text, text, 1, 1.0)
    camera = f"offline.{name or text}"
    whole = Status(state="degraded", model=model, lost={words: 1}, recording=text, **common)
    return whole, Status(state="offline", camera=camera, **common)


def sent(message: Message) -> list[bytes]:
    """The parts of a message on the wire; JSON has escapes for what UTF-8 cannot hold."""
    body = json.dumps(msgspec.to_builtins(message)).encode()
    return [messages.topic_of(message).encode("utf-8", "backslashreplace"), body]


def allowed(turn: int) -> Iterator[list[bytes]]:
    """All that a publisher may say to do harm, each text by a camera and a host of its own."""
    kinds = list(ON_THE_WIRE)
    for kind in kinds[turn % len(kinds) :] + kinds[: turn % len(kinds)]:
        told = (ON_THE_WIRE[kind], kind, turn)
        yield from map(sent, (*statuses(*told), state(*told), result(*told)))


def refused(turn: int) -> Iterator[list[bytes]]:
    """What no publisher may say, and one ordinary result after it."""
    for text in ON_THE_WIRE.values():
        yield from map(sent, (*statuses(text, sequence=turn), state(text, sequence=turn), result(text, sequence=turn)))
    good = result("good", "door", turn)
    label = messages.Label("PWN" * messages.LONGEST_LABEL, 0, 0.5)
    for wrong in (
        msgspec.structs.replace(good, labels=[label]),
        msgspec.structs.replace(good, labels=[messages.Label("PWN", 0, 0.5)] * (messages.MOST_LABELS + 1)),
        msgspec.structs.replace(good, budget=messages.ResultBudget(1e300, "PWN")),
        msgspec.structs.replace(good, plan=messages.Plan("PWN\x1b[2J", "lookup", 1, 0.5, 0.5)),
        msgspec.structs.replace(good, frame=-1),
    ):
        yield sent(wrong)
    topic, body = sent(good)
    yield from (
        [b"result/\x1b[97;45mPWN", b"\x1b[97;45mPWN"],
        [b"result/" + b"PWN" * 9999, body],
        [topic, body.replace(b"good", b"PWN\xff\xfe")],
        [topic, body, b"PWN"],
        [topic, b'{"PWN":' + b"[" * 99_999],
        [topic, body.replace(b"door", b"yard")],
    )
    yield sent(good)


def invented(turn: int) -> Iterator[list[bytes]]:
    """The results of 3,000 cameras, each with as many long labels as may be; others at every second turn."""
    labels = msgspec.json.encode([messages.Label("\U0001f600" + "x" * (messages.LONGEST_LABEL - 1), 0, 0.5)] * 100)
    for number in range(3000):
        topic, body = sent(msgspec.structs.replace(result("x", f"x{turn % 2}-{number}", turn), labels=[]))
        yield [topic, body.replace(b'"labels": []', b'"labels": ' + labels)]


@contextlib.contextmanager
def publishing(folder: Path, said: Callable[[int], Iterable[list[bytes]]]) -> Iterator[str]:
    """The address of a publisher that says this at each turn, ten times a second at most."""
    address = f"ipc://{folder}/s"
    over = threading.Event()

    def publish() -> None:
        with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
            socket.linger = 0
            socket.bind(address)
            turn = 0
            while not over.wait(0.1):
                turn += 1
                for parts in said(turn):
                    socket.send_multipart(parts)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield address
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def on_terminals(folder: Path, environment: dict[str, str], *commands: list[str]) -> Iterator[list[Terminal]]:
    terminals = [Terminal([sys.executable, "-m", "adainfd", *command], folder, environment) for command in commands]
    try:
        yield terminals
    finally:
        for terminal in terminals:
            terminal.close()


def test_a_hostile_publisher_does_nothing_to_the_terminals_of_watch_and_tail(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with publishing(tmp_path, allowed) as address:
        count = ["--count", str(len(ON_THE_WIRE)), "--connect", address]
        commands = (["watch", "--connect", address], ["tail", *count], ["tail", "--json", *count])
        with on_terminals(tmp_path, environment, *commands) as terminals:
            watching = terminals[0]
            watching.until(lambda written: all(text in written for text in LITERAL), _WITHIN_SECONDS)
            watching.process.send_signal(signal.SIGINT)
            shown, lines, whole = (terminal.ended(_WITHIN_SECONDS) for terminal in terminals)
            assert [terminal.process.returncode for terminal in terminals] == [0, 0, 0]
    assert_harmless(shown)
    assert_harmless(lines)
    assert_harmless(whole, longest=1 << 20)
    assert all(text in lines for text in LITERAL)
    said = {text[: messages.LONGEST_LABEL] for text in ON_THE_WIRE.values()}
    told = [json.loads(part) for part in whole.splitlines()]
    assert {message["labels"][0]["label"] for message in told if message["schema"] == "adainf.result/1"} == said
    assert {message["state"] for message in told if message["schema"] == "adainf.state/1"} <= said


def test_what_no_publisher_may_say_is_passed_over_by_watch_and_tail(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with publishing(tmp_path, refused) as address:
        commands = (["watch", "--connect", address], ["tail", "--count", "3", "--connect", address])
        with on_terminals(tmp_path, environment, *commands) as (watching, tailing):
            lines = tailing.ended(_WITHIN_SECONDS)
            watching.until(lambda written: "good" in written, _WITHIN_SECONDS)
            watching.process.send_signal(signal.SIGINT)
            shown = watching.ended(_WITHIN_SECONDS)
            assert [watching.process.returncode, tailing.process.returncode] == [0, 0]
    assert lines.count("good") == 2 * 3  # label and rule
    assert_harmless(shown)
    assert_harmless(lines)
    assert "PWN" not in shown + lines


def resident(process: int) -> float:
    """Megabytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def test_cameras_without_end_neither_fill_the_memory_of_watch_nor_hide_what_it_shows(
    environment: dict[str, str], tmp_path: Path
) -> None:
    flood = threading.Event()

    def said(turn: int) -> Iterator[list[bytes]]:
        yield sent(result(f"turn{turn}.", "door", turn))
        yield from invented(turn) if flood.is_set() else ()

    def shown(written: str) -> int:
        return max(map(int, re.findall(r"turn(\d+)\.", written)), default=0)

    with (
        publishing(tmp_path, said) as address,
        on_terminals(tmp_path, environment, ["watch", "--connect", address]) as [watching],
    ):
        first = shown(watching.until(lambda written: shown(written) > 0, _WITHIN_SECONDS))
        before = resident(watching.process.pid)
        flood.set()
        watching.until(lambda written: "x1-" in written and shown(written) > first + 6, _WITHIN_SECONDS)
        grown = resident(watching.process.pid) - before
        watching.process.send_signal(signal.SIGINT)
        watching.ended(_WITHIN_SECONDS)
        assert watching.process.returncode == 0
    assert grown < 100


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
    overview, view = Overview(), demo._DemoView()
    for message in (*statuses(text), result(text), state(text), msgspec.structs.replace(state(text), camera=text)):
        overview.published(message)
        view.take_in(message)
    view.model = messages.Model(text, text, text, text, 1, 1.0)
    decision = Decision(text, 1, 1.0, Budget(0.5, text), text, None, 0.5, 0.5, None, 1.0, None)
    made = Decisions([decision], 0, ())
    watched = [watch.view(overview.view(), "receiving", 1, width) for width in (240, 80)]
    return drawn(*watched, demo._picture(view), demo._summary(view), table(made, made, text), "\n") + "\n".join(
        [line(result(text)), state_line(state(text)), doctor.line(warn(text, text, text))]
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
