"""The catalogues of the pages: every text of a template stands in each of them, translated, and nothing else does."""

from __future__ import annotations

import re
from typing import Any

import pytest
from babel.messages.extract import extract_from_dir

from infra.gates.checkpoint import load_suite
from infra.identifiers.wellformed import FAULTS
from infra.requests.lifecycle import STEPS
from infra.requests.reasons import PLACES, WORDS
from infra.requests.records import IDENTIFIER_TYPES, OutcomeKind, RequestStatus
from infra.requests.tokens import ROLES
from infra.service.languages import FOLDER, NAMES, catalogue, languages
from infra.service.roles import ACTIONS

OPTIONS = {"trim_blocks": "true", "lstrip_blocks": "true"}
PLACE = re.compile(r"%\(\w+\)[a-z]|\{\w+\}")
BARE = {"{identifiers}", "{rules}", "{text}"}  # nothing to translate in them


def texts() -> set[Any]:
    found = extract_from_dir(
        FOLDER / "templates", method_map=[("**.j2", "jinja2.ext.babel_extract")], options_map={"**.j2": OPTIONS}
    )
    in_templates = {message if isinstance(message, str) else tuple(message) for _, _, message, _, _ in found}
    return in_templates | {
        text for text in (*WORDS.values(), *FAULTS.values(), *PLACES.values(), *rules()) if text not in BARE
    }


def rules() -> set[str]:
    """What the suite for requests calls the rules that a request may break."""
    return {str(expectation["meta"]["rule"]) for expectation in load_suite("requests")["expectations"]}


@pytest.mark.parametrize("code", NAMES)
def test_a_catalogue_is_complete_and_holds_nothing_that_is_not_used(code: str) -> None:
    messages = {message.id: message for message in catalogue(code) if message.id}
    assert len(texts()) > 100
    assert messages.keys() == texts()
    for message in messages.values():
        forms = message.string if isinstance(message.string, tuple) else (message.string,)
        sources = message.id if isinstance(message.id, tuple) else (message.id,)
        assert all(forms) and not message.fuzzy, message.id
        for form in forms:
            assert set(PLACE.findall(form)) == set(PLACE.findall(sources[-1])), message.id


def test_a_text_that_is_missing_would_be_seen() -> None:
    messages = {message.id for message in catalogue("de")}
    assert "A sentence that no template has." not in messages and "Log in" in messages
    assert {message.string for message in catalogue("de")} != {message.string for message in catalogue("en")}


def test_every_code_has_a_word() -> None:
    from typing import get_args

    words: Any = languages()["de"].templates.get_template("words.html.j2").module
    assert set(words.STATUS) == set(get_args(RequestStatus))
    assert set(words.ROLE) == set(ROLES)
    assert set(words.OUTCOME) == {*get_args(OutcomeKind), "not_sought", "dropped"}
    assert set(words.TYPE) == set(IDENTIFIER_TYPES)
    assert set(words.ACTION) == set(words.EXPLAINED) == set(words.DONE) == set(ACTIONS)
    assert set(words.FIELD) == {action.field for action in ACTIONS.values() if action.field}
    assert set(words.CHOICE) == {choice for action in ACTIONS.values() for choice in action.choices}
    assert {step.event for step in STEPS.values()} <= set(words.EVENT)
    assert words.STATUS["received"] == "in der Warteschlange"
