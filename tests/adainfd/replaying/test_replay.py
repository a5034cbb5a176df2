import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import daemons
import pytest
from daemons import Network, Program, assert_refused, await_true

Launch = Callable[..., Program]
POLICY = """
[budget]
minimum = 0.1
mean = 0.5
mean_slack = 1.0
[motion]
curve = [[0.0, 0.4], [0.02, 1.0]]
[reuse]
change = 0.001
seconds = 0.4
"""


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory, network: Network, clip: Path, environment: dict[str, str]) -> Path:
    """What a daemon recorded of the clip, played once."""
    folder = tmp_path_factory.mktemp("trace")
    policy = folder / "policy.toml"
    policy.write_text(POLICY)
    config = network.configuration(
        folder / "c.toml", bind=f"ipc://{folder}/s", cameras=[{"name": "one", "source": str(clip)}]
    )
    program = daemons.start(
        ["run", "--config", config, "--policy", policy, "--record", folder / "t.trace"], folder, environment
    )
    try:
        assert program.ended(daemons.START_SECONDS) == 0, program.said
    finally:
        program.kill()
    return folder / "t.trace"


def frames(trace: Path) -> int:
    return len(trace.read_text().splitlines()) - 1


def test_recorded_policy_gives_the_recorded_budgets(trace: Path, run_forked: Callable[..., Any]) -> None:
    result = run_forked("replay", trace, "--check")
    assert result.returncode == 0, result.stdout
    assert f"0 of {frames(trace)} budgets differ" in result.stdout


def test_only_branches_that_were_kept_ready_are_chosen_again(
    trace: Path, tmp_path: Path, run_forked: Callable[..., Any]
) -> None:
    head, *lines = trace.read_text().splitlines()
    header = json.loads(head)
    assert set(header["branches"]) <= set(header["times"])
    header["branches"] = header["branches"][-1:]
    (tmp_path / "t.trace").write_text("\n".join([json.dumps(header), *lines]))
    result = run_forked("replay", tmp_path / "t.trace", "--check")
    assert f"{len(lines)} of {len(lines)} budgets differ" in result.stdout
    assert "replayed 1.0 by minimum" in result.stdout


def test_check_finds_a_budget_that_was_changed(trace: Path, tmp_path: Path, run_forked: Callable[..., Any]) -> None:
    lines = trace.read_text().splitlines()
    changed = json.loads(lines[20])
    changed["budget"]["fraction"] = 0.123
    (tmp_path / "t.trace").write_text("\n".join([*lines[:20], json.dumps(changed), *lines[21:]]))
    result = run_forked("replay", tmp_path / "t.trace", "--check")
    assert result.returncode == 1
    assert f"1 of {frames(trace)} budgets differ" in result.stdout
    assert "recorded 0.123" in result.stdout


