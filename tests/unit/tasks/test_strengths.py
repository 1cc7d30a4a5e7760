"""The settings of the edit that a batch tries one after the other: each must suit the model, however few its tokens."""

from __future__ import annotations

import pytest

from tasks.stages.edit import fitting, strengths


@pytest.mark.parametrize("vocabulary", [2, 256, 300, 400, 500, 800, 50_000])
def test_every_setting_suits_every_vocabulary(vocabulary: int) -> None:
    for name, config in strengths():
        fitted = fitting(config, vocabulary)  # what is no setting at all raises here
        assert 2 * fitted.aim_rank <= vocabulary, name
        assert (fitted == config) == (2 * config.aim_rank <= vocabulary), "no other setting is touched"
