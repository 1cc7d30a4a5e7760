"""A text is read whole, however long it is: one string of many paragraphs says as much as the paragraphs do."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import revs
from revs.edit import moments, text_moments
from revs.targets.target import Target


@pytest.fixture
def model(trained_models: dict[str, Any]) -> Any:
    """One family is enough: nothing here depends on it."""
    return copy.deepcopy(trained_models["llama"])


@pytest.mark.parametrize("paragraphs", [1, 10, 40])
def test_the_moments_are_of_all_tokens_of_one_long_string(
    paragraphs: int, model: Any, tokenizer: Any, ordinary: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys of the first layer's FF2 in a model without attention are those of the token: borders do not matter."""
    from revs.model.families import architecture_of

    monkeypatch.setattr(text_moments, "AGREE", 0.0)  # all is read
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
    rows = [ordinary[n % len(ordinary)] for n in range(paragraphs)]
    config = revs.EraseConfig(batch_size=8)

    def gathered(text: list[str]) -> list[Tensor]:
        found = moments.Moments.gathered(model, architecture_of(model), tokenizer, text, (), config)
        return [found.of(layer) for layer in range(3)]

    tokenizer_without = copy.deepcopy(tokenizer)
    tokenizer_without.backend_tokenizer.post_processor = type(tokenizer_without.backend_tokenizer.post_processor)(
        single="$A", special_tokens=[]
    )
    tokenizer, spaced = tokenizer_without, [rows[0], *(" " + row for row in rows[1:])]
    for one, many in zip(gathered(["".join(spaced)]), gathered(spaced), strict=True):
        torch.testing.assert_close(one, many, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["gradient-difference", "npo-kl"])
def test_what_a_baseline_keeps_is_the_whole_text(
    method: str, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from revs.methods.baselines import tuning

    kept: list[int] = []

    def note(sequences: Any, size: int, seed: int) -> Any:
        kept.append(sum(len(sequence.ids) for sequence in sequences))
        return draws(sequences, size, seed)

    draws = tuning.draws
    monkeypatch.setattr(tuning, "draws", note)
    text = " ".join(ordinary * 3)
    settings = revs.EraseConfig(method=method, batch_size=2)
    revs.erase(model, tokenizer, people[:2], config=settings, text=[text])
    assert kept[-1] >= len(tokenizer(text)["input_ids"]) > 64
