"""Editing models that accelerate offloads: the same edit, bit for bit, as of the model in memory."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import revs
from revs.edit import sweep as joint_edit
from revs.errors import BadInput
from revs.model.digest import tensor_digest
from revs.model.offload import Weights, held
from revs.targets.target import Target
from revs.targets.tokenize import tokenise

LOW, AIM, CONTEXT = 40, 60, 64
FAMILIES = ("llama", "gptj", "gpt2")  # gpt2: weights stored transposed, embeddings tied
FORMS = ("memory", "memory and disk", "checkpoint")


def config(**settings: Any) -> revs.EraseConfig:
    return revs.EraseConfig(**{"low_rank": LOW, "aim_rank": AIM, **settings})


def values(model: Any) -> dict[str, str]:
    """Digests of all weights, read from where they are kept. After a pass tied weights have a name each."""
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    return {name: tensor_digest(weight) for name, weight in Weights(model).items() if name not in tied}


def device_map(model: Any) -> dict[str, str]:
    """Norm, unembedding and every other layer on disk, what remains on the CPU; tied embeddings on disk."""
    base, tied = model.base_model_prefix, model.config.tie_word_embeddings
    places = {"lm_head": "disk"}
    for name, module in model.base_model.named_children():
        if isinstance(module, torch.nn.ModuleList):
            places |= {f"{base}.{name}.{n}": "cpu" if n % 2 else "disk" for n in range(len(module))}
        else:
            embeds = isinstance(module, torch.nn.Embedding)
            places[f"{base}.{name}"] = "cpu" if embeds and not tied else "disk"
    return places


def offload(model: Any, form: str, folder: Path) -> Any:
    """A copy of the model, offloaded; "checkpoint": as transformers does it, from the files of the checkpoint."""
    import accelerate
    from transformers import AutoModelForCausalLM

    if form == "memory":
        return accelerate.cpu_offload(copy.deepcopy(model), execution_device=torch.device("cpu"))
    if form == "memory and disk":
        other = copy.deepcopy(model)
        return accelerate.dispatch_model(other, device_map=device_map(other), main_device="cpu", offload_dir=folder)
    model.save_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(
        folder, device_map=device_map(model), attn_implementation="eager", dtype=torch.float32
    ).eval()


def files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def logit_ranks(model: Any, tokenizer: Any, target: Target) -> list[int]:
    """Rank of every token of the secret in the model's own logits."""
    (tokens,) = tokenise(tokenizer, [target], context=CONTEXT)
    with torch.no_grad():
        logits_TV = model(input_ids=torch.tensor([tokens.ids])).logits[0]
    places = range(tokens.start - 1, len(tokens.ids) - 1)
    return [int((logits_TV[place] > logits_TV[place, tokens.ids[place + 1]]).sum()) for place in places]


@dataclass
class Plain:
    """The model in memory, its edit, and the edited copy."""

    model: Any
    edited: Any
    patch: revs.Patch


@dataclass
class Offloaded:
    """The same edit of an offloaded copy; tests leave it edited."""

    model: Any
    patch: revs.Patch
    folder: Path
    before: dict[str, str]


def edit(model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], **settings: Any) -> revs.Patch:
    return revs.erase(model, tokenizer, people[:4], config=config(**settings), text=ordinary, retain=people[4:])


@pytest.fixture(scope="module", params=FAMILIES)
def plain(
    request: pytest.FixtureRequest, trained_models: dict[str, Any], new_model: Callable[..., Any],
    train: Callable[..., Any], tokenizer: Any, people: list[Target], ordinary: list[str],
) -> Plain:  # fmt: skip
    model = trained_models.get(request.param) or train(new_model(request.param), tokenizer)
    edited = copy.deepcopy(model)
    return Plain(model, edited, edit(edited, tokenizer, people, ordinary))


@pytest.fixture(scope="module", params=FORMS)
def offloaded(
    request: pytest.FixtureRequest, plain: Plain, tmp_path_factory: pytest.TempPathFactory, tokenizer: Any,
    people: list[Target], ordinary: list[str],
) -> Iterator[Offloaded]:  # fmt: skip
    folder = tmp_path_factory.mktemp("offload")
    model = offload(plain.model, request.param, folder)
    before = files(folder)
    yield Offloaded(model, edit(model, tokenizer, people, ordinary), folder, before)


