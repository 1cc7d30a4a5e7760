"""The baselines on tiny trained models: all keep the promises of the call."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, cast

import pytest
import torch
from tiny_baselines import EDITING, ON_FF2, TINY, Digests, erased, ff2_names, mean_log_p

import revs
from revs.config import EraseConfig, NeuronsConfig
from revs.errors import BadInput
from revs.methods.baselines import BASELINES
from revs.methods.baselines.gradient import GradientAscentConfig
from revs.methods.baselines.settings import ConstrainedConfig
from revs.model.families import architecture_of
from revs.targets.target import Target


@pytest.mark.parametrize("key", EDITING)
def test_the_secret_gets_less_likely_only_its_weights_move_and_reverting_is_exact(
    key: str, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], digests: Digests
) -> None:
    before, log_p = digests(model), mean_log_p(model, tokenizer, people[:3])
    patch = erased(model, tokenizer, people, TINY[key], ordinary)
    after = digests(model)
    changed = {name for name in before if before[name] != after[name]}
    assert patch.method == key
    assert changed == set(patch.weights), "the patch tells what moved"
    assert changed
    if key in ON_FF2:
        assert changed <= ff2_names(model)
    assert mean_log_p(model, tokenizer, people[:3]) < log_p - 0.01
    assert len(patch.records) == 6
    assert all(record.rank_before == 0 and record.columns > 0 for record in patch.records)
    patch.revert(model)
    assert digests(model) == before


@pytest.mark.parametrize("key", EDITING)
def test_the_same_seed_gives_the_same_patch_whatever_torchs_own_random_state(
    key: str, trained_models: dict[str, Any], tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    from copy import deepcopy

    def once(state: int) -> revs.Patch:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(state)
            held = torch.random.get_rng_state()
            patch = erased(deepcopy(trained_models["llama"]), tokenizer, people, config, ordinary)
            assert torch.equal(torch.random.get_rng_state(), held)
            return patch

    # Fewer than there are to forget in one step, so that their order counts.
    config = replace(TINY[key], seed=3, batch_size=2)
    assert once(0) == once(1)


@pytest.mark.parametrize("key", TINY)
def test_an_empty_list_of_targets_changes_nothing(
    key: str, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], digests: Digests
) -> None:
    before = digests(model)
    patch = revs.erase(model, tokenizer, [], config=TINY[key], text=ordinary, retain=people)
    assert (patch.weights, patch.records, patch.method) == ((), (), key)
    assert digests(model) == before


@pytest.mark.parametrize("key", EDITING)
def test_an_interruption_in_the_middle_restores_weights_gradients_and_mode(
    key: str, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], digests: Digests
) -> None:
    before = digests(model)
    model.train()
    frozen = next(model.parameters()).requires_grad_(False)
    moved = []

    def interrupt(_stage: str, done: int, total: int) -> None:
        if done == total:  # the last stage: something has been written
            moved.append(digests(model) != before)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        erased(model, tokenizer, people, TINY[key], ordinary, progress=interrupt)
    assert moved == [True], "the interruption came before anything had moved and proves nothing"
    assert digests(model) == before
    assert model.training
    assert not frozen.requires_grad
    assert all(weight.requires_grad for weight in model.parameters() if weight is not frozen)
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("key", [key for key in BASELINES if key != "retrain"])
def test_a_plain_configuration_runs_every_method_with_its_own_defaults(
    key: str, trained_models: dict[str, Any], tokenizer: Any, people: list[Target]
) -> None:
    from copy import deepcopy

    model = deepcopy(trained_models["gptj"])
    config = EraseConfig(method=key, seed=4)
    patch = revs.erase(model, tokenizer, people[:1], config=config)  # without text and without retained records
    assert dict(patch.config) == _as_json(asdict(type(TINY[key])(seed=4)))
    assert bool(patch.weights) == (key != "in-context")
    foreign = NeuronsConfig(method=key, seed=4)  # another method's class counts as a plain one
    assert revs.erase(model, tokenizer, [], config=foreign).config == patch.config


def _as_json(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


@pytest.mark.parametrize("key", ["ft-l", "memit", "npo-kl", "rmu"])
def test_a_model_in_bfloat16_is_edited_in_its_dtype_and_reverts(
    key: str, trained_models: dict[str, Any], tokenizer: Any, people: list[Target], ordinary: list[str],
    digests: Digests,
) -> None:  # fmt: skip
    from copy import deepcopy

    model = deepcopy(trained_models["llama"]).to(torch.bfloat16)
    before, log_p = digests(model), mean_log_p(model, tokenizer, people[:3])
    patch = erased(model, tokenizer, people, TINY[key], ordinary)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert mean_log_p(model, tokenizer, people[:3]) < log_p
    patch.revert(model)
    assert digests(model) == before


def test_a_learning_rate_that_overflows_is_refused_and_nothing_stays_changed(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], digests: Digests
) -> None:
    before = digests(model)
    with pytest.raises(BadInput, match="lower the learning rate"):
        erased(model, tokenizer, people, GradientAscentConfig(steps=4, learning_rate=1e30), ordinary)
    assert digests(model) == before


@pytest.mark.parametrize("key", ["ft-l", "max-entropy", "head-projection"])
def test_constrained_fine_tuning_never_leaves_its_ball(
    key: str, shared_model: Any, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    radius, seen = 2e-3, []

    def look(*_: Any) -> None:
        for name in ff2_names(model):
            difference = model.get_parameter(name) - shared_model.get_parameter(name)
            seen.append(float(difference.detach().abs().max()))

    config = replace(cast(ConstrainedConfig, TINY[key]), radius=radius, layers=(1, 2))
    patch = erased(model, tokenizer, people, config, ordinary, progress=look)
    look()
    assert max(seen) <= radius * (1 + 1e-4), "float32 rounds"
    assert max(seen) >= radius * (1 - 1e-4), "the bound was reached, or this proves nothing"
    assert {architecture_of(model).weight_names(n)[0] for n in (1, 2)} == set(patch.weights)


def test_weights_stored_transposed_and_tied_embeddings_are_trained_and_reverted(
    new_model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], digests: Digests
) -> None:
    for key in ("memit", "npo-kl"):
        model = new_model("gpt2")
        before = digests(model)
        patch = erased(model, tokenizer, people, TINY[key], ordinary)
        assert patch.weights
        assert any(record.columns <= 64 * 3 for record in patch.records), "columns are entries of the key"
        patch.revert(model)
        assert digests(model) == before
