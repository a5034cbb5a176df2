from pathlib import Path

import pytest
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

from adainf.base.errors import InvalidInputError
from adainf.teaching.spans import Span, read_spans

# A stretch without a span before each span: seconds between neighbours, and the labels.
stretches = st.lists(
    st.tuples(
        st.floats(0, 100), st.floats(0.01, 100), st.sampled_from(["a car", "empty", "unknown", 'a "gate", open'])
    ),
    min_size=1,
    max_size=8,
)


def spans_of(stretches: list[tuple[float, float, str]]) -> list[Span]:
    spans, now = [], 0.0
    for before, seconds, label in stretches:
        start = now + before
        now = start + seconds
        spans.append(Span(start, now, label))
    return spans


def written(path: Path, spans: list[Span], heading: str = "") -> Path:
    quoted = (span.label.replace('"', '""') for span in spans)
    lines = [f'{span.start!r},{span.end!r},"{label}"' for span, label in zip(spans, quoted, strict=True)]
    path.write_text("\n".join([heading, *lines]) + "\n", encoding="utf-8")
    return path


@generous(50)
@given(stretches, st.randoms(), st.sampled_from(["", "start,end,label", "Start, End, Label"]))
def test_spans_are_read_in_order(tmp_path, stretches, random, heading):
    spans = spans_of(stretches)
    shuffled = random.sample(spans, len(spans))
    assert list(read_spans(written(tmp_path / "s.csv", shuffled, heading))) == spans


@generous(50)
@given(stretches, st.data())
def test_overlapping_spans_are_refused(tmp_path, stretches, data):
    spans = spans_of(stretches)
    span = data.draw(st.sampled_from(spans))
    within = Span((span.start + span.end) / 2, span.end + 1, "empty")
    with pytest.raises(InvalidInputError, match="overlap"):
        read_spans(written(tmp_path / "s.csv", [*spans, within]))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "has no line"),
        ("start,end,label", "has no line"),
        ("1,2", "line 1: '1,2' is not START,END,LABEL"),
        ("1,2,a,b", "is not START,END,LABEL"),
        ("2,1,a", "is not START,END,LABEL"),
        ("1,1,a", "is not START,END,LABEL"),
        ("-1,1,a", "is not START,END,LABEL"),
        ("1,inf,a", "is not START,END,LABEL"),
        ("nan,1,a", "is not START,END,LABEL"),
        ("one,2,a", "is not START,END,LABEL"),
        ("1,2, ", "label ''"),
        (f"1,2,{'a' * 101}", "1 to 100 characters"),
        ("1,2,a\u200bb", "cannot be printed"),
    ],
)
def test_a_line_that_is_no_span_is_refused(tmp_path, line, says):
    (tmp_path / "s.csv").write_text(line, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"^(spans|label)") as error:
        read_spans(tmp_path / "s.csv")
    assert says in str(error.value)