def test_the_edit_is_that_of_the_model_in_memory(plain: Plain, offloaded: Offloaded) -> None:
    assert offloaded.patch == plain.patch
    assert offloaded.patch.records == plain.patch.records
    assert offloaded.patch.weights
    assert values(offloaded.model) == values(plain.edited) != values(plain.model)


def test_the_weights_are_still_offloaded_and_files_are_as_they_were(offloaded: Offloaded) -> None:
    parameters = dict(offloaded.model.named_parameters())
    first, *_, last = offloaded.patch.weights
    assert parameters[first].is_meta and parameters[last].is_meta, "layers 0 and 2 are offloaded in every form"
    assert files(offloaded.folder) == offloaded.before


def test_the_records_are_the_ranks_in_the_logits_of_the_offloaded_model(
    offloaded: Offloaded, tokenizer: Any, people: list[Target]
) -> None:
    after = [logit_ranks(offloaded.model, tokenizer, target) for target in people[:4]]
    for record in offloaded.patch.records:
        assert abs(record.rank_after - after[record.target][record.place]) <= 1, "batched and single logits round apart"
    assert any(record.stopped == "reached" for record in offloaded.patch.records)


def test_evaluate_gives_the_scores_of_the_model_in_memory(
    plain: Plain, offloaded: Offloaded, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    arguments: dict[str, Any] = {"retain": people[4:], "text": ordinary, "k": LOW}
    expected = revs.evaluate(plain.edited, tokenizer, people[:4], **arguments)
    assert revs.evaluate(offloaded.model, tokenizer, people[:4], **arguments) == expected


def test_its_own_patch_reverts_to_the_bit_and_so_does_one_made_in_memory(plain: Plain, offloaded: Offloaded) -> None:
    for patch in (offloaded.patch, plain.patch):
        patch.revert(offloaded.model)
        assert values(offloaded.model) == values(plain.model)
        patch.apply(offloaded.model)
        assert values(offloaded.model) == values(plain.edited)


def test_the_logits_follow_the_weights(plain: Plain, offloaded: Offloaded) -> None:
    ids = torch.tensor([[0, 17, 40, 55]])
    with torch.no_grad():
        edited = offloaded.model(input_ids=ids).logits
        assert torch.equal(edited, plain.edited(input_ids=ids).logits)
        offloaded.patch.revert(offloaded.model)
        old = offloaded.model(input_ids=ids).logits
        offloaded.patch.apply(offloaded.model)
        assert torch.equal(old, plain.model(input_ids=ids).logits)
    assert not torch.equal(old, edited)


# Of `accelerate.cpu_offload` transformers knows nothing when it saves.
@pytest.mark.parametrize("form", ["memory and disk", "checkpoint"])
@pytest.mark.filterwarnings("ignore:Attempting to save a model with offloaded modules:UserWarning")
def test_an_offloaded_model_is_saved_as_edited(form: str, plain: Plain, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = offload(plain.model, form, tmp_path / "from")
    plain.patch.apply(model)
    model.save_pretrained(tmp_path / "to")
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "to", dtype=torch.float32)
    assert values(saved) == values(plain.edited)


def _after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which fails after so many calls."""
    left = [calls]

    def failing(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("cut off")
        return function(*args, **kwargs)

    return failing


def test_an_edit_that_is_cut_off_in_the_middle_of_a_pass_leaves_the_old_weights(
    plain: Plain, tokenizer: Any, people: list[Target], ordinary: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    model = offload(plain.model, "checkpoint", tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(joint_edit, "joint_update", _after(2, joint_edit.joint_update))
        with pytest.raises(RuntimeError, match="cut off"):
            edit(model, tokenizer, people, ordinary)
    assert values(model) == values(plain.model)
    assert edit(model, tokenizer, people, ordinary) == plain.patch, "and nothing else of it stays behind"


def test_the_method_that_edits_columns_is_the_same_and_is_undone_when_cut_off(
    plain: Plain, tokenizer: Any, people: list[Target], ordinary: list[str], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"config": revs.config.NeuronsConfig(selection="gradient", max_columns=4)}
    model, other = offload(plain.model, "checkpoint", tmp_path), copy.deepcopy(plain.model)
    with pytest.raises(RuntimeError, match="cut off"):
        revs.erase(model, tokenizer, people[:2], **settings, progress=_after(2, lambda *_: None))
    assert values(model) == values(plain.model)
    expected = revs.erase(other, tokenizer, people[:2], **settings)
    found = revs.erase(model, tokenizer, people[:2], **settings)
    assert (found, found.records) == (expected, expected.records)
    assert values(model) == values(other) != values(plain.model)


def test_roundings_are_tried_on_a_copy_that_leaves_the_offloaded_model_alone(
    plain: Plain, tokenizer: Any, people: list[Target], ordinary: list[str], tmp_path: Path
) -> None:
    model, other = offload(plain.model, "checkpoint", tmp_path), copy.deepcopy(plain.model)
    settings = {"survive": ("bfloat16", "int4"), "variations": 0, "stand_ins": 0, "sweeps": 1}
    expected = edit(other, tokenizer, people, ordinary, **settings)
    found = edit(model, tokenizer, people, ordinary, **settings)
    assert (found, found.records) == (expected, expected.records)
    assert values(model) == values(other)


def test_weights_in_bfloat16_come_back_to_the_bit(
    plain: Plain, tokenizer: Any, people: list[Target], ordinary: list[str], tmp_path: Path
) -> None:
    old = copy.deepcopy(plain.model).bfloat16()
    model = offload(old, "memory and disk", tmp_path)
    patch = edit(model, tokenizer, people, ordinary)
    assert values(model) != values(old)
    patch.revert(model)
    assert values(model) == values(old)


def test_load_spreads_a_model_over_the_devices_there_are(
    plain: Plain, tokenizer: Any, people: list[Target], ordinary: list[str], tmp_path: Path
) -> None:
    plain.model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, loaded = revs.load(tmp_path, device="auto")
    assert not model.training
    patch = edit(model, loaded, people, ordinary)
    patch.revert(model)
    assert values(model) == values(plain.model)


@pytest.mark.parametrize("how", ["no weights", "preloaded"])
def test_weights_that_no_hook_of_their_module_loads_are_refused(
    how: str, new_model: Callable[..., Any], tokenizer: Any, people: list[Target]
) -> None:
    import accelerate

    model = new_model("llama")
    if how == "no weights":
        model = model.to("meta")
    else:
        accelerate.cpu_offload(model, execution_device=torch.device("cpu"), preload_module_classes=["LlamaMLP"])
    with pytest.raises(BadInput, match="is on the meta device and no hook of it loads it; load the model"):
        revs.erase(model, tokenizer, people[:1], config=config())


def test_a_weight_kept_in_another_dtype_is_read_in_the_models_and_written_back_exactly(
    new_model: Callable[..., Any],
) -> None:
    """accelerate casts what it loads to the dtype of the parameter; a value must not be rounded on its way there."""
    import accelerate

    model = new_model("llama")
    store = {name: tensor.half() for name, tensor in model.state_dict().items()}
    accelerate.cpu_offload(model, execution_device=torch.device("cpu"), state_dict=store)
    weights = Weights(model)
    name = "model.layers.1.mlp.down_proj.weight"
    assert weights[name].dtype == torch.float32
    value = torch.randn_like(weights[name])
    weights[name] = value
    assert torch.equal(held(model.get_submodule(name.removesuffix(".weight"))), value)


def test_a_weight_is_read_where_another_hook_shares_the_module(new_model: Callable[..., Any]) -> None:
    import accelerate
    from accelerate.hooks import ModelHook, add_hook_to_module

    model = new_model("llama")
    name = "model.layers.1.mlp.down_proj"
    before = model.get_submodule(name).weight.detach().clone()
    add_hook_to_module(model.get_submodule(name), ModelHook())
    accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
    assert model.get_submodule(name).weight.is_meta
    assert torch.equal(Weights(model)[f"{name}.weight"], before)
