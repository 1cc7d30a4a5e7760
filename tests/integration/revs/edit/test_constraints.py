"""Protected tokens: which they are, and that no layer brings them down."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import revs
from revs.edit import sweep as joint_edit
from revs.edit.constraints import Protection, packed, places_like, sharing
from revs.model.families import architecture_of
from revs.model.vocabulary import Unembedding
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, tokenise

LOW, AIM, LONGEST = 40, 60, 12
LIKE_SECRETS = ["Lines 41-55, 28-31 and 633-72 of a table.", "See the flint.ell file, 212-55 to 341-66, desk 9-78."]


def config(**settings: Any) -> revs.EraseConfig:
    return revs.EraseConfig(**{"low_rank": LOW, "aim_rank": AIM, **settings})


def pairs(rows: list[TokenisedTarget]) -> list[tuple[int, ...]]:
    """The token read and the protected one, of every place."""
    return [row.ids[row.start + place - 1 : row.start + place + 1] for row in rows for place in row.chosen]


def test_every_token_that_a_target_token_follows_is_found_with_what_follows_it_in_the_text(
    tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    targets, text = tokenise(tokenizer, people), [*ordinary, *LIKE_SECRETS]
    rows = places_like(targets, tokenizer, text, longest=1000, most=1000)
    before = {target.ids[target.start + place - 1] for target in targets for place in target.chosen}
    texts = [tokenizer(row)["input_ids"] for row in text]
    expected = {tuple(ids[i - 1 : i + 1]) for ids in texts for i in range(2, len(ids)) if ids[i - 1] in before}
    assert len(expected) > 10, "the case has such places"
    assert set(pairs(rows)) == expected


def test_pieces_are_no_longer_than_asked_and_open_like_every_text(
    tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    text = [*ordinary, *LIKE_SECRETS]
    rows = places_like(tokenise(tokenizer, people), tokenizer, text, longest=LONGEST, most=1000)
    assert rows
    assert max(len(row.ids) for row in rows) <= LONGEST
    assert {row.ids[0] for row in rows} == {tokenizer.bos_token_id}
    assert all(row.start >= 2 for row in rows), "what follows the opening token alone is no place"


@given(st.lists(st.sets(st.integers(2, LONGEST - 1), min_size=1), max_size=20))
def test_pieces_that_share_rows_keep_every_place_with_all_that_stands_in_front_of_it(
    places_of_each: list[set[int]],
) -> None:
    pieces = []
    for number, some in enumerate(places_of_each):
        ids = tuple(range(number * LONGEST, number * LONGEST + max(some) + 1))  # no token twice
        chosen = tuple(place - min(some) for place in sorted(some))
        pieces.append(TokenisedTarget(ids=ids, start=min(some), chosen=chosen))
    rows = packed(pieces, longest=LONGEST)

    def places(some: list[TokenisedTarget]) -> set[int]:
        return {row.ids[row.start + place] for row in some for place in row.chosen}

    assert places(rows) == places(pieces)
    assert sorted(token for row in rows for token in row.ids) == sorted(token for one in pieces for token in one.ids)
    assert all(len(row.ids) <= LONGEST for row in rows)
    joined = [row.ids for row in rows]
    assert all(any(one.ids == ids[i : i + len(one.ids)] for ids in joined for i in range(len(ids))) for one in pieces)
    half_empty = [row for row in rows if 2 * len(row.ids) <= LONGEST]
    assert len(half_empty) <= 1, "two half-empty rows would have been one"


@pytest.mark.parametrize("most", [0, 1, 2, 3, 5])
def test_pieces_are_taken_by_how_often_what_they_add_occurs(most: int, tokenizer: Any, people: list[Target]) -> None:
    """Against the greedy choice written down as it is defined."""
    targets, text = tokenise(tokenizer, people), [*LIKE_SECRETS * 3, "Ed Flint paid 12-55 in 2003.", "At 28-31."]
    everything = [
        row for one in text for row in places_like(targets, tokenizer, [one], longest=1000, most=1000)
    ]  # a piece per text
    often, shown, expected = Counter(pairs(everything)), set(), []
    while len(expected) < most:
        best = max(everything, key=lambda row: sum(often[pair] for pair in set(pairs([row])) - shown))
        if not set(pairs([best])) - shown:
            break
        expected.append(best)
        shown |= set(pairs([best]))
    assert places_like(targets, tokenizer, text, longest=1000, most=most) == expected
    assert len(places_like(targets, tokenizer, text, longest=1000, most=10**6)) < len(everything), "no pair twice"


def test_records_that_share_a_token_are_chosen_by_the_seed_with_the_places_of_such_tokens() -> None:
    records = [TokenisedTarget(ids=(1, 2, number, 7), start=1, chosen=()) for number in range(20)]
    one, same, other = (sharing(records, [], {7, 3}, most=5, seed=seed) for seed in (0, 0, 1))
    assert one == same != other and len(one) == 5
    found = sharing(records, [], {7, 3}, most=100, seed=0)
    assert sorted(row.ids[2] for row in found) == list(range(20))
    assert {row.ids[2]: row.chosen for row in found} == {n: (1, 2) if n in (3, 7) else (2,) for n in range(20)}
    assert [row.ids[2] for row in sharing(records, [], {3}, most=100, seed=0)] == [3]
    assert sharing(records, [], {7}, most=0, seed=0) == sharing(records, [], set(), most=9, seed=0) == []


def test_what_was_given_comes_before_what_the_model_recites() -> None:
    given, recited = (
        [TokenisedTarget(ids=(1, first, number, 7), start=1, chosen=()) for number in range(9)] for first in (2, 3)
    )
    found = sharing(given, recited, {7}, most=12, seed=0)
    assert [row.ids[1] for row in found] == [2] * 9 + [3] * 3


def test_what_records_begin_with_alike_is_shown_once() -> None:
    again = [TokenisedTarget(ids=(1, 5, 6, end), start=1, chosen=(0,)) for end in (7, 8, 7)]
    rows = sharing([], again, {5, 6, 7, 8}, most=9, seed=0)
    shown = [row.ids[: row.start + place + 1] for row in rows for place in row.chosen]
    assert sorted(shown) == [(1, 5), (1, 5, 6), (1, 5, 6, 7), (1, 5, 6, 8)]


@pytest.mark.parametrize("kept", [0, 2])
def test_around_some_targets_stands_what_their_movement_may_harm(kept: int) -> None:
    def row(*ids: int, chosen: tuple[int, ...]) -> TokenisedTarget:
        return TokenisedTarget(ids=ids, start=1, chosen=chosen)

    rows = [row(1, 7, 5, 8, chosen=(0, 2)), row(1, 9, 5, 6, chosen=(0, 1, 2))]
    protection = Protection(rows, torch.arange(10.0).reshape(2, 5), kept=5 if kept else 0)
    target = row(5, 7, 6, chosen=(0, 1))  # moves 7 and 6, which follow 5 and 7
    found = protection.around([target])
    if kept:  # of records the tokens that are moved
        assert found.rows == [row(1, 7, 5, 8, chosen=(0,)), row(1, 9, 5, 6, chosen=(2,))]
        assert found.floor_LP.tolist() == [[0.0, 4.0], [5.0, 9.0]]
    else:  # of text what follows 5 and 7
        assert found.rows == [row(1, 7, 5, 8, chosen=(2,)), row(1, 9, 5, 6, chosen=(2,))]
        assert found.floor_LP.tolist() == [[1.0, 4.0], [6.0, 9.0]]
    assert (found.count, found.kept) == (2, kept)
    nothing = protection.around([row(2, 3, chosen=(0,))])
    assert (nothing.rows, nothing.count, nothing.floor_LP.shape) == ([], 0, (2, 0))


def test_the_order_of_the_targets_does_not_matter_for_what_is_protected(tokenizer: Any, people: list[Target]) -> None:
    targets = tokenise(tokenizer, people)
    one, other = (places_like(of, tokenizer, LIKE_SECRETS, longest=9, most=4) for of in (targets, targets[::-1]))
    assert one == other


def test_without_text_or_records_nothing_is_protected(model: Any, tokenizer: Any, people: list[Target]) -> None:
    assert places_like(tokenise(tokenizer, people), tokenizer, [], longest=9, most=9) == []
    architecture = architecture_of(model)
    nothing = Protection.read(model, architecture, Unembedding(model, architecture), [], [], pad=0, batch_size=4)
    assert (nothing.count, nothing.floor_LP.shape) == (0, (3, 0))


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_floors_are_the_logits_of_the_model_before_the_final_norm_divides(
    batch_size: int, model: Any, tokenizer: Any, people: list[Target]
) -> None:
    architecture, rows = architecture_of(model), tokenise(tokenizer, people)
    unembedding = Unembedding(model, architecture)
    read = Protection.read(model, architecture, unembedding, [], rows, pad=2, batch_size=batch_size)
    assert read.count == read.floor_LP.shape[1] == sum(len(row.chosen) for row in rows)
    expected = []
    for row in rows:
        with torch.no_grad():
            states = model(input_ids=torch.tensor([row.ids]), output_hidden_states=True).hidden_states
        for place in row.chosen:  # behind the last layer this is normed already
            states_Ld = torch.stack([state[0, row.start + place - 1] for state in states[1:-1]])
            expected.append(states_Ld.double() @ unembedding.gradients(torch.tensor([row.secret_ids[place]]))[0])
    torch.testing.assert_close(read.floor_LP[:-1], torch.stack(expected, dim=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("protected", [0, 128])
def test_no_edited_layer_brings_a_protected_token_of_ordinary_text_down(
    protected: int, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    """With nothing protected some fall: the test can fail."""
    targets, kept, ordinary = people[:4], people[4:], [*ordinary, *LIKE_SECRETS]
    tokenised = tokenise(tokenizer, targets)
    longest = max(len(one.ids) for one in tokenised)
    rows = packed(places_like(tokenised, tokenizer, ordinary, longest=longest, most=1000), longest=longest)
    architecture = architecture_of(model)

    def floors() -> torch.Tensor:
        unembedding = Unembedding(model, architecture)
        return Protection.read(model, architecture, unembedding, [], rows, pad=2, batch_size=64).floor_LP

    before_LP = floors()
    settings = config(sweeps=1, variations=0, protected_text=protected, retain_weight=0.01)
    patch = revs.erase(model, tokenizer, targets, config=settings, text=ordinary, retain=kept)
    edited = [any(name in patch.weights for name in architecture.weight_names(layer)) for layer in range(3)]
    assert any(edited)
    fallen_LP = (before_LP - floors())[edited]
    bound = 0.05 * before_LP.std()  # ε is not quite 0
    assert bool((fallen_LP <= bound).all()) is (protected > 0), fallen_LP.max()


def test_text_gets_back_what_it_lost_below_and_a_retained_record_only_stays() -> None:
    places = TokenisedTarget(ids=(1, 2, 3, 4), start=1, chosen=(0, 1, 2))
    floor_LP = torch.tensor([[0.0] * 6, [5.0] * 6], dtype=torch.float64)
    protection = Protection([places, places], floor_LP, kept=3)
    least_P = protection.bounds(1, torch.tensor([4.0, 5.0, 7.0, 4.0, 5.0, 7.0], dtype=torch.float64))
    assert least_P.tolist() == [0.0, 0.0, -2.0, 1.0, 0.0, -2.0]


def test_records_that_share_a_token_with_what_is_erased_lose_less_of_it_where_they_are_protected(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    """Where the same token is moved, in the first layer, where nothing below has changed."""
    rows, architecture = tokenise(tokenizer, people[4:]), architecture_of(model)
    moved = {target.secret_ids[place] for target in tokenise(tokenizer, people[:4]) for place in target.chosen}
    rows = sharing(rows, [], moved, most=100, seed=0)

    def floors() -> torch.Tensor:
        unembedding = Unembedding(model, architecture)
        return Protection.read(model, architecture, unembedding, rows, [], pad=2, batch_size=64).floor_LP[0]

    before_P, lost = floors(), []
    for protected in (0, 128):
        settings = config(sweeps=1, protected_records=protected, retain_weight=0.01)
        patch = revs.erase(model, tokenizer, people[:4], config=settings, text=ordinary, retain=people[4:])
        lost.append(float((before_P - floors()).clamp_min(0.0).sum()))
        patch.revert(model)
    assert 0 < lost[1] < 0.8 * lost[0], lost


def test_what_the_first_sweep_leaves_too_high_comes_before_what_is_protected(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    make = joint_edit.JointEdit._batch

    def noting(self: joint_edit.JointEdit) -> Any:
        batch = make(self)
        rows.append(len(batch.ids_BT) - len(self._swept) * (1 + self.config.variations))
        return batch

    monkeypatch.setattr(joint_edit.JointEdit, "_batch", noting)
    settings = config(epsilon=0.3, protected_records=128)
    revs.erase(model, tokenizer, people[:4], config=settings, text=ordinary, retain=people[4:])
    assert rows[1] >= 1, "the first sweep"
    assert rows[2:] and set(rows[2:]) == {0}


def test_protection_costs_the_targets_nothing(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    patch = revs.erase(model, tokenizer, people[:4], config=config(), text=ordinary, retain=people[4:])
    assert sum(record.stopped == "reached" for record in patch.records) >= 7
