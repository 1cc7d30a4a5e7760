"""The oracle of the paper's search, on cases worked out by hand and against Hugging Face's own logits."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from oracle import OracleSettings, Vocabulary, adjust_rank, pick_columns, unlearn, vocabulary_of


def settings(**given: Any) -> OracleSettings:
    return OracleSettings(
        **{"max_columns": 3, "act_filter": 8, "column_band": (2, 2), "residual_low": 100, "max_trials": 50, **given}
    )


# Identity unembedding, no gain, RMSNorm: the logits are the entries over σ = √(14/4) = 1.8708, and lowering a logit by
# s lowers its entry by 1.8708·s. Token 0 stands at 3, above 2, 1 and 0.
PLAIN = Vocabulary(torch.eye(4), torch.ones(4), 0.0, centred=False)
COLUMN = torch.tensor([3.0, 2.0, 1.0, 0.0])

SEARCHES = [
    # band, first step, rank, trials, new entry of token 0
    ((0, 0), -10.0, 0, 0, 3.0),  # there already: no trial
    ((3, 3), -10.0, 3, 1, 3 - 10 * 1.870829),  # the first trial is enough
    ((2, 2), -10.0, 2, 10, 3 - 10 * 0.8**9 * 1.870829),  # 1.069 < s < 1.604: nine times × 0.8
    ((1, 1), -10.0, 1, 12, 3 - 10 * 0.8**11 * 1.870829),  # 0.535 < s < 1.069: eleven times × 0.8
    ((3, 3), -0.5, 3, 6, 3 - 0.5 * 1.3**5 * 1.870829),  # s > 1.604: five times × 1.3
    ((2, 3), -0.5, 2, 4, 3 - 0.5 * 1.3**3 * 1.870829),  # s > 1.069: three times × 1.3
]


@pytest.mark.parametrize(("band", "first", "rank", "trials", "entry"), SEARCHES)
def test_the_search_takes_the_steps_worked_out_by_hand(
    band: tuple[int, int], first: float, rank: int, trials: int, entry: float
) -> None:
    found = adjust_rank(COLUMN, 0, PLAIN, settings(column_band=band, first_step=first))
    assert (found.rank, found.trials, found.hit) == (rank, trials, True)
    torch.testing.assert_close(found.column.float(), torch.tensor([entry, 2.0, 1.0, 0.0]), rtol=1e-5, atol=1e-5)


def test_a_column_where_the_token_is_past_the_band_already_is_left_as_it_is() -> None:
    found = adjust_rank(COLUMN, 3, PLAIN, settings(column_band=(1, 2)))
    assert (found.rank, found.trials, found.hit, found.column.tolist()) == (3, 0, False, COLUMN.tolist())


def test_a_search_that_finds_nothing_ends_and_says_so() -> None:
    tied = Vocabulary(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), torch.ones(2), 0.0, centred=False)
    found = adjust_rank(torch.tensor([2.0, 1.0]), 0, tied, settings(column_band=(1, 1), max_trials=7))
    assert (found.hit, found.trials) == (False, 7), "two tokens tie: ranks 0 and 2 exist, 1 does not"


def test_columns_are_those_of_highest_rank_among_the_most_active() -> None:
    weight = torch.tensor([[3.0, 1.0, 2.0, 9.0], [1.0, 2.0, 1.0, 0.0], [0.0, 3.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    keys = torch.tensor([0.5, -4.0, 3.0, 0.1])
    # Ranks of token 0 in the columns: 0, 2, 1, 0. The last column is not among the three most active.
    assert pick_columns(keys, weight, 0, PLAIN, settings(act_filter=3, max_columns=2)) == [0, 2]
    assert pick_columns(keys, weight, 0, PLAIN, settings(act_filter=2, max_columns=9)) == [2, 1]


def test_projecting_back_undoes_the_projection_and_the_projection_is_the_models_own(shared_model: Any) -> None:
    vocabulary = vocabulary_of(shared_model)
    vector = torch.randn(32, generator=torch.Generator().manual_seed(0)).double()
    norm = shared_model.model.norm if hasattr(shared_model, "model") else shared_model.transformer.ln_f
    with torch.no_grad():
        own = shared_model.lm_head(norm(vector.float()[None]))[0]
    torch.testing.assert_close(vocabulary.logits(vector).float(), own, rtol=1e-4, atol=1e-4)
    back = vocabulary.back(vocabulary.logits(vector), *vocabulary.mean_and_scale(vector))
    torch.testing.assert_close(back, vector, rtol=1e-8, atol=1e-8)


def test_one_forward_pass_per_layer_and_token_and_only_the_second_matrices_change(shared_model: Any) -> None:
    model = copy.deepcopy(shared_model)
    result = unlearn(model, [([0, 5, 9], 11), ([0, 7], 30)], settings(column_band=(150, 350), residual_low=399))
    assert result.forward_passes == 2 * 3
    assert len(result.edited) == 2 * 3 * 3, "the residual never gets so low: all columns allowed are used"
    assert all(150 <= edited.rank <= 350 for edited in result.edited if edited.hit)
    before, after = shared_model.state_dict(), model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    tried = {edited.layer for edited in result.edited if edited.trials}
    second = [name for name in before if name.endswith(("down_proj.weight", "fc_out.weight"))]
    assert changed == {second[layer] for layer in tried}
    assert len(tried) >= 2


def test_a_token_that_ranks_low_enough_costs_forward_passes_and_changes_nothing(shared_model: Any) -> None:
    model = copy.deepcopy(shared_model)
    result = unlearn(model, [([0, 5, 9], 11)], settings(residual_low=0))
    assert (result.edited, result.forward_passes) == ([], 3)
    before, after = shared_model.state_dict(), model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
