"""A pass that is cut into parts edits as one pass does, in every family."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from families import EVERY_FAMILY
from torch import Tensor

import revs
from revs.edit import passes
from revs.edit.passes import edited_pass
from revs.model.batch import pieces
from revs.model.families import architecture_of
from revs.targets.target import Target
from revs.targets.tokenize import collate, tokenise


@pytest.mark.parametrize("kept", [True, False], ids=["keys kept", "edited layers run again"])
@pytest.mark.parametrize("name", EVERY_FAMILY)
def test_a_pass_in_parts_edits_as_one_pass_does(
    name: str, kept: bool, new_model: Callable[..., Any], tokenizer: Any, people: list[Target],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Each layer is given what it was given in one pass, and gets the same change."""
    if not kept:
        monkeypatch.setattr(passes, "KEPT", 0)
    whole, parted = new_model(name), new_model(name)
    batch = collate(tokenise(tokenizer, people), pad=2)

    def run(model: Any, rows: int) -> list[tuple[Tensor, Tensor]]:
        architecture, seen = architecture_of(model), []
        layers = architecture.decoder_layers(model)

        def edit(layer: int, keys_Nm: Tensor, hidden_Nd: Tensor) -> Any:
            seen.append((keys_Nm, hidden_Nd))
            if layer == 1:  # one that is left alone
                return None
            old_dm = architecture.weight(layers[layer])
            change_dm = 0.02 * (hidden_Nd.T @ keys_Nm) / len(keys_Nm)
            architecture.set_weight(layers[layer], old_dm + change_dm)
            return lambda keys_BTm, hidden_BTd: (
                hidden_BTd + architecture.residual_change(layers[layer], keys_BTm, old_dm, change_dm)
            )

        edited_pass(model, architecture, batch, edit, rows=rows)
        return seen

    parts = run(parted, 3)
    for (keys, hidden), (own_keys, own_hidden) in zip(run(whole, 64), parts, strict=True):
        torch.testing.assert_close(own_keys, keys, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(own_hidden, hidden, rtol=1e-4, atol=1e-5)
    for (weight_name, weight), other in zip(whole.named_parameters(), parted.parameters(), strict=True):
        torch.testing.assert_close(other, weight, rtol=1e-4, atol=1e-6, msg=weight_name)


def test_an_edit_in_parts_is_the_edit_in_one_pass(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the passes of the edit itself are cut here: the moments, summed in another order, would differ too."""
    other = copy.deepcopy(model)
    options: dict[str, Any] = {"text": ordinary, "retain": people[4:]}
    one = revs.erase(model, tokenizer, people[:4], config=revs.EraseConfig(low_rank=40, aim_rank=60), **options)
    monkeypatch.setattr(passes, "pieces", lambda batch, _rows: pieces(batch, 7))
    parts = revs.erase(other, tokenizer, people[:4], config=revs.EraseConfig(low_rank=40, aim_rank=60), **options)
    assert [record.stopped for record in one.records] == [record.stopped for record in parts.records]
    for name in one.weights:
        torch.testing.assert_close(other.get_parameter(name), model.get_parameter(name), rtol=1e-4, atol=1e-5)


def test_a_pass_in_parts_that_fails_leaves_no_layer_skipped(
    model: Any, tokenizer: Any, people: list[Target], digests: Callable[[Any], dict[str, str]]
) -> None:
    before, ids = digests(model), torch.tensor([[0, 5, 7]])
    logits = model(input_ids=ids).logits

    def fail(layer: int, _keys: Tensor, _hidden: Tensor) -> None:
        if layer == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        edited_pass(model, architecture_of(model), collate(tokenise(tokenizer, people), pad=2), fail, rows=2)
    assert torch.equal(model(input_ids=ids).logits, logits)
    assert digests(model) == before
    assert not any("forward" in vars(module) for module in model.modules())
