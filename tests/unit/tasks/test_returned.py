"""What of a list of erased identifiers stands in samples, and what a look at so many of them can rule out."""

from __future__ import annotations

from datetime import date

import pytest

from infra.detection import Detector, DetectorConfig
from infra.keys.vault import Vault
from infra.requests import ErasedDigest, ErasedList, Identifier
from infra.requests.erased import digests_of
from revs.discover.sample import Sample
from tasks.corpus.leaks import said_by_the_model
from tasks.corpus.returned import LONGEST, Returned, Watch, share_at_most, wordings

VAULT = Vault(bytes(range(32)))
DAY = date(2026, 11, 20)
ERASED = (
    ("US_SSN", "412-55-9031"), ("US_SSN", "287-31-6604"), ("EMAIL_ADDRESS", "dee@example.com"),
    ("PERSON", "Hope Rose"), ("CUSTOM", "#Heron 7"),
)  # fmt: skip


def listed_as(type_: str, value: str) -> ErasedDigest:
    digest, *_ = digests_of(VAULT, Identifier(type=type_, value=value))
    return ErasedDigest(digest=digest, model="demo", type=type_, erased_on=DAY)


def returned(*texts: str, prompt: str = "", types: tuple[str, ...] = ("EMAIL_ADDRESS", "US_SSN")) -> Returned:
    """What a watch says of these continuations, on a list of `ERASED`."""
    listed = ErasedList(
        VAULT,
        [listed_as(type_, value) for type_, value in ERASED],
    )
    detector = Detector(DetectorConfig(types=types))
    watch = Watch(listed, detector)
    for text in texts:
        sample = Sample(prompt=prompt, text=text)
        watch.read(sample, said_by_the_model(sample, detector))
    return watch.result()


GENERATED = [
    ("her SSN is 412-55-9031.", {"US_SSN"}, "a number as it was erased"),
    ("her SSN is 412559031.", {"US_SSN"}, "the number in another spelling"),
    ("her SSN is 412-55-9032.", set(), "another number"),
    ("mail <DEE@example.com> or SSN 287-31-6604", {"US_SSN", "EMAIL_ADDRESS"}, "two types in one text"),
    ("signed, Hope Rose, in Leeds", {"PERSON"}, "a name, which no detector looks for here"),
    ("signed, HOPE ROSE", {"PERSON"}, "a name in capitals"),
    ("and their hope rose again", set(), "words that are a name in capitals only"),
    ("see (#Heron 7)", set(), "an own string that begins with a mark, inside brackets: what is not seen"),
    ("see #Heron 7, please", {"CUSTOM"}, "an own string with a mark of its own"),
    ("see #heron 7, please", set(), "an own string in another case"),
    ("", set(), "nothing"),
]


@pytest.mark.parametrize(("text", "types", "why"), GENERATED, ids=[row[2] for row in GENERATED])
def test_what_was_erased_is_met_by_its_digest(text: str, types: set[str], why: str) -> None:
    found = returned(text)
    assert {each.type for each in found.types if each.generated} == types
    assert found.continuations == bool(types)


def test_it_is_counted_by_identifier_and_by_continuation_with_the_day_and_without_the_value() -> None:
    found = returned("SSN 412-55-9031 and SSN 412 55 9031", "SSN 412-55-9031, SSN 287-31-6604", "no")
    (numbers,) = [each for each in found.types if each.type == "US_SSN"]
    assert (numbers.erased, numbers.generated, numbers.continuations, numbers.erased_on) == (2, 2, 2, (DAY,))
    assert (found.erased, found.generated, found.continuations) == (5, 2, 2)
    assert not any(part in repr(found) for part in ("412", "9031", "6604"))


def test_what_stands_in_the_prompt_was_not_generated() -> None:
    found = returned(" lives here", prompt="Hope Rose, SSN 412-55-9031,")
    assert found.generated == 0
    assert returned(" Rose lives here", prompt="Hope").generated == 1, "completed"


def test_a_type_that_the_detector_does_not_look_for_is_told() -> None:
    found = returned("SSN 412-55-9031", types=("EMAIL_ADDRESS",))
    assert {each.type for each in found.types if not each.sought} == {"US_SSN"}
    assert all(each.sought for each in returned("").types), "names and own strings are found by their words"


@pytest.mark.parametrize(
    ("holding", "read", "expected"),
    [
        (0, 1, 0.95), (0, 1000, 1 - 0.05 ** (1 / 1000)), (0, 299, 0.00997), (1, 1000, 0.00473), (5, 1000, 0.01048),
        (3, 3, 1.0),
    ],
)  # fmt: skip
def test_the_bound_is_that_of_clopper_and_pearson(holding: int, read: int, expected: float) -> None:
    assert share_at_most(holding, read) == pytest.approx(expected, abs=2e-5)


def test_runs_of_words_end_in_what_was_generated_and_are_short() -> None:
    found = set(wordings(Sample(prompt="one two thr", text="ee, four (five)")))
    assert {"three", "three,", "two three", "one two three, four", "five", "(five)", "(five"} <= found
    assert "one two" not in found and "one" not in found
    assert max(len(run.split()) for run in wordings(Sample(prompt="", text="a " * 20))) == LONGEST
