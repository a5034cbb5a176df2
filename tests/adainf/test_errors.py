from hypothesis import given
from hypothesis import strategies as st

from adainf.errors import InvalidInputError, UnavailableError, one_line


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
