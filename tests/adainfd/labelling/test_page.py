"""The page to label: sorted with the keyboard in a real browser, and closed to whoever has no token."""

import json
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from adainfd.collecting.kept import KeptPicture
from adainfd.labelling.routes import MOST_BODY, label_posts, label_routes
from adainfd.labelling.sorting import Labels
from adainfd.labelling.token import TOKEN_KINDS, Doorkeeper
from adainfd.service.web.refusals import Refusals
from adainfd.service.web.server import WebServer
from browser import CHROMIUM, browsing
from daemons import START_SECONDS, assert_refused, await_true
from raw_http import answered

TOKEN = "t0ken-of-this-test-alone"  # noqa: S105


def made(folder: Path) -> Path:
    """Twelve pictures, six that look open and six that look shut, the first of each the least certain."""
    (folder / "unsorted").mkdir(parents=True)
    for number in range(12):
        label, score = ("open", "shut")[number % 2], 0.5 + number // 2 / 20
        told = KeptPicture.at(1.7e9 + number, "unsure", label, score)
        colour = (40, 40, 200) if label == "open" else (200, 60, 40)
        cv2.imwrite(str(folder / "unsorted" / told.name), np.full((48, 64, 3), colour, np.uint8))
    return folder


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return made(tmp_path / "gate")


@pytest.fixture
def refusals() -> Refusals:
    return Refusals(kinds=TOKEN_KINDS)


@pytest.fixture
def served(gate: Path, refusals: Refusals) -> Iterator[WebServer]:
    posts = label_posts(Labels(gate), Doorkeeper(TOKEN, refusals, pause_seconds=0.2))
    server = WebServer("127.0.0.1", 0, label_routes(), None, refusals, share=0.5, posts=posts, most_body=MOST_BODY)
    server.start()
    yield server
    server.close()


Post = Callable[..., tuple[int, bytes]]


