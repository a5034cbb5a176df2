import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import daemons
import pytest
import users
from adainfd.capture.sandbox import landlock
from daemons import Network, camera_processes, free_port, listening, write_video
from stream_servers import MjpegServer

CONFINED = Path(__file__).parents[2] / "confined.py"

whole = pytest.mark.skipif(
    landlock.abi() < 6 or not Path(f"/usr/lib/{os.uname().machine}-linux-gnu/libseccomp.so.2").exists(),
    reason="needs libseccomp, and Landlock as of Linux 6.12",
)


def state_of(process: int) -> tuple[object, ...]:
    """What others of the same user could change."""
    limits = Path(f"/proc/{process}/limits").read_text(encoding="ascii")
    return os.getpriority(os.PRIO_PROCESS, process), os.sched_getscheduler(process), limits


def what_is_left(process: int) -> dict[str, int]:
    """Rights of a process; of a user's capabilities, that to read any file is the test's own."""
    found = dict(
        line.split(":\t") for line in Path(f"/proc/{process}/status").read_text().splitlines() if ":\t" in line
    )
    left = {name: int(found[name], 16) & ~(1 << 2) for name in ("CapEff", "CapPrm")}
    left |= {name: int(found[name]) for name in ("NoNewPrivs", "Seccomp", "Threads")}
    return left | {"oom": int(Path(f"/proc/{process}/oom_score_adj").read_text())}


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that any user may enter, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="adainf-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(params=["user", "root"])
def user(request: pytest.FixtureRequest) -> list[str]:
    """Goes before the commands of daemon and camera's process."""
    if request.param == "root" and os.geteuid() != 0:
        pytest.skip("needs root")
    return users.as_user() if request.param == "user" else []


@whole
def test_nothing_can_be_had_from_a_process_that_is_taken_over(
    user: list[str], environment: dict[str, str], network: Network, folder: Path
) -> None:
    """Neither from one that reads a file nor from one on the network, beside a daemon of the same user."""
    ours, etc = folder / "ours.avi", folder / "etc"
    write_video(ours, 20, moves=lambda _: True)
    etc.mkdir()
    other = write_video(etc / "other.avi", 20, moves=lambda _: True)
    web, bind = free_port(), f"ipc://{etc}/s"
    file = network.configuration(
        etc / "edge.toml", bind=bind, cameras=[{"name": "yard", "source": str(other), "loop": True}]
    )
    with file.open("a", encoding="utf-8") as more:
        more.write(f'[web]\nbind = "127.0.0.1:{web}"\n')
    credential, kept = etc / "box.key_secret", etc / "state"
    for path in (credential, kept):
        path.write_text("secret\n", encoding="utf-8")
    if user:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, users.NOBODY, users.NOBODY)
    here = {**environment, "XDG_STATE_HOME": str(folder / "state"), "TMPDIR": str(folder)}
    daemon = daemons.start(["run", "--config", file], folder, here, before=user)
    camera = MjpegServer()
    try:
        daemon.await_event("ready")
        (beside,) = camera_processes(daemon.process.pid)
        assert what_is_left(beside) == {
            "CapEff": 0,
            "CapPrm": 0,
            "NoNewPrivs": 1,
            "Seccomp": 2,
            "Threads": 1,
            "oom": 500,
        }
        before = state_of(daemon.process.pid)
        for source in (str(ours), camera.address):
            targets = {
                "source": source,
                "processes": [daemon.process.pid, beside],
                "files": [*map(str, (file, other, credential, kept))],
                "ports": [web],
                "sockets": [f"{etc}/s"],
                "folder": str(folder),
            }
            command = [*user, sys.executable, str(CONFINED), json.dumps(targets)]
            ended = subprocess.run(command, env=here, capture_output=True, text=True, timeout=60, check=False)
            assert ended.returncode == 0, ended.stderr
            assert json.loads(ended.stdout.splitlines()[-1]) == {"missing": [], "succeeded": []}
        assert state_of(daemon.process.pid) == before
        with listening(bind, b"result/") as receive:
            assert receive(10)[0]
        assert not daemon.named("not_confined")
    finally:
        daemon.kill()
        camera.close()


def test_every_version_of_landlock_closes_files(tmp_path: Path) -> None:
    """Each in a process of its own, with the rights that this version knows."""
    if (newest := landlock.abi()) == 0:
        pytest.skip("needs Landlock")
    own = tmp_path / "own"
    own.touch()
    script = """
import ctypes, sys
from pathlib import Path
from adainfd.capture.sandbox import landlock
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
assert landlock.restrict(reads=[Path(sys.argv[2])], connects=[80], version=int(sys.argv[1])) == int(sys.argv[1])
Path(sys.argv[2]).read_bytes()
try:
    Path("/etc/passwd").read_bytes()
except PermissionError:
    print("closed")
"""
    for version in range(1, newest + 1):
        command = [sys.executable, "-c", script, str(version), str(own)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert ended.stdout == "closed\n", f"{version}: {ended.stderr}"


CONFINE = """
import os, sys
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import ctypes
from adainfd.capture.sandbox import confinement, landlock, syscalls
from adainfd.capture.reading.reader import open_reader
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source
"""
PLAY = """
settings = CameraSettings("front", Source(sys.argv[1]))
print(*confinement.confine(settings).missing, sep="\\n")
print(open_reader(settings).grab())
"""


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ("landlock.abi = lambda: 0", "files: the kernel has no Landlock"),
        ("landlock.abi = lambda: 3", "TCP ports: the kernel has no Landlock of version 4 or later"),
        ("syscalls._LIBRARY = 'libseccomp.so.none'", "system calls: libseccomp.so.2 is missing"),
    ],
    ids=["no Landlock", "an old one", "no libseccomp"],
)
def test_what_cannot_be_dropped_is_said_and_the_camera_runs(lacking: str, said: str, clip: Path) -> None:
    command = [sys.executable, "-c", f"{CONFINE}{lacking}\n{PLAY}", str(clip)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0, ended.stderr
    assert said in ended.stdout.splitlines()
    assert ended.stdout.splitlines()[-1] == "True"


def test_a_daemon_says_once_what_its_cameras_processes_could_not_give_up(
    environment: dict[str, str], network: Network, clip: Path, tmp_path: Path, ipc: str
) -> None:
    """As where a container refuses the calls, which only a process that tries them finds out."""
    (tmp_path / "sitecustomize.py").write_text(
        "from adainfd.capture.sandbox import landlock\n"
        "def refused(**_):\n"
        "    raise PermissionError(1, 'Operation not permitted')\n"
        "landlock.restrict = refused\n"
    )
    cameras = [{"name": name, "source": str(clip), "loop": True} for name in ("door", "yard")]
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)
    path = os.pathsep.join((str(tmp_path), environment.get("PYTHONPATH", "")))
    daemon = daemons.start(["run", "--config", file], tmp_path, {**environment, "PYTHONPATH": path})
    try:
        with listening(ipc, b"result/") as receive:
            seen: set[str] = set()
            while len(seen) < len(cameras):
                seen.add(receive(daemons.START_SECONDS)[0])
        (told,) = daemon.named("not_confined")
        assert told["level"] == "warning"
        assert told["detail"] == "files: the kernel refuses its Landlock rules (Operation not permitted)"
    finally:
        daemon.kill()
