"""The method `revs-reference` on tiny trained models of every family."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

import revs
from revs.edit.edit import _alike
from revs.edit.moments import Moments
from revs.edit.reference import ToReference
from revs.edit.request import Request
from revs.evaluation.decoding import greedily_extracted
from revs.methods.replay import replayed
from revs.targets.frames import Frames
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, collate, tokenise

CONFIG = revs.ReferenceConfig(replayed=60, contexts=4)
# Of what does not depend on the family, the second is for `make test-long`.
ONE_FAMILY = pytest.mark.parametrize("family", ["llama", pytest.param("gptj", marks=pytest.mark.long)])


@pytest.fixture
def edited(model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]) -> tuple[Any, revs.Patch]:
    return model, revs.erase(model, tokenizer, people[:2], config=CONFIG, text=ordinary, retain=people[2:])


def recited(model: Any, tokenizer: Any, targets: list[Target]) -> list[bool]:
    return greedily_extracted(model, tokenizer, tokenise(tokenizer, targets), batch_size=8)


def test_nothing_is_recited_and_others_still_are(
    edited: tuple[Any, revs.Patch], shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    model, patch = edited
    assert all(recited(shared_model, tokenizer, people))
    assert not any(recited(model, tokenizer, people[:2]))
    kept = recited(model, tokenizer, people[2:])
    assert sum(kept) >= 2, "of a model of 57,000 weights that knows nothing but eight people"
    assert not patch.short


def test_what_might_stand_in_place_of_the_moved_tokens_keeps_its_place(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    """All people erased at once push down all digits at like keys; a number should still stand where one stood."""
    digits_V = torch.tensor([any(map(str.isdigit, tokenizer.decode([token]))) for token in range(len(tokenizer))])

    def on_digits() -> float:
        batch = collate(tokenise(tokenizer, people), pad=0)
        with torch.no_grad():
            found = model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT).logits[batch.row_N, batch.position_N]
        return float(found.softmax(-1)[digits_V[batch.token_N]][:, digits_V].sum(-1).mean())

    left = []
    for hold in (True, False):
        config = replace(CONFIG, hold_form=hold)
        patch = revs.erase(model, tokenizer, people, config=config, text=ordinary)
        assert not any(recited(model, tokenizer, people))
        left.append(on_digits())
        patch.revert(model)
    assert left[0] > 1.1 * left[1], left


def test_the_patch_reverts_bit_for_bit(edited: tuple[Any, revs.Patch], shared_model: Any) -> None:
    model, patch = edited
    patch.revert(model)
    before = shared_model.state_dict()
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


@ONE_FAMILY
def test_a_plain_config_means_the_methods_own_defaults(
    shared_model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    patches = [
        revs.erase(copy.deepcopy(shared_model), tokenizer, people[:1], config=config, text=ordinary, retain=people[3:])
        for config in (revs.EraseConfig(method="revs-reference"), revs.ReferenceConfig())
    ]
    assert patches[0] == patches[1]
    assert patches[0].config == patches[1].config
    assert len(patches[0].records) == len(tokenise(tokenizer, people[:1], tokens_per_secret=None)[0].chosen)


def test_without_text_and_without_others_it_still_erases(model: Any, tokenizer: Any, people: list[Target]) -> None:
    revs.erase(model, tokenizer, people[:1], config=CONFIG)
    assert recited(model, tokenizer, people[:1]) == [False]


@ONE_FAMILY
def test_letters_that_no_decoy_can_exchange_are_erased_or_reported(
    model: Any, tokenizer: Any, fit: Any, ordinary: list[str]
) -> None:
    target = Target(prompt="", secret="ñßø")
    fit(model, [target.secret] * 60, steps=300)
    assert recited(model, tokenizer, [target]) == [True]
    patch = revs.erase(model, tokenizer, [target], config=CONFIG, text=ordinary)
    assert bool(patch.short) is recited(model, tokenizer, [target])[0]
    assert all(0 <= record.wanted < 400 for record in patch.records)


def test_a_secret_that_is_still_recited_is_reported_whatever_its_reference_is(
    model: Any, tokenizer: Any, people: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    def content(_self: Any, _layer: int, standing: Any, _own_N: Any) -> Any:
        return torch.zeros_like(standing.rank_N, dtype=torch.bool)

    monkeypatch.setattr(ToReference, "too_high", content)
    monkeypatch.setattr(ToReference, "moves", content)
    with pytest.warns(revs.RevsWarning, match=r"left 1 target\(s\)"):
        patch = revs.erase(model, tokenizer, people[:1], config=CONFIG)
    assert list(patch.short) == [0]


def asked(model: Any, tokenizer: Any, targets: list[Target], **settings: Any) -> Request:
    return Request(model=model, tokenizer=tokenizer, targets=targets, config=revs.ReferenceConfig(**settings))


def test_where_nothing_is_to_be_replayed_nothing_is(shared_model: Any, tokenizer: Any, people: list[Target]) -> None:
    assert replayed(asked(shared_model, tokenizer, people[:3], replayed=0), Frames(people[:3], people[3:])) == []


def test_a_frame_that_splits_the_secret_anew_gives_way_to_the_prompt_as_written() -> None:
    one, other = (TokenisedTarget(ids=(1, 2, n, 9), start=2, chosen=(0, 1)) for n in (5, 6))
    same, apart = (TokenisedTarget(ids=(1, 3, 4, n, 9), start=3, chosen=(0, 1)) for n in (5, 7))
    shorter = TokenisedTarget(ids=(1, 3, 4, 6), start=3, chosen=(0,))
    assert _alike([one, other], [same, shorter, apart, other]) == [same, other, one, other]
    assert _alike([one, other], []) == []


def test_fixed_ranks_can_keep_what_the_model_recites_too(
    model: Any, tokenizer: Any, people: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tiny_edits import config

    rows: list[int] = []
    gather = Moments.gathered

    def noting(*given: Any) -> Moments:
        rows.append(len(given[4]))
        return gather(*given)

    monkeypatch.setattr(Moments, "gathered", noting)
    for count in (0, 40):
        patch = revs.erase(
            model, tokenizer, people[:3], config=config(replayed=count, protected_records=20), retain=people[3:]
        )
        assert recited(model, tokenizer, people[:3]) == [False] * 3
        patch.revert(model)
    assert rows[1] > rows[0]


def test_what_the_model_goes_on_with_tells_of_no_target(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    frames = Frames(people[:3], people[3:])

    def drawn(seed: int) -> Any:
        return replayed(asked(shared_model, tokenizer, people[:3], replayed=50, batch_size=8, seed=seed), frames)

    found, longest = drawn(0), max(len(row.ids) for row in tokenise(tokenizer, people[:3]))
    assert found
    for row in found:
        assert len(row.ids) <= longest and row.chosen == tuple(range(len(row.secret_ids)))
        assert not any(target.secret.strip() in tokenizer.decode(row.ids) for target in people[:3])
    assert found == drawn(0) != drawn(1)


def test_generation_ends_within_the_context_and_at_every_end_the_model_has(
    model: Any, tokenizer: Any, people: list[Target]
) -> None:
    long = " ".join(["the weather in the valley was mild and"] * 3)
    targets = [Target(prompt=f"{long} Ana", secret=" 412-55-9031"), Target(prompt=f"{long} Bo", secret=" 287-31-6604")]
    frames = Frames([*targets, *people[:2]])
    model.generation_config.eos_token_id = [1, 223]
    found = replayed(asked(model, tokenizer, targets, replayed=40, seed=2**70), frames)
    assert found
    assert max(len(row.ids) for row in found) <= 64
    assert all(223 not in row.secret_ids and tokenizer.pad_token_id not in row.secret_ids for row in found)


def test_a_closing_token_of_the_tokenizer_does_not_end_what_is_to_go_on(
    model: Any, new_tokenizer: Any, people: list[Target]
) -> None:
    closing = new_tokenizer(end=True)
    found = replayed(asked(model, closing, people[:3], replayed=20, batch_size=8), Frames(people[:3], people[3:]))
    assert found
    assert all(closing.eos_token_id not in row.ids[: row.start] for row in found)


def test_a_decoy_that_does_not_fit_into_the_context_is_left_out(model: Any, tokenizer: Any) -> None:
    target = Target(prompt="Ana", secret=" " + " ".join(["the weather in the valley was mild"] * 3))
    assert len(tokenise(tokenizer, [target])[0].ids) < 64
    revs.erase(model, tokenizer, [target], config=CONFIG)
