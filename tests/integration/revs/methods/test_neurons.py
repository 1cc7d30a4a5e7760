"""The paper's own strategy on tiny trained models: what is recorded, what moves, what stays, with an oracle beside."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from oracle import OracleResult as Oracle
from oracle import OracleSettings, blocks, edit_layer, pick_columns, read_layer, second_matrix, vocabulary_of
from torch import Tensor

import revs
from revs.config import NeuronsConfig, Selection
from revs.errors import BadInput
from revs.methods import neurons
from revs.methods.selection import SELECTIONS, Scene, key_saliency
from revs.model.families import architecture_of
from revs.model.vocabulary import Unembedding
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, collate, tokenise

VOCABULARY, WIDTH, LAYERS = 400, 64, 3
COLUMN, RESIDUAL = 320, 40
Digests = Callable[[Any], dict[str, str]]


def config(**settings: Any) -> NeuronsConfig:
    """The paper's settings on the scale of a layer with 64 columns."""
    small = {"act_filter": 20, "max_columns": 6, "column_rank": COLUMN / VOCABULARY, "residual_rank": RESIDUAL / 400}
    return NeuronsConfig(**{**small, "mlp_rank": 0.0, **settings})


def target_tokens(tokenizer: Any, target: Target, count: int = 2) -> list[tuple[list[int], int, int]]:
    """(ids in front of it, its own id, place in the secret) of each target token."""
    (tokens,) = tokenise(tokenizer, [target], tokens_per_secret=count, context=64)
    return [
        (list(tokens.ids[: tokens.start + place]), tokens.ids[tokens.start + place], place) for place in tokens.chosen
    ]


def plain_rank(model: Any, ids: list[int], token: int) -> int:
    with torch.no_grad():
        logits_V = model(input_ids=torch.tensor([ids])).logits[0, -1]
    return sum(value > logits_V[token] for value in logits_V.tolist())


def second(model: Any, layer: int) -> Tensor:
    """The FF2 matrix of a layer."""
    return second_matrix(blocks(model)[layer]).weight.detach()


def changed_columns(before: Any, after: Any, layer: int) -> set[int]:
    return set((second(before, layer) != second(after, layer)).any(0).nonzero().flatten().tolist())


def second_names(model: Any) -> list[str]:
    return [name for name in model.state_dict() if name.endswith(("mlp.down_proj.weight", "mlp.fc_out.weight"))]


def scene(model: Any, ids: list[int], token: int, layer: int, **given: Any) -> Scene:
    keys_m, _ = read_layer(model, ids, layer)
    return Scene(
        **{
            "key_m": keys_m.float(), "weight_dm": second(model, layer), "token": token,
            "unembedding": Unembedding(model, architecture_of(model)), "act_filter": 20, "saliency_m": None,
            "generator": torch.Generator().manual_seed(0), **given,
        }
    )  # fmt: skip


def test_the_records_are_the_ranks_of_a_plain_forward_pass(
    shared_model: Any, model: Any, tokenizer: Any, people: list[Target]
) -> None:
    patch = revs.erase(model, tokenizer, people[:4], config=config())
    assert (patch.method, patch.sweeps, len(patch.records)) == ("revs-neurons", 1, 8)
    tokens = [target_tokens(tokenizer, target) for target in people[:4]]
    for record in patch.records:
        ((ids, token, _),) = [row for row in tokens[record.target] if row[2] == record.place]
        assert record.rank_before == plain_rank(shared_model, ids, token) == 0, "memorised"
        assert abs(record.rank_after - plain_rank(model, ids, token)) <= 1, "batched and single logits round apart"
        assert record.wanted == RESIDUAL
        assert record.stopped == ("reached" if record.rank_after >= RESIDUAL else "short")
        assert 1 <= record.layers <= LAYERS
        assert record.layers <= record.columns <= 6 * record.layers, "at most max_columns of each layer"
    assert sum(record.rank_after > 0 for record in patch.records) >= 5, "it demotes"


def test_an_edited_column_holds_its_token_at_the_wanted_rank_and_no_other_column_moves(
    shared_model: Any, model: Any, tokenizer: Any, people: list[Target]
) -> None:
    revs.erase(model, tokenizer, people[:1], config=config(tokens_per_secret=1, residual_rank=0.99))
    ((ids, token, _),) = target_tokens(tokenizer, people[0], 1)
    unembedding, vocabulary = Unembedding(model, architecture_of(model)), vocabulary_of(model)
    exact = 0
    for layer in range(LAYERS):
        columns_Cd = second(shared_model, layer).T
        step = unembedding.step_to_rank(columns_Cd, torch.full((WIDTH,), token), wanted=COLUMN)
        keys_m, _ = read_layer(model, ids, layer)  # of the edited model: what the layers below pass on
        picked = set(
            SELECTIONS["rank+activation"](scene(shared_model, ids, token, layer, key_m=keys_m.float()))[:6].tolist()
        )
        movable = {column for column in picked if step.step_N[column] < 0}
        assert changed_columns(shared_model, model, layer) == movable
        for column in movable:
            rank = vocabulary.rank(second(model, layer)[:, column], token)
            assert rank >= COLUMN
            assert rank == step.rank_N[column]
            exact += rank == COLUMN
    assert exact >= 9, "a rank that cannot be hit exactly is the exception"


