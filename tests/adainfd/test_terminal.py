"""What a hostile publisher sends is text to a terminal."""

import pytest
from adainfd.watch import _text


@pytest.mark.parametrize(
    "sent", ["\x1b[31m", "\x9b31m", "\x1b]8;;http://x\x07", "a\u202eb", "a\u200bb", "a\nb", "\udce9"]
)
def test_control_codes_are_escaped(sent: str) -> None:
    assert _text(sent).isprintable()
