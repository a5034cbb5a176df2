"""Whatever could be a password is hidden, and what is none can still be read."""

import io
import time
import traceback

import pytest
from daemons import PASSWORD
from generated import generous
from hypothesis import given
from hypothesis import strategies as st
from misspelt import addresses

from adainf.base.credentials import RedactedStream, holds_password, redacted, without_credentials
from adainf.base.errors import InvalidInputError


@pytest.mark.generated
@generous(300)
@given(address=addresses, before=st.sampled_from(["", "source ", "broker '", 'File "x", line 3\n  ']))
def test_no_password_is_shown(address: str, before: str) -> None:
    shown = without_credentials(address)
    assert PASSWORD not in shown
    assert PASSWORD not in redacted(f"{before}{address}: does not answer")
    assert PASSWORD not in redacted(f"{before}{address!r}: does not answer")
    assert PASSWORD not in str(InvalidInputError(f"{before}{address}"))
    assert holds_password(address)
    stream = io.StringIO()
    traceback.print_exception(ValueError(address), file=RedactedStream(stream))
    assert PASSWORD not in stream.getvalue()
    assert "ValueError" in stream.getvalue()


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp:/admin:secret@10.0.0.7/cam", "rtsp:/***@10.0.0.7/cam"),
        ("rtsp//admin:secret@10.0.0.7/cam", "rtsp//***@10.0.0.7/cam"),
        ("admin:secret@10.0.0.7/cam", "***@10.0.0.7/cam"),
        ("rtsp://10.0.0.7/cam?user=admin&password=sec ret", "rtsp://10.0.0.7/cam?user=***&password=***"),
        ("http://[fe80::1]:80/cam#token=secret", "http://[fe80::1]:80/cam#token=***"),
        ("http://10.0.0.7/cam?secret", "http://10.0.0.7/cam?***"),
        ("rtsp://admin:secret", "rtsp://admin:***"),
    ],
)
def test_the_host_can_still_be_read(address: str, shown: str) -> None:
    assert without_credentials(address) == shown
    assert redacted(f"source {shown}: does not answer") == f"source {shown}: does not answer"


@pytest.mark.parametrize(
    "text",
    [
        "/media/me@home/clip.mp4",
        "./me@home.mp4: no such file",
        "file:///srv/me@home.mp4",
        "endpoint 'ipc:///run/adainf/me@home/s': is in use",
        "endpoint 'ipc://@name': is in use",
        "endpoint 'tcp://[::1]:5600': port 70000 must be from 1 to 65535",
        "endpoint 'tcp://*:5600' is open to the network: say unprotected = true in the configuration",
        "broker 'x': must be mqtt://HOST[:PORT] or mqtts://HOST[:PORT]",
        "address: allowed is rtsp://HOST:PORT/PATH",
        "adainfd@front.service: active",
        "raise the limit (ulimit -n, LimitNOFILE= of a unit)",
        "configuration a.toml: camera.0.source: './me@x.mp4': no such file",
    ],
)
def test_what_is_no_password_can_be_read(text: str) -> None:
    assert redacted(text) == text


def test_a_user_alone_is_no_password() -> None:
    assert without_credentials("rtsp://admin@10.0.0.7/cam") == "rtsp://***@10.0.0.7/cam"
    assert not holds_password("rtsp://admin@10.0.0.7/cam")


WORDS = ["auth", "a_key_", "a.pass", "http:["]
"""Of which each could be the beginning of what is hidden."""


@pytest.mark.parametrize(
    "unit", ["a", ":", "@", "a:", "a@", "://", ";", "=", "?a", "a.", "'", "=,", "%3a", "x:y@z ", *WORDS]
)
def test_long_texts_take_no_time(unit: str) -> None:
    begun = time.process_time()
    redacted(unit * (200_000 // len(unit)))
    assert time.process_time() - begun < 5
