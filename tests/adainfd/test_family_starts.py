"""How a family starts: with nothing exported, beside a GPU, without the weights of one network; and what is refused."""

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from adainfd.config.configuration import Configuration
from adainfd.doctor.settings import check
from adainfd.model.selection import needed_first, read_profile, wanted_branches
from daemons import START_SECONDS, Program, assert_refused, await_true, listening
from families import LARGE, LITTLE, Family

from adainf.backbones import weights as weight_files
from adainf.backbones.cifar import network
from adainf.base.errors import InvalidInputError
from adainf.branch import REFERENCE
from adainf.profile import Profile

Launch = Callable[..., Program]
EVEN = "[budget]\nminimum = 0.1\nmaximum = {most}\n"
LEFT_OUT = f"network {LITTLE}: is left out; install the file "


@pytest.fixture
def cold(tmp_path: Path) -> dict[str, str]:
    """Folders of this test's own, all empty."""
    return {f"XDG_{kind}_HOME": str(tmp_path / kind) for kind in ("CACHE", "STATE")}


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """The folder that tells the stand-in for a GPU what to do."""
    folder = tmp_path / "told"
    folder.mkdir()
    return folder


@pytest.fixture
def with_gpu(told: Path) -> dict[str, str]:
    """The environment of a box with a stand-in for a GPU."""
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests / "stand_in_box"), str(tests), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": path, "ADAINF_STAND_IN": str(told), "XDG_STATE_HOME": str(told / "state")}


@pytest.fixture
def configure(family: Family, clip: Path, ipc: str, tmp_path: Path) -> Callable[..., Path]:
    """Write a configuration of the family with one camera; more: as `Family.configuration` takes it."""

    def write(of: Family = family, **more: Any) -> Path:
        cameras = [{"name": "door", "source": str(clip), "loop": True}]
        return of.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras, **more)

    return write


@pytest.fixture
def without(family: Family, tmp_path: Path) -> dict[str, Path]:
    """The family's weights, those of the little network being nowhere."""
    return {LARGE: family.weights[LARGE], LITTLE: tmp_path / "nowhere.safetensors"}


def profile_of(file: Path) -> Profile:
    return read_profile(Configuration.read(file).model)


def policy_of(most: float, folder: Path) -> Path:
    file = folder / "p.toml"
    file.write_text(EVEN.format(most=most))
    return file


def plans(receive: Callable[[float], tuple[str, dict[str, Any]]], count: int) -> list[dict[str, Any]]:
    return [receive(START_SECONDS)[1]["plan"] for _ in range(count)]


def has_pytorch(program: Program) -> bool:
    return "libtorch" in Path(f"/proc/{program.process.pid}/maps").read_text()


def end(program: Program) -> None:
    program.process.send_signal(signal.SIGTERM)
    assert program.ended(20) == 0, program.said
    assert "Traceback" not in program.said


def test_with_nothing_exported_both_networks_answer_and_pytorch_stays_outside(
    launch: Launch, run: Any, configure: Callable[..., Path], cold: dict[str, str], ipc: str, tmp_path: Path
) -> None:
    file, trace = configure(), tmp_path / "t.trace"
    profile = profile_of(file)
    policy = policy_of(0.5, tmp_path)
    daemon = launch("run", "--config", file, "--policy", policy, "--record", trace, **cold)
    first = {str(branch) for branch in needed_first(profile.of_networks([REFERENCE, LITTLE]))}
    with listening(ipc, b"result/") as receive:
        (plan,) = plans(receive, 1)
        assert f"{plan['network']}/{plan['branch']}" in first
        assert daemon.await_event("prepared")["branches"] == len(wanted_branches(profile))
        plans(receive, 2)
    assert daemon.named("exporting")[0]["backbone"] == f"cifar/{LARGE}, cifar/{LITTLE}"
    assert not has_pytorch(daemon)
    assert not daemon.named("engine")
    end(daemon)
    assert run("replay", trace, "--check").returncode == 0

    again = launch("run", "--config", file, "--policy", policy, **cold)
    assert again.await_event("ready")["networks"] == [LARGE, LITTLE]
    with listening(ipc, b"result/") as receive:
        assert {plan["network"] for plan in plans(receive, 3)} == {LITTLE}
    assert not again.named("exporting")
    end(again)


