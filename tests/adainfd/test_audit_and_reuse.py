from collections.abc import Callable
from pathlib import Path
from typing import Any

import daemons
import pytest
from adainfd.answering.audit import Audit
from daemons import Network, Program
from hypothesis import given
from hypothesis import strategies as st

Launch = Callable[..., Program]


def test_audit_weighs_this_camera_more_the_more_it_has_seen() -> None:
    audit = Audit()
    assert audit.corrected("24:11", 0.8, 0.9) == 0.8
    for _ in range(20):
        audit.note("24:11", False)
    assert audit.corrected("24:11", 0.8, 0.9) == pytest.approx(0.4)
    assert audit.corrected("32:11", 0.8, 0.9) == 0.8


@given(st.lists(st.booleans(), max_size=60), st.floats(0, 1), st.floats(0, 1))
def test_corrected_accuracy_is_a_probability(seen: list[bool], accuracy: float, agreement: float) -> None:
    audit = Audit()
    for agrees in seen:
        audit.note("b", agrees)
    assert 0 <= audit.corrected("b", accuracy, agreement) <= 1


def test_audit_is_kept_and_nonsense_is_an_empty_one(tmp_path: Path) -> None:
    audit = Audit({"b": 3}, {"b": 2})
    audit.save(tmp_path / "a.json")
    assert Audit.load(tmp_path / "a.json") == audit
    for nonsense in ("", "[]", '{"frames": {"b": 1}, "agreed": {"b": 2}}', '{"frames": 3, "agreed": {}}'):
        (tmp_path / "a.json").write_text(nonsense)
        assert Audit.load(tmp_path / "a.json") == Audit()
    assert Audit.load(tmp_path / "none.json") == Audit()


def results(receive: Callable[[float], tuple[str, dict[str, Any]]], count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) < count:
        _, message = receive(daemons.START_SECONDS)
        if message["schema"] == "adainf.result/1":
            found.append(message)
    return found


def test_a_still_scene_is_answered_from_the_last_answer_for_a_bounded_time(
    tmp_path: Path, launch: Launch, network: Network, ipc: str
) -> None:
    video = daemons.write_video(tmp_path / "still.avi", 50, moves=lambda _: False)
    (tmp_path / "p.toml").write_text("[reuse]\nchange = 0.01\nseconds = 0.5\n")
    config = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[{"name": "one", "source": str(video)}])
    program = launch("run", "--config", config, "--policy", tmp_path / "p.toml")
    with daemons.listening(ipc) as receive:
        found = results(receive, 45)
    ran = [message for message in found if message["plan"]["chosen_by"] == "lookup"]
    assert 3 <= len(ran) <= 6
    for message in found:
        reused = message["plan"]["chosen_by"] == "reuse"
        assert (message["plan"]["macs"] == 0) == reused
        assert (message["timing_ms"]["forward"] == 0) == reused
        assert message["plan"]["macs_fraction"] <= message["budget"]["fraction"]
    assert program.ended(10) == 0


def test_a_still_scene_is_looked_at_again_once_its_answer_is_out(
    tmp_path: Path, launch: Launch, network: Network, ipc: str
) -> None:
    video = daemons.write_video(tmp_path / "still.avi", 75, moves=lambda _: False)
    (tmp_path / "p.toml").write_text(
        "[budget]\nminimum = 0.1\n[motion]\ncurve = [[0.0, 0.4]]\n[evidence]\ncurve = [[0.5, 0.9]]\n"
        "[reuse]\nchange = 0.01\nseconds = 1\n[second_look]\nsavings = 1.0\n"
    )
    config = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[{"name": "one", "source": str(video)}])
    program = launch("run", "--config", config, "--policy", tmp_path / "p.toml")
    with daemons.listening(ipc, b"result/") as receive:
        found: list[dict[str, Any]] = []
        while not found or found[-1]["plan"]["chosen_by"] != "second_look":
            found.append(receive(daemons.START_SECONDS)[1])
        found += [receive(10)[1] for _ in range(5)]
    looked = next(message for message in found if message["plan"]["chosen_by"] == "second_look")
    answered = [message for message in found if message["frame"] == looked["frame"]]
    assert [message["plan"]["chosen_by"] for message in answered] == ["reuse", "second_look"]
    assert answered[0]["published_at"] <= looked["published_at"]
    assert 0.4 < looked["plan"]["macs_fraction"] <= looked["budget"]["fraction"]
    assert looked["budget"]["limited_by"] in ("savings", "maximum", "deadline")
    # The first frame had the full budget; its answer expired, the budget of a still picture gave a cheaper one.
    assert found[found.index(answered[0]) - 1]["plan"]["macs_fraction"] <= 0.4
    for message in found[found.index(looked) + 1 :]:
        assert (message["plan"]["chosen_by"], message["plan"]["branch"]) == ("reuse", looked["plan"]["branch"])
        assert message["labels"] == looked["labels"]
    assert [message["sequence"] for message in found] == list(range(1, len(found) + 1))
    assert (found[0]["looks"], looked["looks"]) == (1, 3)
    assert program.ended(10) == 0
    counts = program.named("frames")[0]
    assert counts["captured"] == 75 == counts["published"] + counts["reused"] + counts["dropped_newer_frame"]
    assert counts["second_looks"] >= 1


def test_audited_frames_are_published_and_kept_for_the_next_start(
    tmp_path: Path, launch: Launch, network: Network, clip: Path, ipc: str
) -> None:
    (tmp_path / "p.toml").write_text("[budget]\nmaximum = 0.5\n[audit]\nshare = 0.5\n")
    config = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[{"name": "aud", "source": str(clip)}])
    seen = []
    for _ in range(2):
        program = launch("run", "--config", config, "--policy", tmp_path / "p.toml")
        with daemons.listening(ipc, b"status/here/aud") as receive:
            while (message := receive(daemons.START_SECONDS)[1])["state"] != "ended":
                pass
        assert program.ended(5) == 0
        seen.append(sum(audited["frames"] for audited in (message["audit"] or {}).values()))
    if not seen[0]:
        pytest.skip("the box was never idle, and an audit waits for that")
    assert seen[1] > seen[0]
