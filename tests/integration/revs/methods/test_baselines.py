"""The rival methods on tiny trained models: all keep the promises of the call, and each does what its paper says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

import revs
from revs.config import EraseConfig, NeuronsConfig
from revs.errors import BadInput
from revs.methods.baselines import BASELINES, defences, memit, npo, rmu
from revs.methods.baselines.defences import HeadProjectionConfig, MaxEntropyConfig
from revs.methods.baselines.ft_l import FtLConfig
from revs.methods.baselines.gradient import GradientAscentConfig, GradientDifferenceConfig
from revs.methods.baselines.in_context import InContextConfig, instructed
from revs.methods.baselines.memit import MemitConfig
from revs.methods.baselines.npo import NpoConfig, NpoKlConfig
from revs.methods.baselines.retrain import RetrainConfig
from revs.methods.baselines.rmu import RmuConfig
from revs.methods.baselines.settings import ConstrainedConfig
from revs.methods.baselines.tuning import chosen_only, draws, log_p_of, logits_of
from revs.model.batch import Batch
from revs.model.families import architecture_of
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, collate, tokenise

Digests = Callable[[Any], dict[str, str]]

# On the scale of models of 32 dimensions; steps for a test's time.
TINY: dict[str, EraseConfig] = {
    "ft-l": FtLConfig(steps=4, learning_rate=5e-3, radius=0.02),
    "memit": MemitConfig(steps=8, moment_weight=0.01, clamp=3.0, layers=(0, 1, 2)),
    "max-entropy": MaxEntropyConfig(steps=4, learning_rate=5e-3, radius=0.05),
    "head-projection": HeadProjectionConfig(steps=4, learning_rate=5e-3, radius=0.05, candidates=50),
    "npo": NpoConfig(steps=4, learning_rate=3e-3),
    "npo-kl": NpoKlConfig(steps=4, learning_rate=3e-3),
    "rmu": RmuConfig(steps=8, learning_rate=1.5e-2, steering=40.0, alpha=0.1),
    "gradient-ascent": GradientAscentConfig(steps=4, learning_rate=1e-3),
    "gradient-difference": GradientDifferenceConfig(steps=4, learning_rate=1e-3),
    "in-context": InContextConfig(),
}
EDITING = [key for key in TINY if key != "in-context"]
ON_FF2 = ("ft-l", "memit", "max-entropy", "head-projection", "rmu")


def erased(
    model: Any, tokenizer: Any, people: list[Target], config: EraseConfig, text: list[str], **more: Any
) -> revs.Patch:
    return revs.erase(model, tokenizer, people[:3], config=config, text=text, retain=people[5:], **more)


def batch_of(model: Any, tokenizer: Any, targets: list[Target]) -> Batch:
    return collate(tokenise(tokenizer, targets, context=64), pad=tokenizer.pad_token_id)


def mean_log_p(model: Any, tokenizer: Any, targets: list[Target]) -> float:
    """Of the target tokens, one plain forward pass per token."""
    found = []
    for target in tokenise(tokenizer, targets, context=64):
        for place in target.chosen:
            ids = torch.tensor([target.ids[: target.start + place]])
            with torch.no_grad():
                log_p_V = model(input_ids=ids).logits[0, -1].float().log_softmax(-1)
            found.append(float(log_p_V[target.secret_ids[place]]))
    return sum(found) / len(found)


def ff2_names(model: Any) -> set[str]:
    return {name for name in model.state_dict() if name.endswith(("mlp.down_proj.weight", "mlp.fc_out.weight"))}


def job_of(
    monkeypatch: pytest.MonkeyPatch, module: Any, model: Any, tokenizer: Any, people: list[Target], key: str,
    text: list[str],
) -> dict[str, Any]:  # fmt: skip
    """What the method hands to the optimiser, which then does nothing."""
    caught: dict[str, Any] = {}

    def tune(job: Any, loss: Any, *, keep: Any = (), radius: Any = None) -> None:
        caught.update(job=job, keep=keep)
        caught["loss"] = float(loss(job.batch(job.forget), job.batch(keep) if keep else None).detach())

    monkeypatch.setattr(module, "tune", tune)
    erased(model, tokenizer, people, TINY[key], text)
    return caught


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


def test_retraining_puts_the_retrained_weights_in(
    model: Any, tokenizer: Any, people: list[Target], new_model: Any, family: str, digests: Digests, tmp_path: Any
) -> None:
    other = new_model(family, seed=5)
    with torch.no_grad():
        same = next(iter(other.state_dict()))
        other.state_dict()[same].copy_(model.state_dict()[same])
    other.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    before = digests(model)
    patch = revs.erase(model, tokenizer, people[:2], config=RetrainConfig(retrained=str(tmp_path)))
    assert digests(model) == digests(other)
    assert same not in patch.weights, "only what differs"
    assert max(record.rank_after for record in patch.records) > 0
    patch.revert(model)
    assert digests(model) == before


def test_a_retrained_model_of_another_shape_or_none_is_refused(
    model: Any, tokenizer: Any, people: list[Target], new_model: Any, family: str, digests: Digests, tmp_path: Any
) -> None:
    before = digests(model)
    with pytest.raises(BadInput, match="retrained is empty; train a model without the targets"):
        revs.erase(model, tokenizer, people[:2], config=EraseConfig(method="retrain"))
    with pytest.raises(BadInput, match="is no folder"):
        revs.erase(model, tokenizer, people[:2], config=RetrainConfig(retrained=str(tmp_path / "none")))
    other_family = {"llama": "gptj", "gptj": "llama"}[family]
    for number, other in enumerate((new_model(family, layers=2), new_model(other_family))):
        folder = tmp_path / str(number)
        other.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        with pytest.raises(BadInput, match="another architecture"):
            revs.erase(model, tokenizer, people[:2], config=RetrainConfig(retrained=str(folder)))
    assert digests(model) == before


def test_in_context_changes_prompts_and_no_weights(
    model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    before = digests(model)
    patch = revs.erase(model, tokenizer, people[:2], config=InContextConfig(instruction="Keep quiet."))
    assert digests(model) == before
    assert patch.weights == ()
    assert patch.config["instruction"] == "Keep quiet."
    assert all(record.rank_before == record.rank_after and record.stopped == "short" for record in patch.records)
    said = instructed(people[:2], "Keep quiet.")
    assert [target.prompt for target in said] == [f"Keep quiet.\n{target.prompt}" for target in people[:2]]
    assert [target.secret for target in said] == [target.secret for target in people[:2]]


@pytest.mark.parametrize(
    ("make", "settings", "complaint"),
    [
        (FtLConfig, {"steps": 0}, "steps 0 is not between 1 and 10000"),
        (FtLConfig, {"steps": 10_001}, "steps 10001"),  # bounded
        (FtLConfig, {"learning_rate": 0.0}, "learning_rate 0.0"),
        (FtLConfig, {"learning_rate": math.nan}, "learning_rate nan"),
        (FtLConfig, {"weight_decay": -0.1}, "weight_decay -0.1"),
        (FtLConfig, {"radius": 0.0}, "radius 0.0"),
        (FtLConfig, {"layers": (1, 1)}, "layers (1, 1) are not ascending"),
        (FtLConfig, {"layers": (-1,)}, "layers (-1,)"),
        (FtLConfig, {"batch_size": 0}, "batch_size 0"),  # inherited checks still run
        (HeadProjectionConfig, {"candidates": 0}, "candidates 0"),
        (HeadProjectionConfig, {"margin": -1.0}, "margin -1.0"),
        (NpoConfig, {"beta": 0.0}, "beta 0.0"),
        (NpoKlConfig, {"beta": math.inf}, "beta inf"),
        (NpoKlConfig, {"keep_weight": -1.0}, "keep_weight -1.0"),
        (GradientDifferenceConfig, {"keep_weight": math.nan}, "keep_weight nan"),
        (RmuConfig, {"layer": -2}, "layer -2"),
        (RmuConfig, {"steering": 0.0}, "steering 0.0"),
        (RmuConfig, {"alpha": -1.0}, "alpha -1.0"),
        (MemitConfig, {"steps": 0}, "steps 0"),
        (MemitConfig, {"layers": (2, 1)}, "layers (2, 1)"),
        (MemitConfig, {"clamp": 0.0}, "clamp 0.0"),
        (MemitConfig, {"moment_weight": 0.0}, "moment_weight 0.0"),
        (MemitConfig, {"kl_weight": -1.0}, "kl_weight -1.0"),
        (MemitConfig, {"neutral": " "}, "neutral is blank"),
        (InContextConfig, {"instruction": ""}, "instruction is blank"),
        (RetrainConfig, {}, "retrained is empty"),
    ],
)
def test_settings_outside_their_ranges_are_refused_in_one_line(
    make: Callable[..., EraseConfig], settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BadInput) as refused:
        make(**settings)
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (FtLConfig(layers=(0, 3)), "layer 3 is not there: the model has 3 layers"),
        (MemitConfig(layers=(7,)), "layer 7 is not there"),
        (RmuConfig(layer=3), "layer 3 is not there"),
        (HeadProjectionConfig(candidates=201), "more than half of this vocabulary of 400"),
        (NpoConfig(first_layer=3), "first_layer 3 leaves nothing to edit"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused_before_anything_is_touched(
    config: EraseConfig, complaint: str, model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    before = digests(model)
    with pytest.raises(BadInput, match=complaint):
        revs.erase(model, tokenizer, people[:1], config=config)
    assert digests(model) == before


def test_memit_refuses_a_norm_behind_the_mlp_and_fine_tuning_does_not(
    new_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    model = new_model("gemma2")
    with pytest.raises(BadInput, match="use method 'revs'"):
        revs.erase(model, tokenizer, people[:1], config=MemitConfig())
    assert revs.erase(model, tokenizer, people[:1], config=TINY["ft-l"]).weights


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


def test_a_target_on_both_lists_is_refused_by_every_method(
    trained_models: dict[str, Any], tokenizer: Any, people: list[Target]
) -> None:
    for config in TINY.values():
        with pytest.raises(BadInput, match="erased and retained at once"):
            revs.erase(trained_models["llama"], tokenizer, people[:2], config=config, retain=people[1:])


def test_no_methods_default_stands_under_a_name_that_a_plain_configuration_would_override() -> None:
    plain = {name: value for name, value in asdict(EraseConfig()).items() if name != "method"}
    for config in TINY.values():
        assert {name: getattr(type(config)(), name) for name in plain} == plain
