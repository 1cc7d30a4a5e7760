"""Every supported family, on a tiny trained model, against the plain Hugging Face forward pass."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from families import EVERY_FAMILY, new_config
from torch import Tensor

import revs
from revs.errors import BadInput
from revs.evaluation.ranks import read
from revs.model.families import ARCHITECTURES, architecture_of, context_length
from revs.model.hooks import run
from revs.targets.target import Target
from revs.targets.tokenize import collate, tokenise

LOW, AIM = 40, 60


@pytest.fixture(scope="module", params=EVERY_FAMILY)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def memorised(family: str, new_model: Any, train: Any, tokenizer: Any) -> Any:
    return train(new_model(family, layers=2), tokenizer)


def edit(model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]) -> revs.Patch:
    settings = revs.EraseConfig(low_rank=LOW, aim_rank=AIM)
    return revs.erase(model, tokenizer, people[:3], config=settings, text=ordinary, retain=people[3:])


def own_ranks(model: Any, tokenizer: Any, target: Target) -> dict[int, int]:
    """Rank of every token of the secret, by place, from the model's own logits."""
    (tokens,) = tokenise(tokenizer, [target])
    with torch.no_grad():
        logits_TV = model(input_ids=torch.tensor([tokens.ids])).logits[0].float()
    return {
        place: int((logits_TV[tokens.start + place - 1] > logits_TV[tokens.start + place - 1, token]).sum())
        for place, token in enumerate(tokens.secret_ids)
    }


def test_every_family_of_the_registry_stands_in_this_table() -> None:
    assert {family.split(",")[0] for family in EVERY_FAMILY} == set(ARCHITECTURES)


def test_after_the_edit_the_ranks_of_the_models_own_logits_are_what_the_records_say(
    memorised: Any, tokenizer: Any, people: list[Target], ordinary: list[str], digests: Callable[[Any], dict[str, str]]
) -> None:
    model = copy.deepcopy(memorised)
    before = digests(model)
    patch = edit(model, tokenizer, people, ordinary)
    ranks = [own_ranks(model, tokenizer, target) for target in people[:3]]
    for record in patch.records:
        assert record.rank_before == own_ranks(memorised, tokenizer, people[record.target])[record.place]
        assert abs(record.rank_after - ranks[record.target][record.place]) <= 1, "batched and single logits round apart"
    assert all(record.rank_after >= LOW for record in patch.records), [record.rank_after for record in patch.records]
    architecture = architecture_of(model)
    layers = range(len(architecture.decoder_layers(model)))
    may_change = {name for layer in layers for name in architecture.weight_names(layer)}
    assert {name for name, digest in digests(model).items() if digest != before[name]} <= may_change
    patch.revert(model)
    assert digests(model) == before


def test_the_logit_lens_of_the_last_layer_is_the_models_own_output(
    memorised: Any, tokenizer: Any, people: list[Target]
) -> None:
    tokens = tokenise(tokenizer, people)
    last = read(memorised, tokens, pad=2).rank_LN[-1].tolist()
    own = [rank for target in people for rank in own_ranks(memorised, tokenizer, target).values()]
    assert max(abs(a - b) for a, b in zip(last, own, strict=True)) <= 1


def test_a_change_of_the_writers_moves_the_layers_output_as_the_adapter_says(
    memorised: Any, tokenizer: Any, people: list[Target]
) -> None:
    """Against the family's own forward pass: plain, scaled, transposed, several writers, a norm behind them."""
    architecture = architecture_of(memorised)
    batch = collate(tokenise(tokenizer, people), pad=2)
    layer = architecture.decoder_layers(memorised)[0]
    old_dm = architecture.weight(layer)
    change_dm = 0.05 * torch.randn(old_dm.shape, generator=torch.Generator().manual_seed(0))

    def first_layer(model: Any) -> tuple[Tensor, Tensor]:
        seen: list[tuple[Tensor, Tensor]] = []
        run(
            model, architecture, batch, lambda number, keys, hidden: seen.append((keys, hidden)) if not number else None
        )
        return seen[0]

    keys_BTm, before_BTd = first_layer(memorised)
    edited = copy.deepcopy(memorised)
    architecture.set_weight(architecture.decoder_layers(edited)[0], old_dm + change_dm)
    _, after_BTd = first_layer(edited)
    expected_BTd = before_BTd + architecture.residual_change(layer, keys_BTm, old_dm, change_dm)
    torch.testing.assert_close(expected_BTd, after_BTd, rtol=1e-4, atol=1e-4)


def test_gradients_at_the_writers_are_those_of_automatic_differentiation(memorised: Any) -> None:
    architecture = architecture_of(memorised)
    layer = architecture.decoder_layers(memorised)[1]
    draw = torch.Generator().manual_seed(1)
    old_dm = architecture.weight(layer).double()
    keys_Nm = torch.randn(4, old_dm.shape[1], generator=draw, dtype=torch.float64)
    gradients_Nd = torch.randn(4, old_dm.shape[0], generator=draw, dtype=torch.float64)
    change_dm = torch.zeros_like(old_dm, requires_grad=True)
    module = copy.deepcopy(layer).double()
    moved_Nd = architecture.residual_change(module, keys_Nm, old_dm, change_dm)
    pulled_Nd = architecture.pull_back(layer, keys_Nm, gradients_Nd)
    for key_m, moved_d, gradient_d, pulled_d in zip(keys_Nm, moved_Nd, gradients_Nd, pulled_Nd, strict=True):
        (expected_dm,) = torch.autograd.grad((moved_d * gradient_d).sum(), change_dm, retain_graph=True)
        torch.testing.assert_close(pulled_d[:, None] * key_m, expected_dm, rtol=1e-4, atol=1e-6)


def test_a_saved_model_of_the_family_loads_and_its_patch_survives_the_disk(
    memorised: Any, tokenizer: Any, people: list[Target], ordinary: list[str], tmp_path: Path
) -> None:
    memorised.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    model, loaded_tokenizer = revs.load(tmp_path / "model")
    patch = edit(model, loaded_tokenizer, people, ordinary)
    patch.save(tmp_path / "patch")
    again, _ = revs.load(tmp_path / "model")
    revs.Patch.load(tmp_path / "patch").apply(again)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


@pytest.mark.parametrize(
    ("family", "settings", "word"),
    [
        pytest.param("opt", {"do_layer_norm_before": False}, "OPT", id="OPT that normalises behind the sum"),
        pytest.param("opt", {"word_embed_proj_dim": 16}, "OPT", id="OPT that projects its output"),
        pytest.param("bloom", {"apply_residual_connection_post_layernorm": True}, "BLOOM", id="BLOOM behind the norm"),
    ],
)
def test_a_variant_of_a_family_that_is_built_otherwise_is_refused(
    family: str, settings: dict[str, Any], word: str
) -> None:
    from transformers import AutoModelForCausalLM

    config = new_config(family, layers=1)
    for name, value in settings.items():
        setattr(config, name, value)
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(BadInput, match=word):
        architecture_of(model)


def test_a_family_that_names_no_context_length_gets_one(new_model: Any) -> None:
    assert context_length(new_model("bloom", layers=1)) == 2048
    assert context_length(new_model("gpt2", layers=1)) == context_length(new_model("llama", layers=1)) == 64