@pytest.fixture
def post(served: WebServer) -> Post:
    def send(path: str, body: object = None, *, token: str | None = TOKEN, **fields: str) -> tuple[int, bytes]:
        content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        url = "http://{}:{}{}".format(*served.address, path)
        request = urllib.request.Request(url, content, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    return send


def unsorted(gate: Path) -> list[str]:
    return sorted(path.name for path in (gate / "unsorted").iterdir())


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")
def test_pictures_are_sorted_with_the_keyboard(run: Any, launch: Any, gate: Path, tmp_path: Path) -> None:
    program = launch("label", gate, "--serve", "127.0.0.1:0", XDG_STATE_HOME=str(tmp_path / "state"))
    url = str(await_true(lambda: program.out.read_text().strip(), START_SECONDS, "the page's address"))
    assert (tmp_path / "state" / "adainf" / "label.token").stat().st_mode & 0o777 == 0o600
    with browsing(tmp_path / "browser") as browser:
        browser.open(url)
        browser.wait_for("document.querySelectorAll('figure').length == 12")
        browser.wait_for("[...document.images].every((image) => image.naturalWidth == 64)")
        assert "#" not in browser.run("location.href"), "nobody reads the token in the address bar"
        assert "1 open: 0" in browser.run("document.body.innerText"), "the labels that were told are classes to choose"
        first, second = (browser.run(f"document.querySelectorAll('figure')[{n}].dataset.name") for n in (0, 1))

        browser.press("1")  # the current one
        browser.wait_for("document.querySelectorAll('figure').length == 11")
        assert (gate / "open" / first).is_file()
        browser.press("2")
        browser.wait_for("document.querySelectorAll('figure').length == 10")
        assert (gate / "shut" / second).is_file()

        browser.press("l")  # all that look open
        browser.wait_for("document.querySelectorAll('figure.selected').length == 5")
        assert "10 unsorted, 5 selected" in browser.run("document.body.innerText")
        browser.press("1")
        browser.wait_for("document.querySelectorAll('figure').length == 5")
        assert len(list((gate / "open").iterdir())) == 6

        browser.press("ArrowRight", shift=True)
        browser.wait_for("document.querySelectorAll('figure.selected').length == 2")
        browser.press("x")
        browser.wait_for("document.querySelectorAll('figure').length == 3")
        browser.press("ArrowRight")
        browser.press(" ")
        browser.press("0")
        browser.wait_for("document.querySelectorAll('figure').length == 2")
        assert len(list((gate / "unknown").iterdir())) == 1

        browser.run("window.prompt = () => 'half <b>open'")
        browser.press("a")
        browser.press("n")
        browser.wait_for("document.body.innerText.includes('Nothing is left to sort.')")
        assert "3 half <b>open: 2" in browser.run("document.body.innerText"), "the keys of the others stay"
        assert len(list((gate / "half <b>open").iterdir())) == 2

        again = next((gate / "open").iterdir())
        (gate / "unsorted" / again.name).write_bytes(again.read_bytes())
        browser.run("location.reload()")  # the token outlives it
        browser.wait_for("document.querySelectorAll('figure').length == 1")
        browser.press("2")  # after a reload the classes are in order
        browser.wait_for("document.querySelector('#said.wrong') !== null")
        assert "already has a picture" in browser.run("document.querySelector('#said').textContent")

        browser.open(url.partition("#")[0])
        browser.wait_for("document.querySelector('#said.wrong') !== null")
        assert "by the address that the command has printed" in browser.run("document.body.innerText")
    program.process.terminate()
    assert program.ended(10) == 0


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")
def test_a_key_means_the_same_class_while_the_page_is_open(served: WebServer, tmp_path: Path) -> None:
    with browsing(tmp_path / "browser") as browser:
        browser.open("http://{}:{}/#{}".format(*served.address, TOKEN))
        browser.wait_for("document.querySelectorAll('figure').length == 12")
        browser.press("a")
        browser.press("2")
        browser.wait_for("document.querySelectorAll('figure').length == 0")
        # No picture looks open any more, and none lies there.
        assert browser.run("document.querySelector('#classes').innerText").split("\n")[:2] == [
            "1 open: 0",
            "2 shut: 12",
        ]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")
def test_another_sites_page_can_do_nothing_even_with_the_token(served: WebServer, gate: Path, tmp_path: Path) -> None:
    before = unsorted(gate)
    evil = tmp_path / "evil.html"
    evil.write_text("<p>evil</p>")
    url = "http://{}:{}".format(*served.address)
    with browsing(tmp_path / "browser") as browser:
        browser.open(evil.as_uri())
        browser.wait_for("document.querySelector('p') !== null")
        body = json.dumps({"names": before, "into": "open"})
        for headers in ({"Authorization": f"Bearer {TOKEN}"}, {}):
            asked = {"method": "POST", "headers": headers, "body": body}
            said = browser.run(f"fetch('{url}/move', {json.dumps(asked)}).then((a) => a.status, () => 'blocked')")
            assert said == "blocked"
    assert unsorted(gate) == before


def test_nothing_is_had_without_the_token(post: Post, served: WebServer, gate: Path) -> None:
    before = unsorted(gate)
    asked = {"/listing": {}, "/picture": {"name": before[0]}, "/drop": {"names": before}}
    asked["/move"] = {"names": before, "into": "open"}
    for path, body in asked.items():
        for token in (None, "", "wrong", TOKEN[:-1], f"{TOKEN}x"):
            status, said = post(path, body, token=token)
            assert (status, said) == (HTTPStatus.FORBIDDEN, b"wrong token\n")
    url = "http://{}:{}".format(*served.address)
    for path in ("/", "/label.js", "/label.css"):
        with urllib.request.urlopen(f"{url}{path}", timeout=10) as page:  # noqa: S310
            text = page.read().decode()
        assert "20" not in re.findall(r"\d{8}T", text)
        assert TOKEN not in text
    for path in asked:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}{path}", timeout=10)  # noqa: S310
        assert refused.value.code == HTTPStatus.NOT_FOUND
        refused.value.close()
    assert unsorted(gate) == before


def test_whoever_guesses_waits_and_is_counted_and_the_owner_does_not(post: Post, refusals: Refusals) -> None:
    begun = time.monotonic()
    for _ in range(10):
        assert post("/listing", token="wrong")[0] == HTTPStatus.FORBIDDEN  # noqa: S106
    quick = time.monotonic() - begun
    begun = time.monotonic()
    for _ in range(5):
        assert post("/listing", token="wrong")[0] == HTTPStatus.FORBIDDEN  # noqa: S106
    assert time.monotonic() - begun >= 5 * 0.2
    assert quick < 60  # only said, not timed
    assert post("/listing")[0] == HTTPStatus.OK
    assert refusals.counts["token"] == 15


