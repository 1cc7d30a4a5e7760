"""Every reason has words in every language, and none of its parameters is a value of the request."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import get_args

import pytest

from infra.identifiers.wellformed import FAULTS
from infra.requests.lifecycle import HoldGround, RefusalGround
from infra.requests.reasons import WORDS, Reason, malformed
from infra.service.languages import NAMES, languages

PARAMETERS: dict[str, object] = {
    "field": "identifiers[0].value", "type": "US_SSN", "types": ["US_SSN", "URL"], "fields": ["subject"], "most": 1000,
    "fault": "ssn_digits", "count": 8, "wanted": 9, "regimes": "ccpa, gdpr", "models": ["demo"], "columns": 4,
    "other": 2, "day": "2026-12-02",
    "batch": "B-20261102-000000", "rules": ["there is no identifier"], "text": "as before",
    "identifiers": [{"number": 0, "type": "US_SSN", "kind": None}],
}  # fmt: skip


def of(code: str) -> Reason:
    return Reason(code, {name: PARAMETERS[name] for name in re.findall(r"\{(\w+)\}", WORDS[code])} | {"count": 8})


@pytest.mark.parametrize("code", WORDS)
def test_a_reason_makes_a_sentence_in_every_language(code: str) -> None:
    said = {name: languages()[name].templates.filters["said"] for name in NAMES}
    words = {name: say(of(code)) for name, say in said.items()}
    assert all(words.values()) and not any("{" in each for each in words.values())
    assert words["en"] == str(of(code))
    assert words["de"] != words["en"] or code in ("told", "unsettled")


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_of_a_value_has_words(fault: str) -> None:
    found = malformed("bad_value", field="value", type="US_SSN", fault=fault, count=8, wanted=9)
    assert str(found).startswith("value (US_SSN) ") and "{" not in str(found)


@pytest.mark.parametrize("ground", sorted({*get_args(HoldGround), *get_args(RefusalGround)}))
def test_every_ground_is_a_reason(ground: str) -> None:
    assert str(Reason(ground))


@pytest.mark.parametrize(
    ("place", "begins"),
    [
        (lambda reason: reason.at(line=3), "line 3: subject is"),
        (lambda reason: reason.at(item=2), "item 2: subject is"),
        (lambda reason: reason, "subject is"),
    ],
)
def test_the_place_in_a_file_comes_first(place: Callable[[Reason], Reason], begins: str) -> None:
    assert str(place(malformed("no_text", field="subject"))).startswith(begins)
