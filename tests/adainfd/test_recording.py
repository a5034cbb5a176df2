"""A trace of a running daemon: a reload starts, changes and ends it, and it can be replayed exactly."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import daemons
import pytest
from adainfd.base.logs import configure
from adainfd.config.configuration import Configuration, RecordSection
from adainfd.replaying.decisions import replayed
from adainfd.replaying.policies import named
from adainfd.tracing.lines import Header
from adainfd.tracing.recording import Recording, check, target_of
from daemons import Network, Program, assert_refused

from adainf.base.errors import InvalidInputError

HEADER = Header(host="here", recorded_at=0.0, policy={}, profile={}, branches=(), times={})
POLICY = """
[budget]
minimum = 0.1
mean = 0.5
[motion]
curve = [[0.0, 0.4], [0.02, 1.0]]
[evidence]
curve = [[0.5, 0.9]]
[reuse]
change = 0.01
seconds = 0.4
[second_look]
savings = 1.0
"""


def test_a_reload_starts_changes_and_ends_it(
    tmp_path: Path, launch: Callable[..., Program], run: Callable[..., Any], network: Network, clip: Path, ipc: str
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (tmp_path / "p.toml").write_text(POLICY)
    gate = {"left": [0.0, 0.0, 0.6, 1.0], "right": [0.4, 0.0, 1.0, 1.0]}
    cameras: list[dict[str, object]] = [
        {"name": "door", "source": str(clip), "loop": True},
        {"name": "yard", "source": str(clip), "loop": True, "policy": "low-latency", "regions": gate},
    ]
    config = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)
    told = config.read_text().replace("[model]", f'[model]\npolicy = "{tmp_path}/p.toml"')
    config.write_text(told)
    daemon = launch("run", "--config", config, STATE_DIRECTORY=str(state))
    with daemons.listening(ipc) as receive:

        def heard(wanted: Callable[[str, dict[str, Any]], bool]) -> dict[str, Any]:
            return next(m for t, m in iter(lambda: receive(daemons.START_SECONDS), None) if wanted(t, m))

        def reloaded(section: str) -> dict[str, Any]:
            config.write_text(told + section)
            daemon.process.send_signal(signal.SIGHUP)
            return heard(lambda _, m: str(m.get("state")).startswith("reload"))

        def beat() -> dict[str, Any]:
            return heard(lambda topic, m: topic == "status/here" and m["cameras"] is not None)

        heard(lambda topic, m: topic == "result/here/yard" and m["frame"] > 20)
        assert beat()["recording"] is None
        # It begins amid the life of the views, whose controllers and answers are older.
        assert str(state / "day.trace") in reloaded('\n[record]\nfile = "day.trace"\n')["detail"]
        last = heard(lambda topic, _: topic == "result/here/door")["frame"]
        heard(lambda topic, m: topic == "result/here/door" and m["frame"] > last + 50)
        assert beat()["recording"] == str(state / "day.trace")
        assert daemon.await_event("recording", 5)["file"] == str(state / "day.trace")

        refused = reloaded('\n[record]\nfile = "no/day.trace"\n')
        assert refused["state"] == "reload_failed"
        assert "no/day.trace: cannot be written" in refused["detail"]
        assert beat()["recording"] == str(state / "day.trace")

        reloaded(f'\n[record]\nfile = "{tmp_path}/short.trace"\nmegabytes = 0.02\n')
        assert daemon.await_event("recording_full", 20)["file"] == f"{tmp_path}/short.trace"
        heard(lambda _, m: str(m.get("recording")).endswith("short.trace (full: 0.02 MB)"))
        assert "recording" not in str(reloaded("")["detail"])
        assert beat()["recording"] is None

        # What was recorded before stays, and is continued.
        size = (state / "day.trace").stat().st_size
        reloaded('\n[record]\nfile = "day.trace"\n')
        last = heard(lambda topic, _: topic == "result/here/yard")["frame"]
        heard(lambda topic, m: topic == "result/here/yard" and m["frame"] > last + 10)
    daemon.process.terminate()
    assert daemon.ended(10) == 0
    assert (tmp_path / "short.trace").stat().st_size <= 20_000
    assert (state / "day.trace").stat().st_size > size
    assert [event["lost"] for event in daemon.named("recording_ended")] == [0, 0]
    assert [event["earlier_trace"] for event in daemon.named("recording")] == [None, None, "continued"]

    for trace in (state / "day.trace", tmp_path / "short.trace"):
        result = run("replay", trace, "--check", COLUMNS="120")
        assert result.returncode == 0, result.stdout
        assert " 0 of " in f" {result.stdout.splitlines()[-1]}"
    # Another policy is in force for the camera or region that is named, else for those that have none of their own.
    hard = tmp_path / "hard.toml"
    hard.write_text("[budget]\nmaximum = 0.3\nminimum = 0.1\n")
    trace, views = state / "day.trace", {"door", "yard/left", "yard/right"}
    for argument, cut in (
        (f"{hard}", {"door"}),
        (f"yard={hard}", {"yard/left", "yard/right"}),
        (f"yard/left={hard}", {"yard/left"}),
    ):
        decisions = replayed(trace, named([argument])).decisions
        most = {view: max(d.budget.fraction for d in decisions if d.camera == view) for view in views}
        assert {view for view in views if most[view] <= 0.3} == cut
        assert {d.camera for d in decisions if d.deadline_ms is not None} == {"yard/left", "yard/right"} - cut
    assert_refused(run("replay", trace, "--policy", f"gate={hard}"), 78, "gate", "door, yard")


def test_a_file_that_is_no_trace_is_not_overwritten(
    tmp_path: Path, run: Callable[..., Any], network: Network, clip: Path, ipc: str
) -> None:
    config = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[{"name": "one", "source": str(clip)}])
    result = run("run", "--config", config, "--record", config)
    assert result.returncode == 78
    assert "is no trace" in result.stderr.splitlines()[-1]
    assert "[model]" in config.read_text()


def test_checks_refuse_a_place_that_the_daemon_would_refuse(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    check(Configuration(record=RecordSection(file="day.trace")))  # a start makes the state folder
    for folder in ("state", "folder"):
        (tmp_path / folder).mkdir()
    (tmp_path / "policy.toml").write_text("[budget]\n")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    log = configure()
    for file in (
        *("day.trace", "../folder/day.trace", "/dev/null", "../empty.trace"),
        *(
            "../folder",
            ".",
            "/",
            "a/day.trace",
            "../policy.toml",
            "../loop",
            "../policy.toml/x",
            "x" * 300,
            "../folder/",
        ),
    ):
        configuration = Configuration(record=RecordSection(file=file))
        told = []
        for tried in (check, lambda asked: Recording(HEADER, log).take_up(target_of(asked))):
            try:
                tried(configuration)
                told.append("good")
            except InvalidInputError:
                told.append("refused")
        assert told in (["good"] * 2, ["refused"] * 2), (file, told)


def test_check_and_doctor_look_at_the_place_of_a_recording(
    tmp_path: Path, run: Callable[..., Any], network: Network, clip: Path, ipc: str
) -> None:
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[{"name": "door", "source": str(clip)}])
    file.write_text(f'{file.read_text()}[record]\nfile = "{tmp_path}"\n')
    assert_refused(run("check-config", file), 78, str(tmp_path), "Is a directory")
    looked = run("doctor", file)
    assert looked.returncode != 0
    assert "fail  recording" in looked.stdout
