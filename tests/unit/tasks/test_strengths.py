"""The settings of the edit that a batch tries one after the other: each must suit the model, however few its tokens."""

from __future__ import annotations

import pytest

from tasks.stages.edit import fitting, strengths

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