def test_another_policy_shows_the_difference_and_draws(trace: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    picture = tmp_path / "p.png"
    (tmp_path / "eager.toml").write_text("[budget]\nminimum = 0.5\nmaximum = 0.5\n")
    result = run("replay", trace, "--policy", tmp_path / "eager.toml", "--plot", picture, COLUMNS="120")
    assert result.returncode == 0, result.stderr
    (reused,) = [line for line in result.stdout.splitlines() if "answers reused" in line]
    before, after = (float(cell.strip(" %")) for cell in reused.split("│")[2:4])
    assert before > 20
    assert after == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_trace_cut_short_is_replayed_to_where_it_ends(
    trace: Path, tmp_path: Path, run_forked: Callable[..., Any]
) -> None:
    (tmp_path / "t.trace").write_bytes(trace.read_bytes()[:-100])
    result = run_forked("replay", tmp_path / "t.trace", "--check")
    assert result.returncode == 0
    assert f"breaks off at line {frames(trace) + 1}" in result.stdout
    assert f"0 of {frames(trace) - 1} budgets differ" in result.stdout


def with_frame(text: str, **changes: Any) -> str:
    """With something else in its fifth line, a frame's."""
    lines = text.splitlines()
    lines[4] = json.dumps({**json.loads(lines[4]), **changes})
    return "\n".join(lines)


def with_last_look(text: str, branch: str) -> str:
    """As if the recording began when a branch had looked already."""
    head, *frames = text.splitlines()
    last = {
        "number": 1, "at": 0.0, "branch": branch, "macs": 1, "macs_fraction": 0.1, "expected_accuracy": 0.5,
        "looks_here": 1,
    }  # fmt: skip
    view = {"kind": "view", "camera": "one", "controller": {}, "last": last}
    return "\n".join([head, json.dumps(view), *frames])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda text: with_frame(text, branch="9:1"), ["t.trace", "branch '9:1' is not possible"]),
        (lambda text: with_frame(text, branch="9:1", chosen_by="scheduler"), ["branch '9:1' is not possible"]),
        (lambda text: with_frame(text, branch="nosuch/32:111111111"), ["branch 'nosuch/32:111111111' is not possible"]),
        (
            lambda text: with_frame(text, branch="nosuch/32:111111111", chosen_by="scheduler"),
            ["branch 'nosuch/32:111111111' is not possible"],
        ),
        (
            lambda text: with_frame(
                text,
                second_look={"budget": {"fraction": 1.0, "limited_by": "savings"}, "branch": "x/32:1", "forward_ms": 1},
            ),
            ["branch 'x/32:1' is not possible"],
        ),
        (
            lambda text: with_last_look(text, "nosuch/32:111111111"),
            ["last look at one", "branch 'nosuch/32:111111111'"],
        ),
        (lambda text: text.replace('"name":"resnet20"', '"name":"a b"'), ["its profile is damaged"]),
        (lambda text: with_frame(text, granted=-1e308), ["granted -1e+308 is not possible"]),
        (lambda _: '{"kind":"header","x":' + "[" * 100_000, ["is not a trace"]),
        (lambda text: text.replace('"host":"', '"host":"\udcff'), ["is not a trace"]),
        (lambda _: "", ["is not a trace"]),
        (lambda text: "\x00" + text, ["is not a trace"]),
        (lambda text: text.replace("adainf.trace/1", "adainf.trace/9"), ["adainf.trace/9", "adainf.trace/1"]),
        (lambda text: text.replace('"minimum":0.1', '"minimum":7'), ["its policy is damaged"]),
        (lambda text: text.replace('"droppable":"', '"droppable":"x'), ["its profile is damaged"]),
    ],
)
def test_refused_traces(
    trace: Path, tmp_path: Path, run_forked: Callable[..., Any], change: Callable[[str], str], named: list[str]
) -> None:
    (tmp_path / "t.trace").write_text(change(trace.read_text()), errors="surrogateescape")
    assert_refused(run_forked("replay", tmp_path / "t.trace"), 78, "t.trace", *named)


def test_refused_arguments(trace: Path, tmp_path: Path, run_forked: Callable[..., Any]) -> None:
    assert_refused(run_forked("replay", tmp_path / "none"), 78, "none", "no such file")
    assert_refused(run_forked("replay", trace, "--check", "--policy", "balanced"), 78, "--check")
    assert_refused(run_forked("replay", trace, "--policy", "nope"), 78, "nope", "balanced")


def test_reload_is_all_or_nothing(tmp_path: Path, launch: Launch, network: Network, clip: Path, ipc: str) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[budget]\nmaximum = 0.9\n")
    config = network.configuration(
        tmp_path / "c.toml", bind=ipc, cameras=[{"name": "one", "source": str(clip), "loop": True}]
    )
    program = launch("run", "--config", config, "--policy", policy, "--record", tmp_path / "t.trace")
    with daemons.listening(ipc) as receive:

        def budget() -> float:
            while (message := receive(daemons.START_SECONDS))[1]["schema"] != "adainf.result/1":
                pass
            fraction: float = message[1]["budget"]["fraction"]
            return fraction

        def state(wanted: str) -> dict[str, object]:
            return next(m for _, m in iter(lambda: receive(10), None) if m.get("state") == wanted)

        assert budget() == 0.9
        policy.write_text("[budget]\nmaximum = 0.9\nminimun = 0.1\n")
        program.process.send_signal(signal.SIGHUP)
        assert "did you mean minimum?" in str(state("reload_failed")["detail"])
        assert budget() == 0.9
        policy.write_text("[budget]\nmaximum = 0.5\n")
        program.process.send_signal(signal.SIGHUP)
        state("reloaded")
        await_true(lambda: budget() == 0.5, 5, "the new policy's budget")
        config.write_text(config.read_text().replace('name = "one"', 'name = "two"'))
        program.process.send_signal(signal.SIGHUP)
        assert "camera: cannot change" in str(state("reload_failed")["detail"])
    program.process.send_signal(signal.SIGTERM)
    assert program.ended(5) == 0
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "t.trace").read_text().splitlines()]
    assert kinds.count("policy") == 1


def test_unwritable_trace_is_refused(
    tmp_path: Path, run_forked: Callable[..., Any], network: Network, clip: Path
) -> None:
    config = network.configuration(
        tmp_path / "c.toml", bind=f"ipc://{tmp_path}/s", cameras=[{"name": "one", "source": str(clip)}]
    )
    result = run_forked("run", "--config", config, "--record", tmp_path / "no" / "t.trace")
    assert result.returncode == 78
    assert "t.trace: cannot be written" in result.stderr.splitlines()[-1]