@pytest.mark.parametrize(
    "name",
    ["../gate.toml", "/etc/passwd", "..%2f..%2fetc%2fpasswd", "", ".", "..", "a\0b", "unsorted", "link.jpg", "\ud800"],
)
def test_only_what_is_listed_is_read_moved_or_removed(post: Post, gate: Path, name: str) -> None:
    (gate.parent / "gate.toml").write_text("secret")
    (gate / "unsorted" / "link.jpg").symlink_to("/etc/passwd")
    before = unsorted(gate)
    refused = (HTTPStatus.CONFLICT, HTTPStatus.BAD_REQUEST)
    assert post("/picture", {"name": name})[0] in refused
    assert post("/drop", {"names": [before[0], name]})[0] in refused
    assert post("/move", {"names": [before[0], name], "into": "open"})[0] in refused
    assert post("/move", {"names": [before[0]], "into": f"../{name}"})[0] in refused
    assert unsorted(gate) == before
    assert (gate.parent / "gate.toml").read_text() == "secret"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff", b"null", b"[" * 100_000, b'{"names": 5}', b'{"names": [], "x": 1}', b'{"names": [5]}'],
)
def test_a_body_that_is_none_is_refused(post: Post, body: bytes, gate: Path, refusals: Refusals) -> None:
    before = unsorted(gate)
    for path in ("/picture", "/drop", "/move"):
        assert post(path, body or b" ")[0] == HTTPStatus.BAD_REQUEST
    assert unsorted(gate) == before
    assert refusals.counts["failed"] == 0


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (f"Content-Length: {MOST_BODY + 1}", 413),
        (f"Content-Length: {'9' * 5000}", 413),
        ("Content-Length: -1", 411),
        ("Content-Length: ²", 411),
        ("X: 1", 411),
        ("Transfer-Encoding: chunked", 411),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2", 411),
        ("Content-Length: 2\r\nContent-Length: 3", 400),
        ("Content-Length: 1", 400),
        (f"Content-Length: 2\r\nAuthorization: Bearer {TOKEN}", 400),
        ("Content-Length: 2\r\nHost: evil.example", 400),
    ],
)
def test_requests_that_can_be_read_in_two_ways_or_are_too_large_are_refused(
    served: WebServer, head: str, status: int
) -> None:
    with socket.create_connection(served.address, 10) as client:
        lines = f"POST /listing HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n{head}\r\n\r\n{{}}"
        client.sendall(lines.encode("latin-1"))
        assert answered(client).split()[1] == str(status).encode()


def test_a_body_may_come_in_parts(served: WebServer) -> None:
    with socket.create_connection(served.address, 10) as client:
        lines = (
            f"POST /listing HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 4\r\n\r\n{{"
        )
        client.sendall(lines.encode())
        time.sleep(0.05)
        client.sendall(b"  }")
        assert answered(client).startswith(b"HTTP/1.0 200")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Host": "evil.example"}, HTTPStatus.MISDIRECTED_REQUEST),
        ({"Host": "127.0.0.1.evil.example"}, HTTPStatus.MISDIRECTED_REQUEST),
        ({"Origin": "http://evil.example"}, HTTPStatus.FORBIDDEN),
        ({"Origin": "null"}, HTTPStatus.FORBIDDEN),
        ({"Sec_Fetch_Site": "cross-site"}, HTTPStatus.FORBIDDEN),
        ({"Sec_Fetch_Site": "same-site"}, HTTPStatus.FORBIDDEN),
    ],
)
def test_other_hosts_and_sites_are_refused_even_with_the_token(
    post: Post, gate: Path, fields: dict[str, str], status: HTTPStatus
) -> None:
    before = unsorted(gate)
    assert post("/drop", {"names": before}, **fields)[0] == status
    assert unsorted(gate) == before


def test_a_wrong_token_is_logged(launch: Any, gate: Path, tmp_path: Path) -> None:
    program = launch("label", gate, "--serve", "127.0.0.1:0", XDG_STATE_HOME=str(tmp_path / "state"))
    url = str(await_true(lambda: program.out.read_text().strip(), START_SECONDS, "the page's address"))
    address, _, token = url.partition("#")
    wrong = {"Authorization": f"Bearer {token[::-1]}"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{address}listing", b"{}", wrong), timeout=10)  # noqa: S310
    refused.value.close()
    told = program.await_event("web_refused", 10)
    assert (told["kind"], told["why"]) == ("token", "the token is wrong")
    assert token not in program.said
    assert token[::-1] not in program.said
    again = launch("label", gate, "--serve", "127.0.0.1:0", XDG_STATE_HOME=str(tmp_path / "state"))
    same = str(await_true(lambda: again.out.read_text().strip(), START_SECONDS, "the page's address"))
    assert same.partition("#")[2] == token, "a bookmark goes on working"


def test_a_token_that_others_can_read_is_refused(run: Any, gate: Path, tmp_path: Path) -> None:
    token = tmp_path / "state" / "adainf" / "label.token"
    token.parent.mkdir(parents=True)
    token.write_text(TOKEN)
    token.chmod(0o644)
    serve = ("label", gate, "--serve", "127.0.0.1:0")
    assert_refused(run(*serve, XDG_STATE_HOME=str(tmp_path / "state")), 78, str(token), "chmod 600")
    token.chmod(0o600)
    token.write_text("short")
    assert_refused(run(*serve, XDG_STATE_HOME=str(tmp_path / "state")), 78, str(token), "at least 16")
