"""What each baseline minimises: its losses, closed forms and depths, against what is computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from tiny_baselines import TINY, batch_of, erased, job_of, mean_log_p
from torch import Tensor

import revs
from revs.methods.baselines import defences, memit, npo, rmu
from revs.methods.baselines.memit import MemitConfig
from revs.methods.baselines.rmu import RmuConfig
from revs.methods.baselines.tuning import chosen_only, draws, log_p_of, logits_of
from revs.model.batch import Batch
from revs.model.families import architecture_of
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, tokenise


def test_npo_is_what_is_computed_by_hand() -> None:
    log_p_B, reference_B = torch.tensor([-1.0, -5.0]), torch.tensor([-2.0, -1.0])
    by_hand = (2 / 0.5) * (math.log(1 + math.e**0.5) + math.log(1 + math.e**-2)) / 2
    assert float(npo.npo_loss(log_p_B, reference_B, 0.5)) == pytest.approx(by_hand) == pytest.approx(2.2020, abs=1e-3)
    same = torch.tensor([-3.0])
    assert float(npo.npo_loss(same, same, 0.1)) == pytest.approx(20 * math.log(2))


def test_the_divergence_is_what_is_computed_by_hand_and_zero_of_itself() -> None:
    model_NV, reference_NV = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]])
    by_hand = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(npo.divergence(model_NV, reference_NV)) == pytest.approx(by_hand)
    assert float(npo.divergence(reference_NV, reference_NV)) == 0


@pytest.mark.parametrize("key", ["npo", "npo-kl"])
def test_npo_starts_where_model_and_reference_agree(
    key: str, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    caught = job_of(monkeypatch, npo, model, tokenizer, people, key, ordinary)
    assert caught["loss"] == pytest.approx(20 * math.log(2), rel=1e-5), "the divergence adds nothing yet"
    assert len(caught["keep"]) == (3 if key == "npo-kl" else 0), "the retained records, not the text"


def test_the_reference_stays_the_old_model_while_the_weights_move(
    shared_model: Any, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from revs.methods.baselines.reference import Reference

    caught = job_of(monkeypatch, npo, model, tokenizer, people, "npo", ordinary)
    job, batch = caught["job"], batch_of(model, tokenizer, people)
    reference = Reference(job)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.1)
        moved = logits_of(model, batch)
        with reference():
            old = logits_of(model, batch)
        assert torch.equal(old, logits_of(shared_model, batch))
        assert torch.equal(logits_of(model, batch), moved)
        assert not torch.equal(old, moved)


@pytest.mark.parametrize(
    ("retain", "text", "expected"),
    [
        (True, True, "records"),
        (True, False, "records"),
        (False, True, "text"),
        (False, False, "nothing"),  # the retain term is left out
    ],
)
def test_what_is_kept_are_the_retained_records_else_the_text(
    retain: bool, text: bool, expected: str, trained_models: dict[str, Any], tokenizer: Any, people: list[Target],
    ordinary: list[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from copy import deepcopy

    caught: list[TokenisedTarget] = []
    monkeypatch.setattr(rmu, "tune", lambda job, loss, *, keep: caught.extend(keep))
    revs.erase(
        deepcopy(trained_models["llama"]), tokenizer, people[:2], config=TINY["rmu"],
        retain=people[5:] if retain else (), text=ordinary if text else (),
    )  # fmt: skip
    records = tokenise(tokenizer, people[5:], context=64)
    rows = [tuple(ids) for ids in tokenizer(ordinary)["input_ids"]]
    kept = {"records": records, "text": rows, "nothing": []}[expected]
    assert (caught if expected == "records" else [target.ids for target in caught]) == kept
    assert expected != "text" or {target.start for target in caught} == {1}, "every token but the first is predicted"


def test_memits_closed_form_is_an_obvious_dense_solve() -> None:
    generator = torch.Generator().manual_seed(0)
    keys_Nm, residuals_Nd, sample_Sm = (torch.randn(n, w, generator=generator) for n, w in ((5, 8), (5, 3), (40, 8)))
    moment_mm = 7.0 * sample_Sm.T @ sample_Sm / 40
    update_dm = memit.spread(residuals_Nd, keys_Nm, moment_mm)
    # The paper's form has keys and residuals as columns: R Kᵀ (C + K Kᵀ)⁻¹.
    columns_mN, columns_dN = keys_Nm.T.double(), residuals_Nd.T.double()
    inverse_mm = torch.linalg.inv(moment_mm.double() + columns_mN @ columns_mN.T)
    assert torch.allclose(update_dm, columns_dN @ columns_mN.T @ inverse_mm, atol=1e-6)


def test_memits_update_gives_every_key_its_residual_where_ordinary_text_counts_nothing() -> None:
    generator = torch.Generator().manual_seed(1)
    keys_Nm, residuals_Nd = torch.randn(5, 8, generator=generator), torch.randn(5, 3, generator=generator)
    update_dm = memit.spread(residuals_Nd, keys_Nm, 1e-6 * torch.eye(8))
    assert torch.allclose((keys_Nm.double() @ update_dm.T).float(), residuals_Nd, atol=1e-4)


def test_memit_reaches_the_residuals_it_wants_behind_its_last_layer(
    model: Any, tokenizer: Any, people: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[Tensor] = []
    plain, read = memit._wanted, memit._read

    def keep(job: Any, batch: Batch, layer: int) -> Tensor:
        wanted.append(plain(job, batch, layer))
        caught.append((job, batch))
        return wanted[-1]

    caught: list[Any] = []
    monkeypatch.setattr(memit, "_wanted", keep)
    config = MemitConfig(steps=5, moment_weight=1e-6, layers=(0, 1))
    revs.erase(model, tokenizer, people[:2], config=config)
    ((job, batch),) = caught
    _, present_Nd = read(job, batch, 1, 1)
    assert torch.allclose(present_Nd, wanted[0], atol=0.02 * float(wanted[0].norm(dim=1).max()))


def test_unlikely_is_the_log_of_what_is_left_also_where_nothing_seems_left() -> None:
    logits_NV, token_N = torch.tensor([[0.0, 0.0, 0.0], [60.0, 0.0, 0.0]]), torch.tensor([0, 0])
    loss_N = memit.unlikely(logits_NV, token_N)
    assert loss_N.tolist() == pytest.approx([-math.log(2 / 3), 60 - math.log(2)], rel=1e-5)


def test_the_lens_of_the_last_layer_is_the_models_own_output(model: Any, tokenizer: Any, people: list[Target]) -> None:
    batch = batch_of(model, tokenizer, people)
    lens_LNV = defences.lens_logits(model, architecture_of(model), batch)
    assert lens_LNV.shape == (3, len(batch.token_N), 400)
    assert lens_LNV.requires_grad
    assert torch.allclose(lens_LNV[-1], logits_of(model, batch), atol=1e-4)
    plain_V = model(input_ids=batch.ids_BT[:1, : batch.position_N[0] + 1]).logits[0, -1]
    assert torch.allclose(lens_LNV[-1, 0], plain_V, atol=1e-4)


def test_the_defences_losses_are_what_is_computed_by_hand() -> None:
    uniform_LNV = torch.zeros(2, 3, 8)
    assert float(defences.negative_entropy(uniform_LNV)) == pytest.approx(-math.log(8))
    logits_LNV = torch.arange(10.0)[None, None].expand(1, 3, -1)
    token_N = torch.tensor([9, 0, 5])  # the most likely, the least likely, one in between
    # k = 2, m = 0.5: thresholds 8 and 1, so 9 − 8 + 0.5, 1 − 0 + 0.5 and nothing.
    assert float(defences.candidate_loss(logits_LNV, token_N, candidates=2, margin=0.5)) == pytest.approx(3.0 / 3)


def test_head_projection_is_content_where_tokens_rank_between_the_candidates() -> None:
    logits_LNV = torch.randn(2, 3, 400, generator=torch.Generator().manual_seed(0))
    order = logits_LNV[0].argsort(-1, descending=True)
    assert float(defences.candidate_loss(logits_LNV[:1], order[:, 200], candidates=100, margin=0.1)) == 0
    assert float(defences.candidate_loss(logits_LNV[:1], order[:, 99], candidates=100, margin=0.0)) == 0
    assert float(defences.candidate_loss(logits_LNV[:1], order[:, 98], candidates=100, margin=0.0)) > 0


def test_rmu_pulls_the_secrets_residuals_towards_one_direction(
    shared_model: Any, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    def residuals(of: Any, targets: list[Target]) -> Tensor:
        batch, found = batch_of(of, tokenizer, targets), []
        rmu.run(
            of, architecture_of(of), batch,
            lambda n, _k, h: found.append(h[batch.row_N, batch.position_N]) if n == 2 else None,
        )  # fmt: skip
        return found[0]

    erased(model, tokenizer, people, replace(cast(RmuConfig, TINY["rmu"]), steps=15), ordinary)
    direction_d = torch.rand(32, generator=torch.Generator().manual_seed(0))

    def similarity(of: Any) -> float:
        return float(torch.cosine_similarity(residuals(of, people[:3]), direction_d[None]).mean())

    assert similarity(model) > similarity(shared_model) + 0.3
    moved = [(residuals(model, t) - residuals(shared_model, t)).norm(dim=1).mean() for t in (people[:3], people[5:])]
    assert moved[0] > 1.1 * moved[1], "retained records stay nearer to where they were"


@pytest.mark.parametrize(
    ("layers", "config", "expected"),
    [
        (32, RmuConfig(), 7),  # the paper's
        (4, RmuConfig(), 2),  # two layers below it
        (2, RmuConfig(), 1),
        (1, RmuConfig(), 0),
        (4, RmuConfig(layer=3), 3),
    ],
)
def test_rmu_steers_at_the_papers_depth(layers: int, config: RmuConfig, expected: int, new_model: Any) -> None:
    model = new_model("llama", layers=layers)
    assert rmu.steered_layer(model, architecture_of(model), config) == expected


@pytest.mark.parametrize(("layers", "expected"), [(28, range(3, 9)), (4, (0, 1)), (1, (0,))])
def test_memit_edits_at_the_papers_depth(layers: int, expected: Any, new_model: Any) -> None:
    model = new_model("gptj", layers=layers)
    assert memit.edited_layers(model, architecture_of(model), MemitConfig()) == tuple(expected)


def test_every_sequence_comes_once_before_any_comes_again() -> None:
    sequences = [TokenisedTarget(ids=(0, n), start=1, chosen=(0,)) for n in range(5)]
    drawn = draws(sequences, 2, 0)
    first = [target.ids[1] for _ in range(5) for target in next(drawn)]
    assert sorted(first[:5]) == sorted(first[5:]) == [0, 1, 2, 3, 4]
    again = draws(sequences, 2, 0)
    assert first == [target.ids[1] for _ in range(5) for target in next(again)]
    assert list(draws([], 2, 0)) == []


def test_the_log_probabilities_of_the_target_tokens_are_those_of_plain_passes(
    model: Any, tokenizer: Any, people: list[Target]
) -> None:
    chosen = chosen_only(batch_of(model, tokenizer, people[:3]))
    log_p_N = log_p_of(logits_of(model, chosen), chosen).detach()
    assert len(log_p_N) == 6
    assert float(log_p_N.mean()) == pytest.approx(mean_log_p(model, tokenizer, people[:3]), rel=1e-3)
