import json
import unicodedata

import pytest
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

from adainf.base.errors import InvalidInputError, UnavailableError, harmless, one_line, printable

anything = st.text(
    st.characters() | st.sampled_from("\x1b\x9b\x7f\u202e\u2069\u200b\ufe0f\u0301\u20dd\u0e49\u11a8\n\udce9a ")
)


@pytest.mark.generated
@given(anything, st.integers(1, 80))
@generous(300)
def test_printable_is_one_short_line_that_shows_itself(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    assert printable(shown, limit) == shown
    marks = "".join("m" if unicodedata.combining(letter) else " " for letter in shown)
    assert "m" * 5 not in marks


@pytest.mark.generated
@given(anything)
@generous(300)
def test_harmless_json_is_the_same_to_its_reader(text: str) -> None:
    written = harmless(json.dumps(text, ensure_ascii=False), lambda letter: json.dumps(letter)[1:-1])
    assert json.loads(written) == text
    assert written.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Tür 3: Fußgänger, 猫, שָׁלוֹם, ก็, หมี่, हिन्दी, 한국, Việt, ☂", None),
        (unicodedata.normalize("NFD", "Tür, Việt, 한국"), None),
        ("a\x1b[31mb\x9bc\x7f\t\n", "a\\x1b[31mb\\x9bc\\x7f\\t\\n"),
        ("\u202e\u2066\u200b\ufeff\xad\xa0\u3164", "\\u202e\\u2066\\u200b\\ufeff\\xad\\xa0\\u3164"),
        ("e" + 6 * "\u0301", "e" + 4 * "\u0301" + 2 * "\\u0301"),
        ("\u0301e", "\\u0301e"),
        ("\udce9\ud800\U000e0041", "\\xe9\\ud800\\U000e0041"),
    ],
)
def test_letters_stay_and_what_acts_or_hides_is_escaped(text: str, shown: str | None) -> None:
    assert printable(text, 200) == (shown or text)


def test_the_middle_is_cut() -> None:
    assert [printable("abcdefgh", limit) for limit in (1, 2, 5, 8)] == ["…", "a…", "ab…gh", "abcdefgh"]


@given(st.text(), st.integers(1, 50))
def test_one_line_and_no_longer_than_allowed(text: str, limit: int) -> None:
    line = one_line(text or "empty", limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1


def test_message_as_it_is_or_cut_or_the_kind_of_error() -> None:
    assert one_line(ValueError("two\n  lines")) == "two lines"
    assert one_line("abcdef", 4) == "abc…"
    assert one_line(TimeoutError()) == "TimeoutError"


def test_exit_statuses() -> None:
    assert (InvalidInputError.exit_status, UnavailableError.exit_status) == (78, 69)
