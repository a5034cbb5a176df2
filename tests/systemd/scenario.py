"""What an owner and an operator see of the service in a real systemd; each test goes on where the one before ended.

Run by `test_scenario.py` as root in a system that is thrown away afterwards: nothing here is meant for a real one.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from booted import (
    ENDPOINT,
    ETC,
    FOLLOWER,
    MATERIAL,
    REPOSITORY,
    START_SECONDS,
    UNIT,
    WORK,
    configure,
    documented,
    files,
    follow,
    follower,
    journal,
    make,
    results_since,
    run,
    save,
    shown,
)
from daemons import await_true, listening
from documented import ON_A_BOX, PAGES, to_run
from following import Program
from paho.mqtt import client as paho

RELAY = "adainfd-relay@all"
STOP_SECONDS = 2.0
DONE = "install: done; edit /etc/adainf/edge.toml, then: systemctl enable --now adainfd@edge"
LAST = "Upgrade and uninstall"
POLICY = ETC / "policies" / "mine.toml"

pytestmark = pytest.mark.skipif("ADAINF_BOOTED" not in os.environ, reason="only in a system booted for it (boot.sh)")


@pytest.fixture(scope="module")
def before() -> set[str]:
    return files()


@pytest.fixture(scope="module", autouse=True)
def installed(before: set[str]) -> dict[str, str]:
    """First as README tells, then as docs/how-to/install.md does; what was said.

    The environment sees the packages of another one: torch would take minutes. README tells the same way for Jetson.
    """
    WORK.mkdir(parents=True)
    for name in ("resnet20.safetensors", "resnet20.json", "clip.mp4"):
        shutil.copy(MATERIAL / name, WORK)
    shutil.copy(MATERIAL / "clip.mp4", WORK / "footage.mp4")
    shutil.copytree(MATERIAL / "doorway", WORK / "doorway")
    text = f'[model]\nbackbone = "cifar/resnet20"\nweights = "{WORK}/resnet20.safetensors"\n'
    (WORK / "small.toml").write_text(f'{text}profile = "{WORK}/resnet20.json"\n', encoding="utf-8")
    make_environment, *then = to_run("README.md", "Install it")
    by_readme = follower()
    said = by_readme.follow([make_environment])
    (packages,) = Path("/opt/adainf/lib").glob("python3.*/site-packages")
    (packages / "shared.pth").write_text("/opt/packages\n", encoding="utf-8")
    said |= by_readme.follow(then)
    FOLLOWER.followed |= by_readme.followed
    said |= follow("Install")
    drop_in = Path(f"/etc/systemd/system/{UNIT}.service.d")
    drop_in.mkdir(parents=True)
    (drop_in / "test.conf").write_text("[Service]\nWatchdogSec=3\n", encoding="utf-8")
    run("systemctl", "daemon-reload")
    return said


def test_readme_leads_to_results(installed: dict[str, str]) -> None:
    assert (
        "door"
        not in installed[
            "adainfd tail                                        # in another terminal: results as they come"
        ]
    )


def test_shipped_configuration_is_good_and_for_its_group_alone() -> None:
    assert "good" in run("/usr/local/bin/adainfd", "check-config", "/etc/adainf/edge.toml")
    assert run("stat", "-c", "%U %G %a", "/etc/adainf/edge.toml").split() == ["root", "adainf", "640"]
    for folder in (ETC, ETC / "policies"):
        assert run("stat", "-c", "%U %G %a", str(folder)).split() == ["root", "adainf", "2755"]
    assert run("stat", "-c", "%U %G %a", str(ETC / "keys")).split() == ["root", "root", "700"]


def test_nothing_changed_nothing_said() -> None:
    """Neither when it is installed again, nor when the owner has changed a file that is the same in the new version."""
    mine = ETC / "policies" / "balanced.toml"
    shipped = mine.read_text(encoding="utf-8")
    mine.write_text("# mine\n", encoding="utf-8")
    assert make("install").splitlines() == [DONE]
    assert not list(ETC.rglob("*.new"))
    mine.write_text(shipped, encoding="utf-8")


@pytest.mark.parametrize("unit", [UNIT, RELAY])
def test_installed_unit_is_verified_silently(unit: str) -> None:
    assert run("systemd-analyze", "verify", f"{unit}.service") == ""


def test_active_only_after_a_result() -> None:
    for file in ("resnet20.safetensors", "resnet20.json", "clip.mp4"):
        run("install", "-m", "600", str(MATERIAL / file), str(ETC))
    save(POLICY, "[budget]\nmaximum = 0.9\n")
    configure("edge")
    *looks, start = documented("The first camera")
    assert start == f"systemctl enable --now {UNIT}"
    said = FOLLOWER.follow(to_run("docs/how-to/install.md", "The first camera")[:-1])
    assert list(said) == looks
    assert "good" in said[looks[0]]
    with listening(ENDPOINT, b"result/") as receive:
        starting = subprocess.Popen(start.split())
        first = receive(START_SECONDS)[1]
        assert starting.wait(START_SECONDS) == 0
    path = "/org/freedesktop/systemd1/unit/adainfd_40edge_2eservice"
    interface = "org.freedesktop.systemd1.Unit"
    told = run("busctl", "get-property", "org.freedesktop.systemd1", path, interface, "ActiveEnterTimestamp")
    assert first["sequence"] == 1
    assert first["published_at"] <= int(told.split()[1]) / 1e6
    status = run("systemctl", "status", UNIT)
    assert 'Status: "1 camera' in status
    assert "active (running)" in status


def test_owner_looks_into_it() -> None:
    said = follow("Look into it")
    assert len(said["adainfd tail --count 3"].splitlines()) == 3
    assert "door online" in said["adainfd watch --once"]
    assert said["curl --fail --silent http://127.0.0.1:9600/ready"] == "yes\n"
    assert '"event": "ready"' in said["journalctl --unit adainfd@edge --lines 20"]


def test_relay_passes_it_on() -> None:
    file = ETC / "all.toml"
    outlet = "tcp://127.0.0.1:5610"
    save(file, f'[publish]\nbind = ["{outlet}"]\n[[box]]\nconnect = "{ENDPOINT}"\n')
    follow("As a service", "docs/how-to/relay.md")
    try:
        with listening(outlet, b"result/") as receive:
            assert receive(START_SECONDS)[1]["camera"] == "door"
    except AssertionError:
        raise AssertionError(f"nothing passed on: {journal(RELAY)}") from None
    run("systemctl", "disable", "--now", RELAY, seconds=STOP_SECONDS)
    assert (shown("Result", RELAY), shown("ExecMainStatus", RELAY)) == ("success", "0")
    file.write_text("[publsh]\n", encoding="utf-8")
    run("systemctl", "start", RELAY, status=None)
    await_true(lambda: shown("ActiveState", RELAY) == "failed", 30, "the relay has failed")
    assert (shown("ExecMainStatus", RELAY), shown("NRestarts", RELAY)) == ("78", "0")
    file.unlink()


def test_hung_process_is_killed_and_back() -> None:
    process = shown("MainPID")
    os.kill(int(process), signal.SIGSTOP)
    await_true(lambda: shown("NRestarts") == "1", 30, "a restart by the watchdog")
    results_since(time.time())
    assert shown("MainPID") != process
    assert "watchdog" in journal(UNIT).lower()


def test_killed_process_is_back() -> None:
    os.kill(int(shown("MainPID")), signal.SIGKILL)
    await_true(lambda: shown("NRestarts") == "2", 30, "a restart")
    results_since(time.time())
    await_true(lambda: shown("ActiveState") == "active", START_SECONDS, "active")


def test_bad_policy_is_refused_and_seen() -> None:
    process = shown("MainPID")
    save(POLICY, "[budget]\nmaximum = 9\n")
    run("systemctl", "reload", UNIT)
    await_true(lambda: "reload failed" in run("systemctl", "status", UNIT), 10, "the failure in the status")
    status = run("systemctl", "status", UNIT)
    assert "policies/mine.toml: budget.maximum: 9" in status
    results_since(time.time())
    save(POLICY, "[budget]\nmaximum = 0.8\n")
    follow("Change it")
    await_true(lambda: "reload failed" not in shown("StatusText"), 10, "a good reload")
    assert (shown("MainPID"), shown("ActiveState")) == (process, "active")


def test_a_running_service_is_recorded() -> None:
    """As docs/how-to/install.md tells under "The policy"."""
    text = (REPOSITORY / "docs" / "how-to" / "install.md").read_text(encoding="utf-8").partition("**The policy.**")[2]
    section, commands = re.search(r"```toml\n(.*?)```\n\n(.*?)\n\n", text, re.DOTALL).groups()  # type: ignore[union-attr]
    reload, replay = (line.strip() for line in commands.splitlines())
    plain, process = (ETC / "edge.toml").read_text(encoding="utf-8"), shown("MainPID")
    (ETC / "edge.toml").write_text(f"{plain}\n{section}", encoding="utf-8")
    run(*reload.split())
    trace = Path("/var/lib/adainf/edge/day.trace")
    await_true(lambda: f"recording {trace}" in shown("StatusText"), 10, "the recording in the status")
    await_true(lambda: trace.stat().st_size > 30_000, START_SECONDS, "some frames")
    (ETC / "edge.toml").write_text(plain, encoding="utf-8")
    run(*reload.split())
    await_true(lambda: "recording" not in shown("StatusText"), 10, "its end in the status")
    assert '"event": "recording_ended"' in journal(UNIT)
    assert shown("MainPID") == process
    assert " 0 of " in f" {run('/usr/local/bin/adainfd', 'replay', str(trace), '--check').splitlines()[-1]}"
    without_plot = replay.partition(" --plot")[0].split()
    assert "replayed under" in run("env", "PATH=/usr/local/bin:/usr/bin", *without_plot)
    trace.unlink()


def test_confined_to_what_is_its_own() -> None:
    """A probe in the same unit: what it can write, and what of others it can read."""
    secret = Path("/home/somebody/secret")
    secret.parent.mkdir(parents=True)
    secret.write_text("for all of this home's friends\n", encoding="utf-8")
    (ETC / "keys" / "own.key").write_text("key\n", encoding="utf-8")
    (ETC / "keys" / "own.key").chmod(0o600)
    save(ETC / "mine.key_secret", "secret\n")
    probe = Path("/usr/local/lib/probe.py")
    probe.write_text(PROBE, encoding="utf-8")
    drop_in = Path("/etc/systemd/system/adainfd@probe.service.d")
    drop_in.mkdir()
    command = f"ExecStart=\nExecStart=/usr/bin/python3 {probe}\n"
    (drop_in / "probe.conf").write_text(f"[Service]\nType=oneshot\nWatchdogSec=0\n{command}", encoding="utf-8")
    run("systemctl", "daemon-reload")
    run("systemctl", "start", "adainfd@probe")
    said = json.loads(journal("adainfd@probe").partition("PROBE ")[2].splitlines()[0])
    assert set(said["written"]) == {
        "/var/lib/adainf/probe",
        "/var/cache/adainf/probe",
        "/run/adainf/probe",
        "/tmp",  # noqa: S108 -- its own, and gone afterwards, as the next
        "/var/tmp",  # noqa: S108
        "/dev/shm",  # noqa: S108 -- frames
    }
    assert said["read"] == ["/etc/adainf/edge.toml", "credentials/keys_own.key"]
    assert said["devices"] == []
    assert said["uid"] not in (0, 65534)
    for path in (probe, drop_in / "probe.conf", ETC / "keys" / "own.key", ETC / "mine.key_secret", secret):
        path.unlink()


PROBE = """
import json, os, pathlib
folders = ["/", "/etc", "/etc/adainf", "/etc/adainf/policies", "/opt/adainf", "/usr", "/usr/local/lib", "/var", "/home",
    "/var/lib", "/var/lib/adainf", "/var/cache", "/var/opt/adainf", "/run", "/run/adainf", "/root", "/home/somebody",
    "/var/lib/adainf/probe", "/var/cache/adainf/probe", "/run/adainf/probe", "/tmp", "/var/tmp", "/dev/shm", "/srv",
    "/sys/fs/cgroup", "/proc/sys/kernel", "/var/lib/adainf/edge", "/run/adainf/edge", "/srv/material", "/dev"]
