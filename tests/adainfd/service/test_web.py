"""Metrics, health and the status page: of a real daemon, and of a server that is sent nonsense."""

import json
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import daemons
import numpy as np
import pytest
from adainfd.service.health import Health
from adainfd.service.metrics import Metrics
from adainfd.service.overview import Overview
from adainfd.service.pictures import Pictures
from adainfd.service.web.response import Response
from adainfd.service.web.routes import daemon_routes
from adainfd.service.web.server import WebServer
from daemons import START_SECONDS, Network, await_true, listening
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from raw_http import answered

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)

REPOSITORY = Path(__file__).parents[3]
METRICS = REPOSITORY / "docs" / "reference" / "metrics.md"


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


@pytest.fixture
def server() -> Iterator[str]:
    """An empty daemon's server."""
    overview = Overview()
    pictures = Pictures(["door"], patience_seconds=0.1)
    served = WebServer("127.0.0.1", 0, daemon_routes(overview, Metrics(overview), pictures, Health()))
    served.start()
    yield "http://{}:{}".format(*served.address)
    served.close()


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{daemons.free_port()}"


@pytest.fixture
def configuration(network: Network, clip: Path, ipc: str, tmp_path: Path, address: str) -> Path:
    cameras = [{"name": name, "source": str(clip), "loop": True} for name in ("door", "yard")]
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)
    with file.open("a", encoding="utf-8") as more:
        more.write(f'[web]\nbind = "{address}"\npictures = ["door"]\n')
    return file


def test_of_a_running_daemon(launch: Any, configuration: Path, ipc: str, address: str) -> None:
    daemon = launch("run", "--config", configuration)
    url = f"http://{address}"
    daemon.await_event("web")
    assert get(f"{url}/live")[0] == 200
    with listening(ipc, b"result/") as receive:
        cameras: set[str] = set()
        while cameras != {"door", "yard"}:
            cameras.add(receive(START_SECONDS)[1]["camera"])
    assert get(f"{url}/ready") == (200, b"yes\n")

    def counted() -> dict[tuple[str, tuple[tuple[str, str], ...]], float] | None:
        """The metrics, once they tell of both cameras: accounts come with the heartbeat, times with the results."""
        found = samples(get(f"{url}/metrics")[1])
        return (
            found
            if all(
                found.get(("adainf_frames_captured_total", (("camera", camera),)), 0) > 0
                and ("adainf_stage_seconds_count", (("camera", camera), ("stage", "forward"))) in found
                for camera in ("door", "yard")
            )
            else None
        )

    metrics = await_true(counted, 10, "frames in the metrics")
    for camera in ("door", "yard"):
        captured = metrics["adainf_frames_captured_total", (("camera", camera),)]
        fates = sum(
            value
            for (name, labels), value in metrics.items()
            if name == "adainf_frames_total" and dict(labels)["camera"] == camera
        )
        assert fates in (captured, captured - 1)  # one may wait
        assert metrics["adainf_camera_state", (("camera", camera), ("state", "online"))] == 1
        assert metrics["adainf_stage_seconds_count", (("camera", camera), ("stage", "forward"))] > 0
        assert metrics["adainf_macs_total", (("camera", camera),)] > 0
        assert 0 < metrics["adainf_budget_fraction", (("camera", camera),)] <= 1
        assert metrics["adainf_last_result_age_seconds", (("camera", camera),)] < 10
    assert metrics["adainf_reloads_total", (("outcome", "reloaded"),)] == 0
    assert metrics["adainf_ready", ()] == 1

    state = json.loads(get(f"{url}/state")[1])
    assert state["line"].startswith("2 cameras, ")
    assert {camera["name"] for camera in state["cameras"]} == {"door", "yard"}

    status, picture = get(f"{url}/picture/door")  # the first that asks waits for the next picture
    assert (status, picture[:2]) == (200, b"\xff\xd8")
    assert get(f"{url}/picture/yard")[0] == 404
    daemon.process.terminate()
    assert daemon.ended(5) == 0