def test_only_columns_among_the_most_active_of_a_token_are_touched_and_no_other_weight(
    shared_model: Any, model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    revs.erase(model, tokenizer, people[:3], config=config(act_filter=9, max_columns=4))
    tokens = [token for target in people[:3] for token in target_tokens(tokenizer, target)]
    for layer in range(LAYERS):
        active, changed = set(), changed_columns(shared_model, model, layer)
        for ids, _, _ in tokens:
            keys_m, _ = read_layer(model, ids, layer)
            active |= set(keys_m.abs().topk(9).indices.tolist())
        assert changed <= active
        assert 1 <= len(changed) <= 4 * len(tokens)
    before, after = digests(shared_model), digests(model)
    assert {name for name in before if before[name] != after[name]} == set(second_names(model))


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_columns_than_allowed_are_edited_for_a_token(
    most: int, shared_model: Any, model: Any, tokenizer: Any, people: list[Target]
) -> None:
    revs.erase(model, tokenizer, people[:1], config=config(tokens_per_secret=1, max_columns=most, residual_rank=0.99))
    assert [len(changed_columns(shared_model, model, layer)) <= most for layer in range(LAYERS)] == [True] * LAYERS
    assert len(changed_columns(shared_model, model, 0)) == most


@pytest.mark.parametrize(("residual", "mlp"), [(40, 0), (40, 100), (150, 0), (10, 0)])
@pytest.mark.parametrize("person", [0, 1, 4])
def test_columns_are_added_one_by_one_until_the_token_is_low_enough(
    residual: int, mlp: int, person: int, shared_model: Any, model: Any, tokenizer: Any, people: list[Target],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Against a loop that edits column after column and looks; two at a time are solved, so that it must carry on."""
    monkeypatch.setattr(neurons, "_COLUMNS", 2)
    settings = {"max_columns": 64, "act_filter": 64, "residual_rank": residual / 400, "mlp_rank": mlp / 400}
    revs.erase(model, tokenizer, people[person : person + 1], config=config(tokens_per_secret=1, **settings))
    ((ids, token, _),) = target_tokens(tokenizer, people[person], 1)
    vocabulary, unembedding = vocabulary_of(model), Unembedding(model, architecture_of(model))
    q_d = unembedding.directions(torch.tensor([token]))[0]
    keys_m, residual_d = read_layer(shared_model, ids, 0)
    linear = second_matrix(blocks(shared_model)[0])
    output_d = linear(keys_m.float()[None])[0].detach().double()
    expected: set[int] = set()
    for column in SELECTIONS["rank+activation"](scene(shared_model, ids, token, 0, act_filter=64)).tolist():
        if vocabulary.rank(residual_d, token) >= residual and vocabulary.rank(output_d, token) >= mlp:
            break
        step = unembedding.step_to_rank(second(shared_model, 0)[:, column][None], torch.tensor([token]), wanted=COLUMN)
        move_d = (step.step_N[0] * q_d).double() * keys_m[column]
        residual_d, output_d = residual_d + move_d, output_d + move_d
        expected |= {column} if step.step_N[0] < 0 else set()
    assert changed_columns(shared_model, model, 0) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_revert_and_apply_are_exact_to_the_bit(
    dtype: torch.dtype, model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    model.to(dtype)
    old = digests(model)
    patch = revs.erase(model, tokenizer, people[:4], config=config())
    new = digests(model)
    assert new != old
    patch.revert(model)
    assert digests(model) == old
    patch.apply(model)
    assert digests(model) == new


def test_an_empty_list_of_targets_changes_nothing(model: Any, tokenizer: Any, digests: Digests) -> None:
    before = digests(model)
    patch = revs.erase(model, tokenizer, [], config=config(selection="gradient"))
    assert digests(model) == before
    assert (patch.records, patch.weights, patch.sweeps) == ((), (), 0)


def test_a_token_that_ranks_low_enough_is_left_alone(
    model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    before = digests(model)
    never_seen = [Target(prompt=people[0].prompt, secret=" zq")]
    patch = revs.erase(model, tokenizer, never_seen, config=config(residual_rank=1 / VOCABULARY))
    assert digests(model) == before
    assert {record.stopped for record in patch.records} == {"already"}


def test_a_target_given_twice_is_recorded_where_it_first_stood(
    model: Any, tokenizer: Any, people: list[Target]
) -> None:
    patch = revs.erase(model, tokenizer, [people[0], people[0], people[1]], config=config())
    assert [record.target for record in patch.records] == [0, 0, 2, 2]


def test_layers_before_the_first_are_left_alone(
    model: Any, tokenizer: Any, people: list[Target], shared_model: Any
) -> None:
    patch = revs.erase(model, tokenizer, people[:2], config=config(first_layer=2))
    assert list(patch.weights) == second_names(model)[2:]
    assert [bool(changed_columns(shared_model, model, layer)) for layer in range(LAYERS)] == [False, False, True]


def test_the_plain_config_means_the_papers_settings_scaled_to_the_vocabulary(
    model: Any, tokenizer: Any, people: list[Target]
) -> None:
    patch = revs.erase(
        model, tokenizer, people[:1], config=revs.EraseConfig(method="revs-neurons", tokens_per_secret=1)
    )
    expected = {
        "selection": "rank+activation", "act_filter": 1000, "max_columns": 130, "tokens_per_secret": 1,
        "column_rank": 105_000 / 128_256, "residual_rank": 1_000 / 50_400, "mlp_rank": 1_000 / 50_400,
    }  # fmt: skip
    assert {name: patch.config[name] for name in expected} == expected
    assert [record.wanted for record in patch.records] == [8], "1,000 of 50,400 is 8 of 400"


def test_random_columns_depend_on_the_seed_alone(model: Any, tokenizer: Any, people: list[Target]) -> None:
    def moved_columns(seed: int) -> tuple[revs.Patch, dict[str, Tensor]]:
        edited = copy.deepcopy(model)
        patch = revs.erase(edited, tokenizer, people[:2], config=config(selection="random", seed=seed))
        return patch, {n: (edited.get_parameter(n) != model.get_parameter(n)).any(0) for n in patch.weights}

    (one, columns), (same, _), (_, other_columns) = moved_columns(1), moved_columns(1), moved_columns(2)
    assert one == same
    assert any(not torch.equal(columns[name], other_columns[name]) for name in columns)


def test_what_is_refused_leaves_the_model_alone(
    model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    before = digests(model)
    with pytest.raises(BadInput, match=r"known methods: .*revs, revs-neurons"):
        revs.erase(model, tokenizer, people[:1], config=revs.EraseConfig(method="neurons"))
    with pytest.raises(BadInput, match=r"first_layer 3 .* 3 layers"):
        revs.erase(model, tokenizer, people[:1], config=config(first_layer=3))
    with pytest.raises(BadInput, match=r"1 target\(s\) are to be erased and retained"):
        revs.erase(model, tokenizer, people[:2], retain=people[1:4], config=config())
    assert digests(model) == before


def test_an_edit_that_is_interrupted_puts_every_weight_back(
    model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    before = digests(model)
    seen: list[bool] = []

    def interrupt(stage: str, done: int, total: int) -> None:
        assert (stage, total) == ("layer", LAYERS)
        if done == 2:
            seen.append(digests(model) != before)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        revs.erase(model, tokenizer, people[:2], config=config(), progress=interrupt)
    assert seen == [True], "the first layer had changed"
    assert digests(model) == before


def slow_saliency(model: Any, ids: list[int], token: int, layer: int) -> list[float]:
    """|∂ log p / ∂ key entry × key entry| by central differences, one column at a time; a norm may round to float32."""
    model = copy.deepcopy(model).double()
    linear = second_matrix(blocks(model)[layer])

    def log_p(column: int, shift: float) -> float:
        def shifted(_module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
            keys_BTm = inputs[0].clone()
            keys_BTm[0, -1, column] += shift
            return (keys_BTm,)

        handle = linear.register_forward_pre_hook(shifted)
        with torch.no_grad():
            logits_V = model(input_ids=torch.tensor([ids])).logits[0, -1]
        handle.remove()
        return float(logits_V.log_softmax(-1)[token])

    keys_m, _ = read_layer(model, ids, layer)
    return [abs((log_p(column, 0.01) - log_p(column, -0.01)) / 0.02 * float(keys_m[column])) for column in range(WIDTH)]


@pytest.mark.parametrize("selection", [name for name in SELECTIONS if name != "random"])
def test_each_selection_takes_the_columns_a_slow_look_takes(
    selection: str, shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    layer, count = 1, 8
    (tokens,) = tokenise(tokenizer, people[1:2], tokens_per_secret=1, context=64)
    ((ids, token, _),) = target_tokens(tokenizer, people[1], 1)
    keys_m, _ = read_layer(shared_model, ids, layer)
    vocabulary = vocabulary_of(shared_model)
    ranks = [vocabulary.rank(second(shared_model, layer)[:, column], token) for column in range(WIDTH)]
    activation = [abs(float(key)) for key in keys_m]
    most_active = sorted(range(WIDTH), key=lambda column: -activation[column])
    saliency_m = None
    if selection == "gradient":
        architecture = architecture_of(shared_model)
        batch = collate([tokens], pad=2)
        unembedding = Unembedding(shared_model, architecture)
        saliency_m = key_saliency(shared_model, architecture, unembedding, batch, batch_size=64)[layer][0]
        slow = slow_saliency(shared_model, ids, token, layer)
        torch.testing.assert_close(saliency_m, torch.tensor(slow), rtol=0.01, atol=max(slow) / 200)
    expected = {
        "rank+activation": lambda: sorted(most_active[:20], key=lambda column: ranks[column]),
        "activation": lambda: most_active,
        "rank": lambda: sorted(range(WIDTH), key=lambda column: ranks[column]),
        "gradient": lambda: sorted(range(WIDTH), key=lambda column: -slow[column]),
    }[selection]()
    chosen = SELECTIONS[selection](scene(shared_model, ids, token, layer, saliency_m=saliency_m))[:count].tolist()
    assert chosen == expected[:count]


def test_random_takes_every_column_once_in_a_random_order(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    ((ids, token, _),) = target_tokens(tokenizer, people[0], 1)
    orders = [
        SELECTIONS["random"](scene(shared_model, ids, token, 0, generator=torch.Generator().manual_seed(seed))).tolist()
        for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(WIDTH))


def test_every_selection_has_a_name_in_the_settings_and_works(
    shared_model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    assert set(SELECTIONS) == set(get_args(Selection))
    after = set()
    for selection in SELECTIONS:
        model = copy.deepcopy(shared_model).requires_grad_(False)
        patch = revs.erase(model, tokenizer, people[:2], config=config(selection=selection))
        assert patch.weights
        after.add(str(digests(model)))
    assert len(after) == len(SELECTIONS), "no two choose alike"


def test_saliency_of_one_token_depends_on_no_token_behind_it_nor_on_the_batch_and_leaves_no_gradient(
    model: Any, tokenizer: Any, people: list[Target]
) -> None:
    model.zero_grad(set_to_none=True)
    architecture = architecture_of(model)
    unembedding = Unembedding(model, architecture)

    tokenised = tokenise(tokenizer, people[:3], context=64)
    early = replace(tokenised[0], chosen=tokenised[0].chosen[:1])  # nothing behind it is asked for

    def saliency(targets: list[TokenisedTarget], batch_size: int) -> list[Tensor]:
        return key_saliency(model, architecture, unembedding, collate(targets, pad=2), batch_size=batch_size)

    together, alone, single = saliency(tokenised, 64), saliency(tokenised[:1], 1), saliency([early], 1)
    for layer in range(LAYERS):
        assert together[layer].shape == (6, WIDTH)
        slack = {"rtol": 1e-2, "atol": float(together[layer].max()) / 1000}
        torch.testing.assert_close(together[layer][:2], alone[layer], **slack)
        torch.testing.assert_close(together[layer][:1], single[layer], **slack)
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("person", [0, 2, 3])
def test_the_fast_path_and_the_oracle_edit_the_same_columns_into_the_same_band(
    person: int, shared_model: Any, model: Any, tokenizer: Any, people: list[Target]
) -> None:
    """At the first layer, where both see the same activations; later layers see edits that differ within the band."""
    revs.erase(model, tokenizer, people[person : person + 1], config=config(tokens_per_secret=1, residual_rank=0.99))
    ((ids, token, _),) = target_tokens(tokenizer, people[person], 1)
    slow, result, vocabulary = copy.deepcopy(shared_model), Oracle(), vocabulary_of(shared_model)
    settings = OracleSettings(max_columns=6, act_filter=20, column_band=(300, 340), residual_low=396)
    edit_layer(slow, ids, token, 0, vocabulary, settings, result)
    assert result.forward_passes == 1
    tried = {edited.column for edited in result.edited if edited.trials}
    assert changed_columns(shared_model, model, 0) == changed_columns(shared_model, slow, 0) == tried
    keys_m, _ = read_layer(shared_model, ids, 0)
    order = pick_columns(keys_m, second(shared_model, 0), token, vocabulary, settings)
    assert [edited.column for edited in result.edited] == order
    assert SELECTIONS["rank+activation"](scene(shared_model, ids, token, 0))[:6].tolist() == order
    for edited in result.edited:
        assert edited.hit
        assert 300 <= vocabulary.rank(second(slow, 0)[:, edited.column], token) <= 340
        if edited.column in tried:
            assert 300 <= vocabulary.rank(second(model, 0)[:, edited.column], token) <= 340
