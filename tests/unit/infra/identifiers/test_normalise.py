from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from infra.identifiers.normalise import fold, normal_form, same_case, search_forms

SAME = [
    ("US_SSN", "219-41-5522", "219 41 5522", "separators do not count"),
    ("US_SSN", "219-41-5522", "２１９‑41–5522", "full-width digits, typographic dashes"),
    ("US_SSN", "219-41-5522", "219-\u200b41-\u00ad5522", "zero-width space and soft hyphen"),
    ("US_SSN", "219-41-5522", "٢١٩-٤١-٥٥٢٢", "digits of another script"),
    ("PHONE_NUMBER", "(202) 555-0143", "202.555.0143", "punctuation does not count"),
    ("CREDIT_CARD", "4111 1111 1111 1111", "4111-1111-1111-1111", "separators do not count"),
    ("IBAN_CODE", "DE89 3704 0044 0532 0130 00", "de89370400440532013000", "groups and case do not count"),
    ("EMAIL_ADDRESS", "Jane.Roe@Example.com", "jane.roe@example.COM", "case does not count"),
    ("EMAIL_ADDRESS", "jane@example.com", "jane＠example.com", "full-width at sign"),
    ("URL", "https://www.example.com/jane/", "example.com/jane", "scheme, www and last slash do not count"),
    ("PERSON", "Zoe\u0308 Roe", "Zoë\u00a0\n Roe", "composed or not, one white space"),
    ("IP_ADDRESS", "2001:DB8::17", "2001:db8::17", "case does not count"),
]
DIFFERENT = [
    ("US_SSN", "219-41-5522", "219-41-5523", "another number"),
    ("EMAIL_ADDRESS", "jane.roe@example.com", "janeroe@example.com", "a dot of an address counts"),
    ("IP_ADDRESS", "192.0.2.17", "192.0.21.7", "a dot of an IP address counts"),
    ("CUSTOM", "C-4711", "C4711", "a separator of an own string counts"),
    ("URL", "example.com/jane", "example.org/jane", "another host"),
]


@pytest.mark.parametrize(("type_", "one", "other", "why"), SAME, ids=[row[3] for row in SAME])
def test_spellings_of_one_identifier_have_one_normal_form(type_: str, one: str, other: str, why: str) -> None:
    assert normal_form(type_, one) == normal_form(type_, other)


@pytest.mark.parametrize(("type_", "one", "other", "why"), DIFFERENT, ids=[row[3] for row in DIFFERENT])
def test_different_identifiers_stay_different(type_: str, one: str, other: str, why: str) -> None:
    assert normal_form(type_, one) != normal_form(type_, other)


PHONES = [
    ("+1 202 555 0143", {"12025550143", "2025550143", "0012025550143"}),
    ("(202) 555-0143", {"12025550143", "2025550143"}),
    ("+44 20 7946 0958", {"442079460958", "02079460958", "4402079460958"}),
    ("020 7946 0958", {"02079460958"}),  # no country code, and no US number: only as given
]


@pytest.mark.parametrize(("value", "forms"), PHONES)
def test_a_phone_number_is_sought_with_and_without_its_country_code(value: str, forms: set[str]) -> None:
    assert forms <= set(search_forms("PHONE_NUMBER", value))


def test_the_first_search_form_is_the_normal_form_and_none_comes_twice() -> None:
    for type_, value, *_ in SAME:
        forms = search_forms(type_, value)
        assert forms[0] == normal_form(type_, value)
        assert len(set(forms)) == len(forms)


@pytest.mark.parametrize(
    ("type_", "value", "written", "allowed"),
    [
        ("PERSON", "Mark Roe", "MARK ROE", True),
        ("PERSON", "Mark Roe", "mark roe", False),
        ("CUSTOM", "aB3x", "aB3x", True),
        ("CUSTOM", "aB3x", "AB3X", False),
        ("EMAIL_ADDRESS", "a@example.com", "A@EXAMPLE.COM", True),
    ],
)
def test_case_counts_for_names_and_own_strings_alone(type_: str, value: str, written: str, allowed: bool) -> None:
    assert same_case(type_, value, written) is allowed


# Characters that interact: marks, Hangul letters, ligatures, fractions, invisible ones, white space.
TRICKY = st.text(
    st.sampled_from("aZ9 -.@\t\n\u00a0\u200b\u00ade\u0301\u0327\u0308qİßﬁ½…가\u1100\u1161\u11a8\u0663ﾊﾞ한\ufe0f\u0345"),
    max_size=12,
)
TEXTS = TRICKY | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(TEXTS)
def test_every_folded_character_knows_where_it_came_from(text: str) -> None:
    folded = fold(text)
    assert len(folded.text) == len(folded.starts) == len(folded.ends)
    for start, end in zip(folded.starts, folded.ends, strict=True):
        assert 0 <= start < end <= len(text)
    assert list(folded.starts) == sorted(folded.starts)
    assert list(folded.ends) == sorted(folded.ends)


@given(TEXTS, st.data())
def test_folding_a_slice_is_slicing_the_folded_text(text: str, data: st.DataObject) -> None:
    folded = fold(text)
    if not folded.text:
        return
    start = data.draw(st.integers(0, len(folded.text) - 1))
    end = data.draw(st.integers(start + 1, len(folded.text)))
    span = folded.span(start, end)
    if span is not None:
        taken_along = (
            " " if folded.text[:start].endswith(" ") and folded.starts[start] == folded.starts[start - 1] else ""
        )
        assert fold(text[slice(*span)]).text == taken_along + folded.text[start:end]


@given(TEXTS)
@example("a\u0327\u0301")  # the acute composes with the a across a cedilla that does not
def test_canonically_equal_texts_fold_alike(text: str) -> None:
    assert fold(unicodedata.normalize("NFD", text)).text == fold(unicodedata.normalize("NFC", text)).text


@given(st.text(st.characters(max_codepoint=0x7F), max_size=20))
def test_plain_text_takes_the_fast_path_to_the_same_result(text: str) -> None:
    slow = fold(text + "\u200b")  # the invisible character folds to nothing and forces the slow path
    fast = fold(text)
    assert (fast.text, list(fast.starts), list(fast.ends)) == (slow.text, list(slow.starts), list(slow.ends))


def test_a_span_never_begins_or_ends_inside_one_original_character() -> None:
    folded = fold("oﬃce")  # folds to o f f i c e
    assert folded.text == "office"
    assert folded.span(1, 4) == (1, 2)
    assert folded.span(0, 2) is None
    assert folded.span(2, 6) is None


def test_a_run_of_white_space_is_one_space_that_covers_the_run() -> None:
    folded = fold("a \t\u200b\n b")
    assert folded.text == "a b"
    assert folded.span(1, 2) == (1, 6)


def test_a_mark_after_plain_text_changes_its_last_letter() -> None:
    assert fold("one e\u0301").text == "one é"


def test_folded_text_is_not_shown_in_a_repr() -> None:
    assert "219" not in repr(fold("219-41-5522"))