written, read, devices = [], [], []
for folder in folders:
    try:
        file = pathlib.Path(folder, "probe")
        file.write_text("x")
        file.unlink()
        written.append(folder)
    except OSError:
        pass
credentials = pathlib.Path(os.environ["CREDENTIALS_DIRECTORY"])
for file in ("/etc/adainf/edge.toml", "/etc/shadow", "/etc/adainf/keys/own.key",
    "/etc/adainf/mine.key_secret", "/home/somebody/secret",
    "/root/.profile", credentials / "keys_own.key"):
    try:
        pathlib.Path(file).read_bytes()
        read.append(str(file).replace(str(credentials), "credentials"))
    except OSError:
        pass
for major, minor in ((8, 0), (254, 0), (1, 1)):
    try:
        os.mknod("/tmp/device", 0o60600, os.makedev(major, minor))
        devices.append(major)
    except OSError:
        pass
print("PROBE", json.dumps({"written": written, "read": read, "devices": devices, "uid": os.getuid()}), flush=True)
"""


def looked(*arguments: str, status: int | None = 0) -> str:
    """What `adainfd ARGUMENTS` of the owner, root, says."""
    return run("/usr/local/bin/adainfd", *arguments, status=status)


def test_keys_let_others_in() -> None:
    key, credential = "/etc/adainf/keys/edge.key_secret", "/run/credentials/adainfd@edge.service/keys_edge.key_secret"
    keys = ("key", key), ("clients", "/etc/adainf/clients")
    plain = (ETC / "edge.toml").read_text(encoding="utf-8")
    with_keys = "".join(f'{name} = "{value}"\n' for name, value in keys)
    (ETC / "edge.toml").write_text(plain.replace("[publish]\n", f"[publish]\n{with_keys}"), encoding="utf-8")
    told = follow("Let others read the stream")
    assert "door" in told[list(told)[-1]]
    refused = run("env", "PATH=/usr/local/bin:/usr/bin", "adainfd", "watch", "--once", status=69)
    assert "nothing from" in refused
    # As the document told before; for the service, and for root beside it.
    file, beside = ETC / "edge.toml", Path("/srv/edge.toml")
    for copy in (file, beside):
        copy.write_text(file.read_text(encoding="utf-8").replace(key, credential), encoding="utf-8")
    assert "keys            1 client may come in" in looked("doctor", str(file))
    assert "seen as user root" in looked("check-config", str(beside))
    beside.unlink()
    hidden = Path("/root/resnet20.json")
    hidden.write_bytes((ETC / "resnet20.json").read_bytes())
    assert "is hidden from the service" in looked("adopt", str(file), "--profile", str(hidden), status=78)
    hidden.unlink()
    assert f"seen as {UNIT}" in looked("adopt", str(file), "--profile", str(ETC / "resnet20.json"))
    (ETC / "edge.toml.before").unlink()
    (ETC / "edge.toml").write_text(plain, encoding="utf-8")
    for file in (ETC / "keys" / "edge.key", ETC / "keys" / "edge.key_secret", ETC / "clients" / "dashboard.key"):
        file.unlink()
    (ETC / "clients").rmdir()


def test_owner_looks_with_the_eyes_of_the_service() -> None:
    """All that is found here is well in root's eyes."""
    file, untimed = ETC / "edge.toml", ETC / "untimed.json"
    before = file.read_text(encoding="utf-8")
    timed = json.loads((ETC / "resnet20.json").read_text(encoding="utf-8"))
    untimed.write_text(json.dumps(timed | {"timings": []}), encoding="utf-8")
    good = before.replace(str(ETC / "resnet20.json"), str(untimed))
    file.write_text(good, encoding="utf-8")
    run("systemctl", "restart", UNIT)
    await_true(lambda: '"event": "measured"' in journal(UNIT), START_SECONDS, "timings")
    said = looked("doctor", str(file))
    assert f"{UNIT} (user adainfd-edge)" in said
    assert f"ok    service         {UNIT}.service is active" in said
    assert "kept from an earlier start" in said
    assert "ok    state folder    /var/lib/adainf/edge\n" in said
    assert "ok    cache folder    /var/cache/adainf/edge/onnx\n" in said

    hidden = Path("/tmp/clip.mp4"), Path("/home/owner/clip.mp4")  # noqa: S108
    hidden[1].parent.mkdir()
    for clip in hidden:
        clip.symlink_to(ETC / "clip.mp4")
    own = Path("/srv/own")
    policy, weights = own / "policies" / "mine.toml", own / "resnet20.safetensors"
    policy.parent.mkdir(parents=True)
    shutil.copy(POLICY, policy)
    shutil.copy(ETC / weights.name, weights)
    yard = f'[[camera]]\nname = "yard"\nsource = "{hidden[1]}"\n'
    moved = good.replace(str(POLICY), str(policy)).replace(str(ETC / weights.name), str(weights))
    file.write_text(moved.replace(str(ETC / "clip.mp4"), str(hidden[0])) + yard, encoding="utf-8")
    for path, mode in ((policy, 0o600), (policy.parent, 0o700), (weights, 0o640)):
        path.chmod(mode)
    said = looked("doctor", str(file), status=1)
    assert f"fail  policy          {policy.parent} cannot be read by the service" in said
    assert f"fail  weights         {weights} cannot be read by the service" in said
    assert f"fail  camera door     {hidden[0]} is hidden from the service" in said
    assert f"fail  camera yard     {hidden[1]} is hidden from the service" in said
    for remedy in re.findall(r"→ (chgrp .*)", said):
        run("sh", "-c", remedy)
    refused = looked("check-config", str(file), status=78)  # to light came what stood in that folder
    assert f"policy: {policy} cannot be read by the service; chgrp adainf" in refused
    run("sh", "-c", refused.rpartition("; ")[2])
    assert f"camera door: {hidden[0]} is hidden" in looked("check-config", str(file), status=78)

    file.write_text(before, encoding="utf-8")
    run("chown", "root:root", str(file))
    file.chmod(0o600)
    assert "good" in looked("check-config", str(file))  # handed over, as at each start
    run("systemctl", "stop", UNIT)
    said = looked("doctor", str(file))
    assert "127.0.0.1:5600 can be bound" in said
    assert "ok    confinement" in said
    assert not Path("/run/adainf/edge").exists()
    for path in (untimed, *hidden):
        path.unlink()
    shutil.rmtree(own)
    run("systemctl", "start", UNIT)


