"""A family of networks in the daemon: each answers within the budgets that it is best for, and messages name it."""

import json
import re
import signal
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import structlog
from adainfd.answering.admission import RegionRequest
from adainfd.answering.audit import Audit
from adainfd.answering.auditing import Auditor
from adainfd.answering.inference import Looker, Shown
from adainfd.answering.session import RegionSession
from adainfd.config.configuration import Configuration
from adainfd.model.recogniser import load_recogniser
from adainfd.model.selection import read_profile
from adainfd.wire.observing import NOBODY
from daemons import START_SECONDS, Program, listening, write_video
from families import LARGE, LITTLE, Family
from jsonschema import Draft202012Validator

from adainf.backbones import Options, load
from adainf.branch import REFERENCE, Branch
from adainf.control import Budget, Costs, Decider, Policy, Signals
from adainf.engines.torch import TorchEngine
from adainf.profile import Profile
from adainf.recogniser import LabelColumns, Recogniser
from adainf.schedulers import Choice
from adainf.sensors import Readings

Launch = Callable[..., Program]
Receive = Callable[[float], tuple[str, dict[str, Any]]]
SCHEMAS = {
    kind: json.loads((Path(__file__).parents[2] / "docs" / "schemas" / f"{kind}.json").read_text(encoding="utf-8"))
    for kind in ("result", "status")
}
MOST_OF_THE_LITTLE = 0.7


def recogniser_of(family: Family, folder: Path, **model: str) -> Recogniser:
    """As the daemon loads it."""
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in model.items())
    configuration = Configuration.read(family.configuration(folder / "c.toml", bind="ipc:///nowhere", model=lines))
    return load_recogniser(configuration, read_profile(configuration.model), structlog.get_logger())


def budget(most: float, more: str = "") -> str:
    return f"[budget]\nminimum = 0.1\nmaximum = {most}\n{more}"


