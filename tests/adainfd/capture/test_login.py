import re
from urllib.parse import urlsplit

import pytest
from adainfd.capture.reading.login import Login
from hypothesis import given
from hypothesis import strategies as st


def test_digest_of_the_standard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of RFC 2617, section 3.5, but for the client's own nonce, which is given here."""
    monkeypatch.setattr("secrets.token_hex", lambda _: "0a4f113b")
    challenge = (
        'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
        'opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    login = Login(urlsplit("http://Mufasa:Circle%20Of%20Life@www.nowhere.org/dir/index.html"))
    answer = login.answer([challenge], "GET", "/dir/index.html")
    assert answer is not None
    told = dict(re.findall(r'(\w+)="?([^",]+)"?', answer))
    assert told["response"] == "6629fae49393a05397450978507c4ef1"
    assert (told["username"], told["nc"], told["opaque"][:4]) == ("Mufasa", "00000001", "5ccc")
    again = login.answer([challenge], "GET", "/dir/index.html")
    assert again is not None
    assert "nc=00000002" in again


@pytest.mark.parametrize(
    ("challenges", "begins"),
    [
        ([], "None"),
        (['Basic realm="x"'], "Basic "),
        (['basic realm="x"', 'DIGEST realm="x",nonce="1"'], "Digest "),
        (['Digest realm="x", nonce="1", algorithm=SHA-256', 'Digest realm="x", nonce="1", algorithm=MD5'], "Digest "),
        (['Digest realm="x", nonce="1", qop="auth-int"', 'Basic realm="x"'], "Basic "),
        (["Digest", "Bearer x"], "None"),
    ],
)
def test_the_best_way_that_is_known_is_taken(challenges: list[str], begins: str) -> None:
    assert str(Login(urlsplit("http://me:pw@h/")).answer(challenges, "GET", "/")).startswith(begins)
    assert Login(urlsplit("http://h/")).answer(challenges, "GET", "/") is None


@given(challenge=st.text(max_size=40), user=st.sampled_from(["me", "%ff", "%22%0d%0a", ""]))
def test_whatever_a_server_asks_is_answered_or_not(challenge: str, user: str) -> None:
    login = Login(urlsplit(f"http://{user}:pw@h/"))
    for asked in (challenge, f"Digest {challenge}", f'Digest nonce="{challenge}"'):
        answer = login.answer([asked], "GET", "/")
        assert answer is None or "\r" not in answer