def test_documented_metrics_are_those_that_are_served() -> None:
    """Each family stands in docs/reference/metrics.md, and what stands there is a family."""
    overview = Overview()
    text = Metrics(overview).text().decode()
    served = set(re.findall(r"^# TYPE (adainf_\w+)", text, re.MULTILINE))
    source = (REPOSITORY / "daemon/adainfd/service/metrics.py").read_text(encoding="utf-8")
    served |= set(re.findall(r'"(adainf_\w+)"', source))
    documented = set(re.findall(r"`(adainf_\w+)", METRICS.read_text(encoding="utf-8")))
    plain = {name.removesuffix("_total") for name in served if not name.endswith("_created")}
    assert plain <= {name.removesuffix("_total") for name in documented}
    signals = {f"adainf_{name}" for name in re.findall(r'^    "(\w+)": "', source, re.MULTILINE)}
    assert {name.removesuffix("_total") for name in documented} <= plain | signals


def test_not_ready_before_anything_was_recognised(server: str) -> None:
    assert get(f"{server}/ready")[0] == 503
    assert get(f"{server}/live")[0] == 200
    with pytest.raises(urllib.error.HTTPError) as none:
        urllib.request.urlopen(f"{server}/picture/door", timeout=10)  # noqa: S310
    assert (none.value.code, none.value.headers["Retry-After"]) == (503, "1")
    assert none.value.read() == b"door brings no picture now\n"
    assert get(f"{server}/picture/cellar")[0] == 404


PATHS = ("/", "/page.js", "/page.css", "/state", "/metrics", "/live", "/ready", "/picture/door")


@given(path=st.text(alphabet="./%2ec\\abpicturedo~:@?#", min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_no_path_leads_elsewhere(path: str) -> None:
    routes = {"/": lambda: Response(b"page")}
    served = WebServer("127.0.0.1", 0, routes)
    served.start()
    try:
        said = raw(served.address, f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    finally:
        served.close()
    known = unquote(re.split("[?#]", f"/{path}")[0]) == "/"
    assert said.startswith(b"HTTP/1.0 200") == known
    assert known or said.startswith((b"HTTP/1.0 404", b"HTTP/1.0 400"))


def raw(address: tuple[str, int], request: bytes) -> bytes:
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        return answered(client)


def test_address_is_free_again_at_once() -> None:
    """A restarted daemon gets its port, although connections to the one before have only just ended."""
    overview = Overview()
    routes = daemon_routes(overview, Metrics(overview), Pictures([]), Health())
    port = 0
    for _ in range(2):
        served = WebServer("127.0.0.1", port, routes)
        served.start()
        port = served.address[1]
        assert get(f"http://127.0.0.1:{port}/live")[0] == 200
        served.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
        b"GET //etc/passwd HTTP/1.1\r\n\r\n",
        b"GET /picture/../state HTTP/1.1\r\n\r\n",
        b"GET /picture/door%00.jpg HTTP/1.1\r\n\r\n",
        b"GET http://elsewhere/ HTTP/1.1\r\n\r\n",
        b"GET /%ff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /state HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"DELETE /metrics HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_nonsense_is_the_clients_mistake(server: str, request_: bytes) -> None:
    host, port = server.removeprefix("http://").split(":")
    said = raw((host, int(port)), request_)
    assert re.match(rb"HTTP/1\.0 4\d\d ", said), said[:200]
    assert get(f"{server}/live")[0] == HTTPStatus.OK


def test_many_who_say_nothing_keep_nobody_out_for_long(server: str) -> None:
    host, port = server.removeprefix("http://").split(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(100)]
    try:

        def answered() -> bool:
            try:
                return get(f"{server}/live")[0] == 200
            except OSError:
                return False

        await_true(answered, 30, "an answer beside silent clients")
    finally:
        for client in silent:
            client.close()


def test_every_answer_forbids_what_comes_from_elsewhere(server: str) -> None:
    with urllib.request.urlopen(f"{server}/", timeout=10) as answer:  # noqa: S310
        policy = answer.headers["Content-Security-Policy"]
        page = answer.read().decode()
    assert "default-src 'none'" in policy
    assert "://" not in page


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ('bind = "0.0.0.0:9600"', "open to the network"),
        ('bind = "127.0.0.1"', "ADDRESS:PORT"),
        ('bind = "localhost:80"', "ADDRESS:PORT"),
        ('bind = "127.0.0.1:99999"', "ADDRESS:PORT"),
        ('pictures = ["cellar"]', "no camera is called cellar"),
        ("picture = []", "did you mean pictures?"),
    ],
)
def test_wrong_section_is_refused(
    run: Any, network: Network, ipc: str, tmp_path: Path, section: str, named: str
) -> None:
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[{"name": "door", "source": "0"}])
    with file.open("a", encoding="utf-8") as more:
        more.write(f"[web]\n{section}\n")
    daemons.assert_refused(run("check-config", file), 78, "web", named)


