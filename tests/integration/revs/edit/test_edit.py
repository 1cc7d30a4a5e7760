"""Editing tiny trained models of every family: what the records say, what stays, what comes back, what is refused."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import revs
from revs.edit import sweep as joint_edit
from revs.edit.constraints import places_like
from revs.errors import BadInput
from revs.evaluation.perplexity import perplexity
from revs.evaluation.ranks import Readings, read
from revs.targets.target import Target
from revs.targets.tokenize import tokenise

LOW, AIM, CONTEXT = 40, 60, 64
Digests = Callable[[Any], dict[str, str]]


def config(**settings: Any) -> revs.EraseConfig:
    """The library's defaults, with ranks that fit into a vocabulary of 400."""
    return revs.EraseConfig(**{"low_rank": LOW, "aim_rank": AIM, **settings})


def plain_ranks(model: Any, tokenizer: Any, target: Target) -> dict[int, int]:
    """Rank of every token of the secret, by place, from the model's own logits, one target at a time."""
    (tokens,) = tokenise(tokenizer, [target], context=CONTEXT)
    with torch.no_grad():
        logits_TV = model(input_ids=torch.tensor([tokens.ids])).logits[0].float()
    return {
        place: sum(value > logits_TV[tokens.start + place - 1, token] for value in logits_TV[tokens.start + place - 1])
        for place, token in enumerate(tokens.secret_ids)
    }


def edited_names(model: Any, family: str) -> list[list[str]]:
    """Names of the weights that the edit may touch, by layer: what writes the layer's output."""
    layers = range(len(model.model.layers if family == "llama" else model.transformer.h))
    forms = {
        "llama": ["model.layers.{}.mlp.down_proj.weight"],
        "gptj": ["transformer.h.{}.mlp.fc_out.weight", "transformer.h.{}.attn.out_proj.weight"],
    }[family]
    return [[form.format(layer) for form in forms] for layer in layers]


def state(model: Any) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def erased(model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]) -> tuple[Any, revs.Patch]:
    return model, revs.erase(model, tokenizer, people[:4], config=config(), text=ordinary, retain=people[4:])