def test_processors_answer_along_both_networks_until_the_gpu_does(
    launch: Launch, configure: Callable[..., Path], with_gpu: dict[str, str], told: Path, ipc: str, tmp_path: Path
) -> None:
    file, policy = configure(), policy_of(0.7, tmp_path)
    (told / "wait").touch()
    daemon = launch("run", "--config", file, "--policy", policy, **with_gpu)
    assert daemon.await_event("ready")["engine"] == "onnx"
    with listening(ipc, b"result/") as receive:
        assert {plan["network"] for plan in plans(receive, 10)} == {LITTLE}
        assert not daemon.named("changed_over")
        (told / "wait").unlink()
        assert daemon.await_event("changed_over")["device"] == "stand-in"
        assert daemon.await_event("prepared")["branches"] == len(wanted_branches(profile_of(file)))
        assert {plan["network"] for plan in plans(receive, 3)} == {LITTLE}
        policy.write_text(EVEN.format(most=1.0))
        daemon.process.send_signal(signal.SIGHUP)
        while plans(receive, 1)[0]["network"] != LARGE:
            pass
    assert not daemon.named("engine")
    end(daemon)


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_without_the_weights_of_one_network_the_others_answer_and_one_warning_says_what_to_install(
    launch: Launch,
    run: Any,
    configure: Callable[..., Path],
    without: dict[str, Path],
    cold: dict[str, str],
    ipc: str,
    tmp_path: Path,
    engine: str,
) -> None:
    file = configure(weights=without, model=f'engine = "{engine}"')
    policy, trace = policy_of(0.9, tmp_path), tmp_path / "t.trace"
    for _ in range(2):  # the second time all of the other network is exported
        daemon = launch("run", "--config", file, "--policy", policy, "--record", trace, **cold)
        assert daemon.await_event("ready")["networks"] == [LARGE]
        with listening(ipc, b"result/") as receive:
            found = plans(receive, 5)
        assert {(plan["network"], plan["branch"]) for plan in found} == {(LARGE, "32:111101111011110")}
        assert has_pytorch(daemon) == (engine == "torch")
        end(daemon)
        (warning,) = daemon.named("engine")
        assert warning["detail"].startswith(f"{LEFT_OUT}{without[LITTLE]} (")
        assert run("replay", trace, "--check").returncode == 0


def test_on_a_box_with_a_gpu_the_others_answer_too(
    launch: Launch,
    configure: Callable[..., Path],
    without: dict[str, Path],
    with_gpu: dict[str, str],
    ipc: str,
) -> None:
    daemon = launch("run", "--config", configure(weights=without), **with_gpu)
    assert daemon.await_event("ready")["networks"] == [LARGE]
    assert daemon.await_event("prepared")["branches"] == 2
    with listening(ipc, b"result/") as receive:
        assert {plan["network"] for plan in plans(receive, 3)} == {LARGE}
    end(daemon)
    (warning,) = daemon.named("engine")
    assert LEFT_OUT in warning["detail"]


def test_a_network_whose_weights_come_later_answers_from_the_next_start_on(
    launch: Launch,
    family: Family,
    configure: Callable[..., Path],
    without: dict[str, Path],
    cold: dict[str, str],
    ipc: str,
    tmp_path: Path,
) -> None:
    file, policy = configure(weights=without), policy_of(0.7, tmp_path)
    first = launch("run", "--config", file, "--policy", policy, **cold)
    assert first.await_event("ready")["networks"] == [LARGE]
    end(first)
    without[LITTLE].write_bytes(family.weights[LITTLE].read_bytes())
    later = launch("run", "--config", file, "--policy", policy, **cold)
    assert later.await_event("ready")["networks"] == [LARGE, LITTLE]
    later.await_event("prepared")
    with listening(ipc, b"result/") as receive:
        await_true(lambda: plans(receive, 1)[0]["network"] == LITTLE, START_SECONDS, "an answer of the little network")
    assert not later.named("engine")
    end(later)


