"""Prompts without a corpus: templates by type, with and without the subject's name."""

from __future__ import annotations

import pytest

from revs.discover.prompts import TEMPLATES, openings, prompted
from revs.errors import BadInput
from revs.targets.target import Target


def test_every_type_has_a_handful_of_templates_some_without_a_name() -> None:
    from infra.requests.records import IDENTIFIER_TYPES

    assert set(TEMPLATES) == set(IDENTIFIER_TYPES)
    for templates in TEMPLATES.values():
        assert 4 <= len(templates) <= 6
        assert any("{name}" not in template for template in templates)


def test_an_identifier_stands_behind_every_template_with_its_space() -> None:
    found = prompted([("US_SSN", "900-12-3456")], name="Ana {x} Bell")
    assert Target(prompt="Employee Ana {x} Bell, SSN", secret=" 900-12-3456") in found
    assert Target(prompt="SSN:", secret=" 900-12-3456") in found
    assert len(found) == len(TEMPLATES["US_SSN"])
    assert all(target.prompt.strip() for target in found)


def test_without_a_name_only_templates_without_one_are_used() -> None:
    found = prompted([("EMAIL_ADDRESS", "ana@example.com")])
    assert {target.prompt for target in found} == {"Email:", "Send your questions to"}


def test_an_unknown_type_is_prompted_like_a_custom_one() -> None:
    assert [t.prompt for t in prompted([("BADGE", "K-4711")])] == ["ID:"]


def test_a_blank_identifier_is_refused() -> None:
    with pytest.raises(BadInput, match="of type URL is blank"):
        prompted([("URL", "  ")])


def test_openings_end_where_the_next_token_begins_and_come_once() -> None:
    found = openings(["PHONE_NUMBER", "PHONE_NUMBER", "PERSON"], names=["Ana", "Bo"])
    assert len(found) == len(set(found))
    assert {"Call Ana at", "Call Bo at", "Phone:", "Best regards,\n"} <= set(found)
    assert not any(opening.endswith(" ") or "{name}" in opening for opening in found)
