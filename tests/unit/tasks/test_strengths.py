"""The settings of the edit that a batch tries one after the other: each must suit the model, however few its tokens."""

from __future__ import annotations

import pytest

from tasks.stages.edit import fitting, holding_form, strengths

METHODS = ("revs-reference", "revs")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("vocabulary", [2, 256, 300, 400, 500, 800, 50_000])
def test_every_setting_suits_every_vocabulary(method: str, vocabulary: int) -> None:
    for name, config in strengths(method):
        fitted = fitting(config, vocabulary)  # what is no setting at all raises here
        assert 2 * fitted.aim_rank <= vocabulary, name
        assert (fitted == config) == (2 * config.aim_rank <= vocabulary), "no other setting is touched"


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_is_of_the_method_and_no_two_are_the_same(method: str) -> None:
    settings = [config for _, config in strengths(method)]
    assert {config.method for config in settings} == {method}
    assert len(set(map(repr, settings))) == len({name for name, _ in strengths(method)}) == len(settings)


def test_no_setting_of_the_reference_goes_further_than_the_reference() -> None:
    """What never stood there is a trace: stronger means in more contexts, and nearer to it."""
    from revs.config import ReferenceConfig

    standard, *stronger = (config for _, config in strengths("revs-reference"))
    assert isinstance(standard, ReferenceConfig) and standard == ReferenceConfig()
    for config in stronger:
        assert isinstance(config, ReferenceConfig) and 0 <= config.slack <= standard.slack
        assert config.contexts >= standard.contexts and config.frames >= standard.frames


@pytest.mark.parametrize(("digits", "holds"), [(1, True), (3, False)], ids=["digit by digit", "three digits a token"])
def test_where_digits_are_tokens_of_their_own_the_form_is_held(digits: int, holds: bool) -> None:
    from revs.config import ReferenceConfig
    from revs.development.tokenizer import train_tokenizer

    texts = [
        "My number is 219-41-0042.",
        "Call 555-0163 or 555-0187.",
        "Numbers such as 12, 85 and 300 stand in text too.",
    ]
    tokenizer = train_tokenizer(texts * 9, vocab_size=400, digits=digits)
    for name, config in strengths("revs-reference"):
        found = holding_form(config, tokenizer)
        assert isinstance(found, ReferenceConfig) and found.hold_form is holds, name
    for name, config in strengths("revs"):
        assert holding_form(config, tokenizer) == config, name