def test_stop_is_quick_and_clean() -> None:
    run("systemctl", "stop", UNIT, seconds=STOP_SECONDS)
    assert (shown("ActiveState"), shown("Result")) == ("inactive", "success")
    assert shown("ExecMainStatus") == "0"


def test_wrong_configuration_fails_once() -> None:
    configure("wrong", port=5601, more="polcy = 'x'")
    run("systemctl", "start", "adainfd@wrong", status=1)
    assert (shown("ActiveState", "adainfd@wrong"), shown("NRestarts", "adainfd@wrong")) == ("failed", "0")
    assert shown("ExecMainStatus", "adainfd@wrong") == "78"
    status = run("systemctl", "status", "adainfd@wrong", status=3)
    assert "adainfd: configuration /etc/adainf/wrong.toml: model.polcy: unknown key; did you mean policy?" in status
    assert "Traceback" not in journal("adainfd@wrong")


def test_missing_camera_is_degraded_and_recovers() -> None:
    configure("street", source="http://127.0.0.1:8089/clip.mp4", port=5602)
    run("systemctl", "start", "adainfd@street")
    assert shown("ActiveState", "adainfd@street") == "active"
    assert "degraded: door is offline" in run("systemctl", "status", "adainfd@street")
    with listening("tcp://127.0.0.1:5602", b"result/") as receive:
        run("systemd-run", "--unit=camera", "/usr/bin/python3", "-m", "http.server", "8089", "--directory", str(ETC))
        assert receive(START_SECONDS)[1]["camera"] == "door"
    run("systemctl", "stop", "adainfd@street", "camera")