def result(receive: Receive, wanted: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
    """The next result that is wanted."""
    for _ in range(1000):
        topic, message = receive(START_SECONDS)
        if topic.startswith("result/"):
            Draft202012Validator(SCHEMAS["result"]).validate(message)
            if wanted(message):
                return message
    raise AssertionError("none of a thousand results is wanted")


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_each_branch_has_the_scores_of_its_network_and_no_other_network_is_opened(
    family: Family, tmp_path: Path, engine: str
) -> None:
    recogniser = recogniser_of(family, tmp_path, engine=engine)
    assert list(recogniser.engine.outlines) == [REFERENCE, LITTLE]
    picture = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    for text, name in ((f"{LITTLE}/24:111111111", LITTLE), ("32:111111111111111", LARGE)):
        alone = TorchEngine({REFERENCE: load(f"cifar/{name}", Options(str(family.weights[name])))})
        branch = Branch.parse(text)
        path = Branch.parse(branch.path)
        given, expected = (
            runner.run([runner.prepare(picture, of.resolution, of.network)], [of])
            for runner, of in ((recogniser.engine, branch), (alone, path))
        )
        np.testing.assert_allclose(given, expected, rtol=0, atol=1e-4)


def test_scores_are_published_on_the_scale_of_the_reference(family: Family, tmp_path: Path) -> None:
    """Networks are sure of themselves in different measure; evidence of both is pooled."""
    profile = Profile.read(family.profile)
    large, little, unwanted = profile.networks
    scaled = little.model_copy(update={"scale": 3.0})
    profile.model_copy(update={"networks": (large, scaled, unwanted)}).write(tmp_path / "scaled.json")
    recogniser = recogniser_of(replace(family, profile=tmp_path / "scaled.json"), tmp_path)
    engine = recogniser.engine
    looker = Looker(recogniser, Costs.of(recogniser.table.frontier, {}), top=10)
    picture = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    shown = Shown(SimpleNamespace(number=1, at=0.0, time=0.0), picture, lambda: True)  # type: ignore[arg-type]
    for choice, scale in ((recogniser.table.frontier[0], 3.0), (recogniser.table.frontier[-1], 1.0)):
        view = RegionSession(LabelColumns.of((), engine.class_names), Decider(Policy()))
        look = looker.prepare(view, shown, looker.along(choice, view), Signals())
        assert look is not None
        branch = choice.branch
        (scores,) = engine.run([engine.prepare(picture, branch.resolution, branch.network)], [branch])
        shares = np.exp(scale * scores) / np.exp(scale * scores).sum()
        published = {label.index: label.score for label in looker.run([look])[0].answer.labels}
        assert published == pytest.approx(dict(enumerate(shares.tolist())), abs=1e-4)


@pytest.fixture
def running(
    family: Family, launch: Launch, clip: Path, ipc: str, tmp_path: Path
) -> Iterator[tuple[Program, Path, Path, Receive]]:
    """A daemon with a page and a trace, its policy, its trace, and what it publishes."""
    policy, trace = tmp_path / "p.toml", tmp_path / "t.trace"
    policy.write_text(budget(1.0))
    file = family.configuration(
        tmp_path / "c.toml", bind=ipc, cameras=[{"name": "door", "source": str(clip), "loop": True}]
    )
    file.write_text(f"{file.read_text()}[web]\nbind = '127.0.0.1:0'\n")
    with listening(ipc) as receive:
        program = launch("run", "--config", file, "--policy", policy, "--record", trace)
        yield program, policy, trace, receive


def test_networks_change_with_the_budget_and_everything_names_them(
    running: tuple[Program, Path, Path, Receive], run: Any, ipc: str
) -> None:
    program, policy, trace, receive = running
    first = result(receive)
    assert (first["plan"]["network"], first["plan"]["branch"]) == (LARGE, "32:111111111111111")
    ready = program.await_event("ready")
    assert ready["networks"] == [LARGE, LITTLE]
    assert ready["backbone"] == f"cifar/{LARGE}"
    policy.write_text(budget(0.5))
    program.process.send_signal(signal.SIGHUP)
    less = result(receive, lambda message: message["budget"]["fraction"] <= 0.5)
    assert (less["plan"]["network"], less["plan"]["branch"]) == (LITTLE, "24:111111111"), repr(less["budget"])
    assert less["plan"]["weights"] == "base"
    assert 0.3 < less["plan"]["macs_fraction"] <= 0.5
    assert less["plan"]["expected_accuracy"] == pytest.approx(0.7, abs=0.2)

    tail = run("tail", "--connect", ipc, "--count", "2").stdout
    assert f"{LITTLE}/24:111111111" in tail
    watched = run("watch", "--once", "--connect", ipc, COLUMNS="180").stdout
    assert re.search(rf"^here  ready  {LARGE}, {LITTLE} on .* \(onnx\)$", watched, re.MULTILINE), watched
    assert f"{LITTLE}/24:111111111" in watched
    page = program.named("web")[0]["address"]
    with urllib.request.urlopen(f"http://{page}/state", timeout=10) as answer:
        state = json.loads(answer.read())
    assert state["model"]["networks"] == [LARGE, LITTLE]
    assert state["cameras"][0]["plan"]["network"] == LITTLE
    with urllib.request.urlopen(f"http://{page}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    for branch, name in (("32:111111111111111", LARGE), ("24:111111111", LITTLE)):
        labels = f'branch="{branch}",camera="door",network="{name}"'
        assert re.search(rf"^adainf_branch_frames_total\{{{labels}\}} [1-9]", metrics, re.MULTILINE), metrics
    with listening(ipc, b"status/here") as hear:
        told = next(status for _ in range(100) if (status := hear(START_SECONDS)[1])["model"] is not None)
    Draft202012Validator(SCHEMAS["status"]).validate(told)
    assert told["model"]["networks"] == [LARGE, LITTLE]

    program.process.send_signal(signal.SIGTERM)
    assert program.ended(10) == 0
    checked = run("replay", trace, "--check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "0 of" in checked.stdout
    assert f'"branch":"{LITTLE}/24:111111111"' in trace.read_text()
    assert '"branch":"32:111111111111111"' in trace.read_text()


def test_evidence_goes_on_from_one_network_to_the_other(
    family: Family, launch: Launch, ipc: str, tmp_path: Path
) -> None:
    policy = tmp_path / "p.toml"
    policy.write_text(budget(1.0, "[evidence]\ncurve = [[0.5, 1.0]]\n"))
    still = write_video(tmp_path / "still.avi", 50, moves=lambda _: False)
    file = family.configuration(
        tmp_path / "c.toml", bind=ipc, cameras=[{"name": "door", "source": str(still), "loop": True}]
    )
    with listening(ipc, b"result/") as receive:
        program = launch("run", "--config", file, "--policy", policy)
        before = result(receive, lambda message: message["looks"] >= 5)
        assert before["plan"]["network"] == LARGE
        policy.write_text(budget(MOST_OF_THE_LITTLE, "[evidence]\ncurve = [[0.5, 1.0]]\n"))
        program.process.send_signal(signal.SIGHUP)
        after = result(receive, lambda message: message["plan"]["network"] == LITTLE)
    assert after["looks"] > before["looks"]
    assert after["labels"][0]["label"] == before["labels"][0]["label"]  # a cheaper look counts little


def test_a_still_scene_is_looked_at_again_by_the_larger_network(
    family: Family, launch: Launch, run: Any, ipc: str, tmp_path: Path
) -> None:
    still = write_video(tmp_path / "still.avi", 100, moves=lambda _: False)
    (tmp_path / "p.toml").write_text(
        budget(
            1.0, "[motion]\ncurve = [[0.0, 0.4]]\n[reuse]\nchange = 0.01\nseconds = 1\n[second_look]\nsavings = 1.0\n"
        )
    )
    trace = tmp_path / "t.trace"
    file = family.configuration(tmp_path / "c.toml", bind=ipc, cameras=[{"name": "one", "source": str(still)}])
    with listening(ipc, b"result/") as receive:
        program = launch("run", "--config", file, "--policy", tmp_path / "p.toml", "--record", trace)
        looked = result(receive, lambda m: m["plan"]["chosen_by"] == "second_look" and m["plan"]["network"] == LARGE)
        reused = result(receive)
    assert (reused["plan"]["chosen_by"], reused["plan"]["network"]) == ("reuse", LARGE)
    assert reused["labels"] == looked["labels"]
    assert program.ended(20) == 0
    second = [json.loads(line)["second_look"] for line in trace.read_text().splitlines() if '"kind":"frame"' in line]
    assert any(look["branch"].startswith("32:") for look in second if look is not None)
    assert run("replay", trace, "--check").returncode == 0


def test_audits_compare_the_little_network_with_the_reference(family: Family, tmp_path: Path) -> None:
    recogniser = recogniser_of(family, tmp_path)
    engine, space = recogniser.engine, recogniser.profile.space
    policy = Policy.model_validate({"audit": {"share": 1.0}})
    labels = LabelColumns.of((), engine.class_names)
    looker = Looker(recogniser, Costs.of(recogniser.table.frontier, {}), top=1)
    auditor = Auditor(recogniser, lambda: Readings(cpu_foreign=0.0), NOBODY)
    expected = Audit()
    view = RegionSession(labels, Decider(policy))
    ways = [choice for choice in recogniser.table.frontier if choice.branch != space.full]
    for number in range(30):
        picture = np.random.default_rng(number).integers(0, 256, (40, 60, 3), np.uint8)
        captured: Any = SimpleNamespace(number=number, at=0.0, time=0.0)
        shown = Shown(captured, picture, lambda: True)
        choice: Choice = ways[number % len(ways)]
        look = looker.prepare(view, shown, looker.along(choice, view), Signals())
        assert look is not None
        view.answer = looker.run([look])[0].answer
        request: Any = SimpleNamespace(budget=Budget(1.0, "maximum"))
        auditor.audit("door", RegionRequest(view, captured, request, recogniser.table), shown, reused=False)
        scores = [
            engine.run([engine.prepare(picture, branch.resolution, branch.network)], [branch])[0]
            for branch in (choice.branch, space.full)
        ]
        expected.note(str(choice.branch), bool(scores[0].argmax() == scores[1].argmax()))
    assert view.audit == expected
    assert {branch.partition("/")[0] for branch in expected.frames} >= {LITTLE}
    assert 0 < sum(expected.agreed.values()) < sum(expected.frames.values())