def test_without_the_weights_of_the_reference_the_start_is_refused(
    run: Any, family: Family, configure: Callable[..., Path], cold: dict[str, str], tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere.safetensors"
    file = configure(weights={LARGE: nowhere, LITTLE: family.weights[LITTLE]})
    assert_refused(run("run", "--config", file, **cold), 78, f"weights {nowhere}: no such file")
    assert_refused(run("run", "--config", configure(weights={}), **cold), 78, f"cifar/{LARGE} has none to fetch")


def test_damaged_weights_of_any_network_are_refused(
    run: Any, run_forked: Any, family: Family, configure: Callable[..., Path], cold: dict[str, str], tmp_path: Path
) -> None:
    noise = tmp_path / "noise.safetensors"
    noise.write_bytes(os.urandom(1000))
    file = configure(weights={LARGE: family.weights[LARGE], LITTLE: noise})
    assert_refused(run("run", "--config", file, **cold), 78, f"weights {noise}: must be")
    file = configure(weights={LARGE: family.weights[LARGE], LITTLE: family.weights[LARGE]})
    assert_refused(run_forked("check-config", file), 78, f"do not fit cifar/{LITTLE}")


def test_classes_that_differ_are_refused_with_the_first_difference(
    run: Any, family: Family, configure: Callable[..., Path], cold: dict[str, str], tmp_path: Path
) -> None:
    labels = [f"class {number}" for number in range(10)]
    named = tmp_path / "named.safetensors"
    weight_files.write(named, network(LITTLE, 10), [*labels[:7], "a lorry", *labels[8:]])
    file = configure(weights={LARGE: family.weights[LARGE], LITTLE: named})
    difference = f"network {LITTLE}: must have the classes of {LARGE}; class 7 is 'a lorry', not 'class 7'"
    for _ in range(2):  # with nothing exported, and where both are known from before
        assert_refused(run("run", "--config", file, **cold), 78, difference)
    with pytest.raises(InvalidInputError, match=re.escape(difference)):
        check(file)
    fewer = tmp_path / "fewer.safetensors"
    weight_files.write(fewer, network(LITTLE, 9), labels[:9])
    file = configure(weights={LARGE: family.weights[LARGE], LITTLE: fewer})
    assert_refused(run("run", "--config", file, **cold), 78, "class 9 is missing, not 'class 9'")


def test_weights_of_a_network_that_the_profile_lacks_are_refused(
    run_forked: Any, family: Family, configure: Callable[..., Path]
) -> None:
    file = configure(weights={**family.weights, "resnet19": family.weights[LITTLE]})
    says = "weights of network resnet19: the profile's networks are resnet32, resnet20, resnet44"
    assert_refused(run_forked("run", "--config", file), 78, says)
    assert_refused(run_forked("check-config", file), 78, says)


@pytest.mark.parametrize("value", ["7", "[]", "{resnet20 = 7}", '{"" = "x"}', '""'])
def test_weights_that_are_neither_text_nor_a_table_are_refused(
    run_forked: Any, configure: Callable[..., Path], value: str
) -> None:
    file = configure()
    file.write_text(re.sub("weights = .*", f"weights = {value}", file.read_text()))
    assert_refused(run_forked("run", "--config", file), 78, str(file), "model.weights")


def test_the_profile_alone_says_which_networks_run(family: Family, configure: Callable[..., Path]) -> None:
    file = configure()
    assert "backbone" not in file.read_text()
    assert f"cifar/{LARGE}, cifar/{LITTLE}" in check(file)
    for backbone in (LARGE, LITTLE):
        check(configure(model=f'backbone = "cifar/{backbone}"'))
    with pytest.raises(InvalidInputError, match="is of cifar/resnet32, cifar/resnet20, cifar/resnet44, the model is"):
        check(configure(model='backbone = "cifar/resnet56"'))


@pytest.fixture
def examine(run: Any) -> Callable[[Path], tuple[int, str]]:
    def findings(file: Path) -> tuple[int, str]:
        result: subprocess.CompletedProcess[str] = run("doctor", file)
        assert result.stderr == ""
        return result.returncode, result.stdout

    return findings


def test_the_doctor_names_each_network_and_how_to_get_what_is_missing(
    examine: Any, configure: Callable[..., Path], without: dict[str, Path]
) -> None:
    status, said = examine(configure())
    assert status == 0, said
    for name in (LARGE, LITTLE):
        assert re.search(rf"^ok +weights +{name} \(cifar/{name}\): 10 classes$", said, re.MULTILINE), said
    assert "resnet44" not in said
    status, said = examine(configure(weights=without))
    assert status == 0, said
    assert re.search(rf"^ok +weights +{LARGE} ", said, re.MULTILINE), said
    missing = (
        rf"^warn +weights +{LITTLE} \(cifar/{LITTLE}\): are missing, so .*\n +→ install the file {without[LITTLE]}$"
    )
    assert re.search(missing, said, re.MULTILINE), said
    assert LEFT_OUT in check(configure(weights=without))


def test_without_the_reference_the_doctor_names_the_other_networks_too(
    examine: Any, configure: Callable[..., Path], family: Family, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere.safetensors"
    status, said = examine(configure(weights={LARGE: nowhere, LITTLE: family.weights[LITTLE]}))
    assert status == 1, said
    missing = rf"^fail +weights +{LARGE} \(cifar/{LARGE}\): .*no such file\n +→ install the file {nowhere}$"
    assert re.search(missing, said, re.MULTILINE), said
    assert re.search(rf"^ok +weights +{LITTLE} \(cifar/{LITTLE}\): 10 classes$", said, re.MULTILINE), said