def test_owner_makes_it_theirs() -> None:
    configure("edge")
    run("systemctl", "restart", UNIT)
    with closing(Program(Path("/opt/adainf/bin/python"), WORK, FOLLOWER.environment)) as FOLLOWER.here:
        said = follow("Make it yours")
    FOLLOWER.here = None
    assert json.loads((ETC / "doorway.json").read_text(encoding="utf-8"))["timings"]
    assert (Path("/var/lib/adainf-runs/doorway") / "profile.json").is_file()
    assert [text for command, text in said.items() if command.startswith("adainfd adopt")] != [""]
    assert shown("ActiveState") == "active"


def section(page: str, heading: str) -> tuple[list[str], list[str]]:
    """The files (TOML) and the commands that a page tells under a heading."""
    text = (REPOSITORY / "docs" / "how-to" / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    blocks = re.findall(r"```(toml|sh)\n(.*?)```", text.partition("\n## ")[0], re.DOTALL)
    files = [block for kind, block in blocks if kind == "toml"]
    return files, [line for kind, block in blocks if kind == "sh" for line in block.splitlines()]


def owner(folder: Path, *commands: str) -> str:
    """An owner's shell, as root in a folder; what the commands say."""
    said = ""
    for command in commands:
        said += run("env", "-C", str(folder), "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin", "sh", "-c", command)
    return said


@pytest.fixture
def box_with_keys() -> Iterator[Path]:
    """The service as docs/how-to/publish.md has it: keys for the network, sockets for this box. A folder to work in."""
    plain, hosts = (ETC / "edge.toml").read_text(encoding="utf-8"), Path("/etc/hosts")
    known = hosts.read_text(encoding="utf-8")
    hosts.write_text(f"{known}\n127.0.0.1 edge1.local broker.local\n192.0.2.1 edge2.local\n", encoding="utf-8")
    (ETC / "clients").mkdir(exist_ok=True)
    folder = Path("/root/owner")
    folder.mkdir()
    text = (REPOSITORY / "docs" / "how-to" / "publish.md").read_text(encoding="utf-8")
    publish = re.findall(r"```toml\n(\[publish\]\n.*?)```", text, re.DOTALL)[0]
    told = re.sub(r"\[publish\]\nbind = .*\n", publish, plain)
    (ETC / "edge.toml").write_text(told, encoding="utf-8")
    owner(folder, *section("publish.md", "Keys")[1], f"systemctl restart {UNIT}")
    yield folder
    run("systemctl", "stop", UNIT)
    (ETC / "edge.toml").write_text(plain, encoding="utf-8")
    hosts.write_text(known, encoding="utf-8")
    for path in [*ETC.glob("keys/*"), *(ETC / name for name in ("all.toml", "mqtt-password", "broker-ca.pem"))]:
        path.unlink(missing_ok=True)
    for path in (ETC / "clients", ETC / "boxes", ETC / "readers", folder):
        shutil.rmtree(path, ignore_errors=True)


def test_relay_as_its_page_tells(box_with_keys: Path) -> None:
    """With keys, between services and for programs of other users; then to a broker that wants TLS and a password."""
    folder, file = box_with_keys, ETC / "all.toml"
    (configuration,), commands = section("relay.md", "Many boxes at one address")
    file.write_text(configuration, encoding="utf-8")
    owner(folder, "cp /etc/adainf/keys/edge1.key .", "adainfd keys new edge2")
    here = [re.sub(r"^scp (\S+) edge1.local:", r"cp \1 ", command) for command in commands]
    assert "good" in owner(folder, *(command for command in here if not command.startswith("scp")))
    (of_broker,) = section("relay.md", "At an MQTT broker")[0]
    service = section("relay.md", "As a service")[1]
    assert service[1:2] == [f"systemctl enable --now {RELAY}"]
    owner(folder, *service)
    tail = "adainfd tail --count 1 --connect"
    try:
        assert "door" in owner(
            folder, f"{tail} tcp://127.0.0.1:5610 --key dashboard.key_secret --server {ETC}/keys/all.key"
        )
        for socket in ("relay-all/stream", "edge/stream", "edge/packed"):
            assert "door" in owner(Path("/"), f"runuser -u nobody -- {tail} ipc:///run/adainf/{socket}")
    except AssertionError:
        raise AssertionError(f"nothing passed on: {journal(RELAY)}") from None
    owner(folder, f"systemctl stop {RELAY}")
    assert shown("Result", RELAY) == "success"
    if shutil.which("mosquitto", path="/usr/sbin:/usr/bin") is None or shutil.which("openssl") is None:
        return
    file.write_text(
        of_broker.replace("tcp://127.0.0.1:5600", "ipc:///run/adainf/edge/stream").replace(
            'host = "edge1"', 'host = "here"'
        ),
        encoding="utf-8",
    )
    owner(
        folder,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=broker.local"
        " -addext subjectAltName=DNS:broker.local -keyout broker.key -out broker.pem 2>&1",
        f"install -m 644 broker.pem {ETC}/broker-ca.pem",
        "echo agreed >password",
        "echo adainf:agreed >passwords && mosquitto_passwd -U passwords",
        f"printf '%s\n' 'user root' 'listener 8883' 'certfile {folder}/broker.pem' 'keyfile {folder}/broker.key'"
        f" 'password_file {folder}/passwords' >broker.conf",
        f"systemd-run --quiet --unit=broker mosquitto -c {folder}/broker.conf",
        "install -m 640 -g adainf password /etc/adainf/mqtt-password",
    )
    assert "`install -m 640 -g adainf password /etc/adainf/mqtt-password`" in (
        REPOSITORY / "docs" / "how-to" / "relay.md"
    ).read_text(encoding="utf-8")
    assert "relay of ipc:///run/adainf/edge/stream, broker mqtts://broker.local:8883" in owner(folder, *service)
    heard: dict[str, str] = {}
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.username_pw_set("adainf", "agreed")
    client.tls_set(ca_certs=f"{ETC}/broker-ca.pem")
    client.on_connect = lambda connected, *_: connected.subscribe("adainf/available/+", qos=1)
    client.on_message = lambda _, __, told: heard.update({told.topic: told.payload.decode()})
    client.connect("broker.local", 8883)
    client.loop_start()
    try:
        await_true(lambda: heard == {"adainf/available/here": "online"}, 30, f"the broker is told: {journal(RELAY)}")
    finally:
        client.disconnect()
        client.loop_stop()
    owner(folder, f"systemctl stop {RELAY} broker")
    told = *to_run("docs/how-to/publish.md", "Keys"), *to_run("docs/how-to/relay.md")
    FOLLOWER.followed |= {command for command in told if not command.text.startswith("adainfd relay ")}


def test_rest_of_the_pages_that_speak_of_a_box() -> None:
    """So that none of their commands is left out, whoever writes one."""
    for page in PAGES:
        rest = [told for told in to_run(page) if ON_A_BOX.match(f"{page}, {told.heading}")]
        FOLLOWER.follow(told for told in rest if told not in FOLLOWER.followed and told.heading != LAST)
    run("systemctl", "restart", UNIT)


def test_upgrade_keeps_what_the_owner_changed(tmp_path: Path) -> None:
    upgrade, restart, uninstall = documented(LAST)
    assert (upgrade, restart, uninstall) == ("make install", f"systemctl restart {UNIT}", "make uninstall")
    shipped = Path("/opt/adainf/share/adainf/etc/edge.toml")
    shipped.write_text("# of the version before\n", encoding="utf-8")
    changed = (ETC / "edge.toml").read_text(encoding="utf-8")
    assert "edge.toml was changed and stays" in make("install")
    assert (ETC / "edge.toml").read_text(encoding="utf-8") == changed
    assert (ETC / "edge.toml.new").is_file()
    run(*restart.split())


def test_uninstall_leaves_what_the_owner_wrote(before: set[str]) -> None:
    video = Path("/var/lib/adainf/yard.mp4")
    mine = {
        *(ETC / name for name in ("edge.toml", "resnet20.safetensors", "policies/mine.toml", "doorway.json")),
        video,
        Path("/var/lib/adainf-runs/doorway/adapter.safetensors"),
        Path(f"/etc/systemd/system/{UNIT}.service.d/test.conf"),
    }
    video.touch()
    said = make("uninstall").splitlines()
    assert run("systemctl", "is-active", UNIT, status=None).strip() in ("inactive", "unknown")
    assert all(file.is_file() for file in mine)
    stays = [line.strip() for line in said[1:-2]]
    left = {path for path in files() - before if not path.startswith(tuple(stays))}
    assert left <= {"/opt/packages", "/var/lib/private"}
    assert {str(ETC), "/var/lib/adainf", "/var/lib/adainf-runs", f"/etc/systemd/system/{UNIT}.service.d"} <= set(stays)
    assert run("getent", "group", "adainf", status=2) == ""
    assert run("find", str(ETC), "-nogroup") == ""
    assert run("systemctl", "list-units", "--all", "--plain", "--no-legend", "adainfd@*") == ""
    run("sh", "-c", said[-1])
    assert {path for path in files() - before if "adainf" in path} == set()