def test_taken_address_is_refused(run: Any, configuration: Path, address: str) -> None:
    host, port = address.split(":")
    with socket.create_server((host, int(port))):
        daemons.assert_refused(run("run", "--config", configuration), 78, f"web.bind {address}")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")
def test_page_updates_live_in_a_browser(tmp_path: Path) -> None:
    """Each state that is asked for tells another number of frames: the page shows one after the first."""
    asked = 0

    def state() -> Response:
        nonlocal asked
        asked += 1
        account = {"captured": 1000 + asked, "published": 7, "reused": 2, "dropped": {"too_old": 3, "newer_frame": 0}}
        camera = {
            "name": "<b>door",
            "state": "online",
            "detail": None,
            "frames_per_second": 24.9,
            "p95_ms": 41.2,
            "age": 0.1,
            "account": account,
            "labels": [{"label": "mountain bike & <i>rider", "index": 1, "score": 0.83}],
            "states": [
                {"camera": "<b>door", "region": "left", "state": "<i>open", "score": 0.97, "since": 1.7e9},
                {"camera": "<b>door", "region": None, "state": None, "score": None, "since": None},
            ],
            "budget": {"fraction": 0.61, "limited_by": "contention"},
            "plan": {"branch": "192:1110", "chosen_by": "lookup", "macs_fraction": 0.52},
            "picture": True,
        }
        shown = {"host": "here", "state": "ready", "hindrances": [], "reload_failure": None, "model": None}
        return Response(
            json.dumps({**shown, "line": "1 camera, 25 fps", "cameras": [camera]}).encode(), "application/json"
        )

    overview = Overview()
    pictures = Pictures(["<b>door"])
    pictures.jpeg("<b>door")
    pictures.answered("<b>door", np.zeros((48, 64, 3), np.uint8))
    routes = {**daemon_routes(overview, Metrics(overview), pictures, Health()), "/state": state}
    served = WebServer("127.0.0.1", 0, routes)
    served.start()
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    command += ["--virtual-time-budget=4500", "--dump-dom", "http://{}:{}/".format(*served.address)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    finally:
        served.close()
    page = result.stdout
    assert "&lt;b&gt;door" in page, result.stderr
    assert "mountain bike &amp; &lt;i&gt;rider" in page
    assert re.search(r"<li><span>left: &lt;i&gt;open</span><span>0\.97 since [^<]+</span></li>", page)
    assert "<li><span>state: –</span><span></span></li>" in page
    assert "0.61 by contention" in page
    assert "3 too old" in page
    assert 'class="picture" alt="last picture of' in page
    frames = re.search(r"(\d+) · 7 recognised", page)
    assert frames is not None
    assert int(frames[1]) >= 1002


def test_dashboard_asks_for_metrics_that_are_documented() -> None:
    documented = set(re.findall(r"`(adainf_\w+)", METRICS.read_text(encoding="utf-8")))
    dashboard = json.loads((REPOSITORY / "docs/grafana.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [variable["query"]["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    names = {name for text in asked for name in re.findall(r"adainf_\w+", text)}
    assert len(names) > 15
    assert {name.removesuffix("_bucket") for name in names} <= documented