def test_the_records_are_the_ranks_of_the_models_own_logits(
    erased: tuple[Any, revs.Patch], shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    model, patch = erased
    before = [plain_ranks(shared_model, tokenizer, target) for target in people[:4]]
    after = [plain_ranks(model, tokenizer, target) for target in people[:4]]
    assert len(patch.records) == 8, "two tokens of four secrets"
    for record in patch.records:
        assert record.rank_before == before[record.target][record.place]
        assert abs(record.rank_after - after[record.target][record.place]) <= 1, "batched and single logits round apart"
        assert record.length == len(before[record.target])
        assert record.wanted == 100, "a quarter of the vocabulary"
        assert record.stopped == ("reached" if record.rank_after >= LOW else "short")
        assert 1 <= record.layers <= 3
        assert record.columns % record.layers == 0 and record.columns >= 64 * record.layers, "all columns share"
    assert [record.rank_before for record in patch.records] == [0] * 8, "memorised: all of them were the most likely"
    assert sum(record.stopped == "reached" for record in patch.records) >= 6


def test_what_was_memorised_is_said_no_more_and_the_rest_still_is(
    erased: tuple[Any, revs.Patch], shared_model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    model, _ = erased
    before = revs.evaluate(shared_model, tokenizer, people[:4], retain=people[4:], text=ordinary, k=LOW)
    after = revs.evaluate(model, tokenizer, people[:4], retain=people[4:], text=ordinary, k=LOW)
    assert (before.extraction_rate, before.specificity, before.efficacy) == (100.0, 100.0, 0.0)
    assert after.extraction_rate == 0.0
    assert after.specificity is not None
    assert after.specificity >= 50
    assert after.efficacy is not None
    assert after.efficacy > 90


def test_only_the_matrices_that_write_a_layers_output_change(
    erased: tuple[Any, revs.Patch], shared_model: Any, digests: Digests, family: str
) -> None:
    model, patch = erased
    before, after = digests(shared_model), digests(model)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for names in edited_names(model, family) for name in names} == set(patch.weights)


def test_layers_before_the_first_are_left_alone(
    model: Any, tokenizer: Any, people: list[Target], digests: Digests, family: str
) -> None:
    before = digests(model)
    patch = revs.erase(model, tokenizer, people[:2], config=config(first_layer=2))
    assert set(patch.weights) == set(edited_names(model, family)[2])
    assert {name for name, digest in digests(model).items() if digest != before[name]} == set(patch.weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_revert_and_apply_are_exact_to_the_bit(
    dtype: torch.dtype, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], digests: Digests
) -> None:
    model.to(dtype)
    old = digests(model)
    patch = revs.erase(model, tokenizer, people[:4], config=config(), text=ordinary)
    new = digests(model)
    assert new != old
    patch.revert(model)
    assert digests(model) == old
    patch.apply(model)
    assert digests(model) == new


def test_the_patch_keeps_the_sum_of_all_sweeps_as_factors(
    model: Any, shared_model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    settings = config(epsilon=0.3)  # not done in one sweep
    patch = revs.erase(model, tokenizer, people[:4], config=settings, text=ordinary, retain=people[4:])
    assert patch.sweeps > 1
    moved = tokenise(tokenizer, people[:4], context=CONTEXT)
    moved += places_like(moved, tokenizer, ordinary, longest=CONTEXT, most=192)
    distinct = len({target.secret_ids[place] for target in moved for place in target.chosen})
    for name in patch.weights:
        factors = patch.changes[name].factors()
        assert factors is not None
        change = model.get_parameter(name).detach().double() - shared_model.get_parameter(name).detach().double()
        assert factors.left_dr.shape[1] <= distinct, "one component per distinct token, over layers and sweeps"
        torch.testing.assert_close(factors.rows(0, len(change)), change, rtol=1e-4, atol=1e-6)


def test_a_patch_refuses_any_other_base_and_touches_nothing(
    erased: tuple[Any, revs.Patch], new_model: Any, tokenizer: Any, digests: Digests, family: str
) -> None:
    model, patch = erased
    last = edited_names(model, family)[-1][0]
    off_by_one_bit = copy.deepcopy(model)
    weight = off_by_one_bit.get_parameter(last).data
    weight.view(torch.int32)[0, 0] ^= 1
    others = {
        "holds the new values already": (model, patch.apply),
        "another model of the same shape": (new_model(family, seed=9), patch.apply),
        "fewer layers": (new_model(family, layers=2), patch.revert),
        "another dtype": (copy.deepcopy(model).to(torch.bfloat16), patch.revert),
        "one bit in the last layer": (off_by_one_bit, patch.revert),
    }
    for why, (other, act) in others.items():
        before = digests(other)
        with pytest.raises(BadInput, match="use the model it was made on"):
            act(other)
        assert digests(other) == before, why


def test_a_saved_patch_comes_back_whole_and_private(
    erased: tuple[Any, revs.Patch], shared_model: Any, tmp_path: Path, digests: Digests
) -> None:
    model, patch = erased
    new = digests(model)
    folder = tmp_path / "patch"
    folder.mkdir(mode=0o755)
    assert patch.save(folder) == folder
    assert folder.stat().st_mode & 0o077 == 0, "it reveals what was erased: nobody else may look in"
    loaded = revs.Patch.load(folder)
    assert (loaded.records, loaded.method, loaded.sweeps) == (patch.records, patch.method, patch.sweeps)
    assert dict(loaded.config) == dict(patch.config)
    loaded.revert(model)
    assert digests(model) == digests(shared_model)
    loaded.apply(model)
    assert digests(model) == new
    with pytest.raises(BadInput, match="not an empty folder"):
        patch.save(folder)
    with pytest.raises(BadInput, match="not an empty folder"):
        patch.save(folder / "manifest.json")


def cut_tensors(folder: Path) -> None:
    path = folder / "patch.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(folder: Path) -> None:
    path = folder / "patch.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def change_manifest(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        for name, value in changes.items():
            if value is None:
                del manifest[name]
            else:
                manifest[name] = value
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return change


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("a cut tensor file", cut_tensors, "no readable patch"),
    ("a flipped bit", flip_a_bit, "not what its manifest describes"),
    ("no tensor file", lambda folder: (folder / "patch.safetensors").unlink(), "no readable patch"),
    ("no manifest", lambda folder: (folder / "manifest.json").unlink(), "no readable patch"),
    ("a cut manifest", lambda folder: (folder / "manifest.json").write_text('{"format"'), "no readable patch"),
    ("a manifest that is a list", lambda folder: (folder / "manifest.json").write_text("[]"), "is of format"),
    ("another format", change_manifest(format="revs.patch/99"), "is of format 'revs.patch/99'"),
    ("other digests", change_manifest(digests={}), "manifest.json is not as"),
    ("no digests", change_manifest(digests=None), "manifest.json is not as"),
    ("other numbers", change_manifest(sweeps=9), "manifest.json is not as"),
    ("no digest of its own", change_manifest(digest=None), "manifest.json is not as"),
]


@pytest.mark.parametrize(("what", "damage", "message"), DAMAGE, ids=[row[0] for row in DAMAGE])
def test_a_damaged_patch_is_refused(what: str, damage: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    patch = revs.Patch.between({"w": weight}, {"w": weight + 1}, method="revs", config={"sweeps": 2})
    folder = patch.save(tmp_path / "patch")
    revs.Patch.load(folder)
    damage(folder)
    with pytest.raises(BadInput, match=message):
        revs.Patch.load(folder)


def test_an_empty_list_of_targets_changes_nothing(
    model: Any, tokenizer: Any, ordinary: list[str], digests: Digests
) -> None:
    before = digests(model)
    patch = revs.erase(model, tokenizer, [], config=config(), text=ordinary)
    assert digests(model) == before
    assert (patch.records, patch.weights, patch.nbytes) == ((), (), 0)
    patch.apply(model)
    patch.revert(model)
    assert digests(model) == before


def test_targets_that_nobody_remembers_change_nothing(
    model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    revs.erase(model, tokenizer, people[:1], config=config(variations=0, sweeps=20))
    done = digests(model)
    patch = revs.erase(model, tokenizer, people[:1], config=config(variations=0, low_rank=1, aim_rank=1))
    assert digests(model) == done
    assert {record.stopped for record in patch.records} == {"already"}
    assert patch.sweeps == 0


def test_the_order_of_the_targets_does_not_matter(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    other = copy.deepcopy(model)
    # Gentle settings: with every key held exactly, rounding that differs by 1e-7 is blown up by the solve.
    settings = config(epsilon=1.0, sweeps=1)
    straight = revs.erase(model, tokenizer, people[:4], config=settings, text=ordinary)
    backward = revs.erase(other, tokenizer, people[3::-1], config=settings, text=ordinary)
    assert straight.weights == backward.weights
    for name in straight.weights:
        torch.testing.assert_close(other.get_parameter(name), model.get_parameter(name), rtol=1e-3, atol=2e-4)
    mirrored = {3 - record.target: record.rank_before for record in backward.records}
    assert mirrored == {record.target: record.rank_before for record in straight.records}


def test_a_target_given_twice_is_erased_once_and_recorded_where_it_first_stood(
    model: Any, tokenizer: Any, people: list[Target]
) -> None:
    other = copy.deepcopy(model)
    twice = revs.erase(model, tokenizer, [people[0], people[0], people[1]], config=config())
    once = revs.erase(other, tokenizer, people[:2], config=config())
    assert twice == once
    assert [record.target for record in twice.records] == [0, 0, 2, 2]


def test_a_token_that_stays_too_likely_is_recorded_as_short(
    model: Any, tokenizer: Any, people: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(*arguments: Any, **options: Any) -> tuple[Tensor, Tensor]:
        left_dN, right_Nm = solve(*arguments, **options)
        return left_dN * 0.01, right_Nm

    solve = joint_edit.joint_update
    monkeypatch.setattr(joint_edit, "joint_update", half)
    patch = revs.erase(model, tokenizer, people[:1], config=config(sweeps=1))
    assert {record.stopped for record in patch.records if record.rank_after < LOW} == {"short"}
    assert any(record.stopped == "short" for record in patch.records)


def test_padding_does_not_matter(shared_model: Any, tokenizer: Any, people: list[Target]) -> None:
    longer = Target(prompt=" ".join(["A long and winding prompt"] * 3), secret=" 55")

    def of_first(targets: list[Target], batch_size: int) -> Readings:
        return read(shared_model, tokenise(tokenizer, targets, context=CONTEXT), pad=2, batch_size=batch_size)

    alone, beside = of_first([people[0]], 8), of_first([people[0], longer], 8)
    count = alone.rank_LN.shape[1]
    assert (alone.rank_LN - beside.rank_LN[:, :count]).abs().max() <= 1
    assert (alone.rank_LN[-1] == beside.rank_LN[-1, :count]).float().mean() > 0.9
    one_by_one = of_first([people[0], longer], 1)
    assert one_by_one.target_N.tolist() == beside.target_N.tolist()
    assert (one_by_one.rank_LN - beside.rank_LN).abs().max() <= 1
    assert beside.rank_LN.shape[0] == beside.delta_rank_LN.shape[0] + 1 == 3


class Interrupted(BaseException):
    """Neither an Exception nor ours: what Ctrl-C is."""


def test_an_edit_that_fails_between_two_sweeps_puts_every_weight_back(
    model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    before = digests(model)
    seen: list[bool] = []

    def interrupt(stage: str, done: int, _total: int) -> None:
        if stage == "sweep" and done == 2:
            seen.append(digests(model) != before)
            raise Interrupted

    with pytest.raises(Interrupted):
        revs.erase(model, tokenizer, people[:4], config=config(epsilon=3.0), progress=interrupt)
    assert seen == [True], "the first sweep had changed weights"
    assert digests(model) == before


@pytest.mark.parametrize("failure", ["error", "not finite", "singular"])
def test_an_edit_that_fails_between_two_layers_puts_every_weight_back(
    failure: str, model: Any, tokenizer: Any, people: list[Target], digests: Digests, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(model)
    calls: list[bool] = []
    solve = joint_edit.joint_update

    def fail_at_the_third(*arguments: Any, **options: Any) -> tuple[Tensor, Tensor]:
        calls.append(digests(model) != before)
        left_dN, right_Nm = solve(*arguments, **options)
        if len(calls) < 3:
            return left_dN, right_Nm
        if failure == "error":
            raise MemoryError
        if failure == "singular":
            torch.linalg.cholesky(-torch.eye(2))
        return left_dN * math.inf, right_Nm

    monkeypatch.setattr(joint_edit, "joint_update", fail_at_the_third)
    with pytest.raises(MemoryError if failure == "error" else BadInput):
        revs.erase(model, tokenizer, people[:2], config=config())
    assert calls == [False, True, True]
    assert digests(model) == before
    model(input_ids=torch.tensor([[0, 5]]))
    assert len(calls) == 3, "the hooks are gone"


def nan_in(name_part: str) -> Callable[[Any], None]:
    def plant(model: Any) -> None:
        name = next(name for name, _ in model.named_parameters() if name_part in name)
        model.get_parameter(name).data.view(-1)[3] = math.nan

    return plant


REFUSED: list[tuple[str, Callable[[Any], None], dict[str, Any], str]] = [
    # what, how to spoil the model, settings, part of the message
    ("NaN in an attention weight", nan_in("q_proj"), {}, "q_proj.weight holds NaN"),
    ("NaN in the embedding", nan_in("embed_tokens"), {}, "embed_tokens.weight holds NaN"),
    ("NaN in the unembedding", nan_in("lm_head"), {}, "lm_head.weight holds NaN"),
    ("NaN in an edited matrix", nan_in("down_proj"), {}, "down_proj.weight holds NaN"),
    ("a rank beyond the vocabulary", lambda _: None, {"aim_rank": 400}, "aim_rank 400 .* 400 tokens"),
    ("a layer that is not there", lambda _: None, {"first_layer": 3}, "first_layer 3 .* 3 layers"),
    ("an unknown method", lambda _: None, {"method": "magic"}, "method 'magic' is unknown; known methods: .*revs"),
]


@pytest.mark.parametrize(("what", "spoil", "settings", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_is_refused_before_any_weight_is_touched(
    what: str, spoil: Callable[[Any], None], settings: dict[str, Any], message: str,
    trained_models: dict[str, Any], tokenizer: Any, people: list[Target], digests: Digests,
) -> None:  # fmt: skip
    model = copy.deepcopy(trained_models["llama"])
    spoil(model)
    before = digests(model)
    with pytest.raises(BadInput, match=message):
        revs.erase(model, tokenizer, people[:2], config=config(**settings))
    assert digests(model) == before


def test_a_target_both_erased_and_retained_is_refused_without_showing_it(
    model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    before = digests(model)
    with pytest.raises(BadInput, match=r"1 target\(s\) are to be erased and retained") as refusal:
        revs.erase(model, tokenizer, people[:2], retain=people[1:4], config=config())
    assert people[1].secret.strip() not in str(refusal.value)
    assert digests(model) == before


def test_a_quantised_matrix_is_refused(model: Any, tokenizer: Any, people: list[Target], family: str) -> None:
    parent, _, _ = edited_names(model, family)[1][0].rpartition(".")
    module = model.get_submodule(parent)
    module.weight = torch.nn.Parameter(module.weight.data.to(torch.int8), requires_grad=False)
    with pytest.raises(BadInput, match=r"quantised \(torch.int8\)"):
        revs.erase(model, tokenizer, people[:2], config=config())


def test_a_family_that_is_not_supported_is_refused_with_a_list_of_those_that_are(
    tokenizer: Any, people: list[Target], tmp_path: Path, digests: Digests
) -> None:
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    settings = GPTNeoConfig(
        vocab_size=400, hidden_size=16, num_layers=1, num_heads=2, attention_types=[[["global"], 1]],
        bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = GPTNeoForCausalLM(settings).eval()
    before = digests(model)
    for act in (lambda: revs.erase(model, tokenizer, people), lambda: revs.evaluate(model, tokenizer, people)):
        with pytest.raises(BadInput, match=r"'gpt_neo' is not supported; supported families: bloom, .*, llama, "):
            act()
    assert digests(model) == before
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(BadInput, match=r"'gpt_neo' is not supported; supported families: bloom, .*, llama, "):
        revs.load(tmp_path)


def test_a_checkpoint_loads_in_the_wanted_dtype_and_its_damage_is_named(
    shared_model: Any, tokenizer: Any, tmp_path: Path, digests: Digests
) -> None:
    folder = tmp_path / "model"
    shared_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model, read_tokenizer = revs.load(folder)
    assert digests(model) == digests(shared_model)
    assert read_tokenizer("SSN 412")["input_ids"] == tokenizer("SSN 412")["input_ids"]
    assert revs.load(str(folder), dtype="bfloat16")[0].dtype == torch.bfloat16
    for options, message in (({"dtype": "int3"}, "dtype 'int3'"), ({"device": "nowhere"}, "device 'nowhere'")):
        with pytest.raises(BadInput, match=message):
            revs.load(folder, **options)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(BadInput, match="cannot be loaded"):
        revs.load(folder)
    with pytest.raises(BadInput, match=r"has no config\.json"):
        revs.load(tmp_path)
    with pytest.raises(BadInput, match=r"cannot be loaded|no such|is no model"):
        revs.load(tmp_path / "missing")


def test_one_edit_after_another_reverts_in_turn(
    model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    start = digests(model)
    first = revs.erase(model, tokenizer, people[:2], config=config())
    second = revs.erase(model, tokenizer, people[2:4], config=config(), retain=people[4:])
    with pytest.raises(BadInput):
        first.revert(model)
    second.revert(model)
    first.revert(model)
    assert digests(model) == start


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused_before_any_weight_is_touched(
    new_model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    model = new_model("llama", vocabulary=120, layers=1)
    before = digests(model)
    settings = config(low_rank=2, aim_rank=3)
    for act in (
        lambda: revs.erase(model, tokenizer, people, config=settings),
        lambda: revs.evaluate(model, tokenizer, people, k=20),
        lambda: perplexity(model, tokenizer, ["Every morning the train leaves."]),
    ):
        with pytest.raises(BadInput, match="but the model has 120 tokens; give the tokenizer that belongs"):
            act()
    assert digests(model) == before


def test_dropout_does_not_disturb_an_edit_and_the_mode_of_the_model_stays(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    other = copy.deepcopy(model)
    for module in other.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    other.train()
    options: dict[str, Any] = {"config": config(), "text": ordinary}
    assert revs.erase(other, tokenizer, people[:2], **options) == revs.erase(model, tokenizer, people[:2], **options)
    trained, plain = (revs.evaluate(m, tokenizer, people[:2], text=ordinary, k=40) for m in (other, model))
    assert trained == plain
    assert other.training and not model.training
