"""Progress of a long command on stderr that is no terminal: a plain line every few seconds."""

import pytest

from adainf.evaluation import progress as module


def test_nothing_done_yet_shows_nothing_and_divides_by_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter(range(0, 100, 10))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(seconds)))
    with module.progress("pictures", 4) as advance:
        advance(0)
        assert capsys.readouterr().err == ""
        advance(1)
        assert capsys.readouterr().err == "pictures: 1 of 4, 60 s left\n"
