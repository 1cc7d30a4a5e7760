"""What the search is built of: texts folded together, places in them, and forms matched at a start."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slow_search import Wanted, spots

from infra.identifiers.normalise import fold
from infra.search.batch import Batch
from infra.search.folding import Offsets
from infra.search.patterns import PADDING, Patterns
from infra.search.rows import Rows


@given(
    st.lists(
        st.text(st.sampled_from("aZ9 -.\t\n\u00a0\u200be\u0301\u0327qİßﬁ½…가\u1161\u0663ﾊﾞ\u0345\x00\u00a8"), max_size=9)
    )
)
def test_texts_folded_together_are_each_folded_as_alone(texts: list[str]) -> None:
    words = Batch(Rows.of(texts)).words.decode("utf-8", "surrogatepass")
    assert words == "".join(f"{fold(text).text}\n" for text in texts) + PADDING.decode()


@given(
    st.text(st.sampled_from("aZ9  -.\t\n\u00a0\u200be\u0301\u0327qİßﬁ½…가\u1161\u0663ﾊﾞ\u0345\x00\u00a8"), max_size=12),
    st.data(),
)
def test_offsets_lead_back_as_those_of_folding_do(text: str, data: st.DataObject) -> None:
    folded = fold(text)
    if folded.text:
        start = data.draw(st.integers(0, len(folded.text) - 1))
        end = data.draw(st.integers(start + 1, len(folded.text)))
        assert Offsets(text).span(start, end) == folded.span(start, end)


@pytest.mark.parametrize("count", [1, 40, 3000])
def test_every_form_that_begins_at_a_start_is_matched_whatever_its_length(count: int) -> None:
    forms = [f"f{number:x}".encode() * (1 + number % 90) + b"tail" for number in range(count)]
    patterns = Patterns(forms)
    data = b"-".join(forms)
    import numpy as np

    starts = np.cumsum([0, *(len(form) + 1 for form in forms[:-1])])
    hits = patterns.matches(data + PADDING, starts)
    assert {(p, s) for p, s, _ in hits.tolist()} >= set(enumerate(starts.tolist()))
    assert all(data[s:e] == forms[p] for p, s, e in hits.tolist())


def test_a_form_longer_than_a_table_can_say_is_found() -> None:
    long = "https://example.com/" + "jane" * 200
    assert spots([Wanted("URL", long), Wanted("URL", "example.com/jo")], f"see {long}, ok") == [(4, 4 + len(long), 0)]
