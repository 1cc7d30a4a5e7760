"""What the library cannot do is said in one line that names the record, the weight or the figure; the rest is kept."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import revs
from revs.errors import BadInput, OperationFailed
from revs.evaluation.attacks import ATTACKS
from revs.evaluation.metrics import METRICS
from revs.methods.baselines import BASELINES
from revs.model.families import architecture_of
from revs.targets.target import Target

K = 20
SETTINGS = {"low_rank": 40, "aim_rank": 60}


def failing(error: BaseException) -> Callable[..., Any]:
    def run(_examination: Any) -> Any:
        raise error

    return run


FAILURES = [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "memory did not suffice"),
    (MemoryError(), "memory did not suffice"),
    (RuntimeError("mat1 and mat2 shapes cannot be multiplied\nmore"), r"it failed \(mat1 and mat2 shapes cannot"),
]


@pytest.mark.parametrize(("error", "reason"), FAILURES)
def test_an_attack_that_fails_is_a_gap_with_its_reason_and_every_other_figure_stays(
    error: BaseException, reason: str, shared_model: Any, tokenizer: Any, people: list[Target],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import re

    monkeypatch.setitem(ATTACKS, "paraphrased", replace(ATTACKS["paraphrased"], run=failing(error)))
    names = ["efficacy", "shortened", "paraphrased", "extraction_rate", "resistance_score"]
    scores = revs.evaluate(shared_model, tokenizer, people[:2], k=K, metrics=names)
    assert set(scores.to_dict()) == set(names) - {"paraphrased"}
    assert re.search(reason, scores.gaps["paraphrased"]) and "\n" not in scores.gaps["paraphrased"]


def test_a_metric_that_fails_is_a_gap_too_and_is_not_tried_twice(
    shared_model: Any, tokenizer: Any, people: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def measure(_examination: Any) -> float:
        tried.append(1)
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setitem(METRICS, "generality", replace(METRICS["generality"], measure=measure))
    scores = revs.evaluate(shared_model, tokenizer, people[:2], retain=people[2:], k=K)
    assert scores.unlearning_score is not None and "memory" in scores.gaps["generality"]
    assert len(tried) == 1


def test_a_failure_that_is_said_on_purpose_still_ends_the_evaluation(
    shared_model: Any, tokenizer: Any, people: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = replace(ATTACKS["shortened"], run=failing(OperationFailed("the disk is full")))
    monkeypatch.setitem(ATTACKS, "shortened", failed)
    with pytest.raises(OperationFailed, match="the disk is full"):
        revs.evaluate(shared_model, tokenizer, people[:1], k=K, metrics=["shortened"])


@pytest.mark.parametrize("method", sorted(set(BASELINES) - {"in-context", "retrain"}))
def test_a_baseline_on_an_offloaded_model_is_refused_by_the_weight_it_would_change(
    method: str, trained_models: dict[str, Any], tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    from accelerate import cpu_offload

    model = cpu_offload(copy.deepcopy(trained_models["llama"]))
    config = revs.EraseConfig(method=method, **SETTINGS)
    with pytest.raises(BadInput, match=rf"^method '{method}' changes \S+, which is offloaded; [^\n]+$"):
        revs.erase(model, tokenizer, people[:2], config=config, text=ordinary, retain=people[2:])


SAME = [
    # of the first target, why
    (lambda secret: secret, "under another prompt"),
    (lambda secret: secret.strip(), "without the space in front"),
    (lambda secret: secret.replace("-", " "), "with other separators"),
    (lambda secret: secret.replace("-", ""), "without separators"),
]


@pytest.mark.parametrize("method", ["revs", "revs-neurons", "ft-l", "in-context"])
@pytest.mark.parametrize(("written", "why"), SAME, ids=[row[-1] for row in SAME])
def test_a_retained_record_with_the_secret_to_be_erased_is_refused_by_number(
    written: Callable[[str], str], why: str, method: str, shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    retain = [*people[3:], Target(prompt="Once more, her number:", secret=written(people[1].secret))]
    message = rf"^retained record {len(retain) - 1} holds the secret of target 1, .*take the record out"
    with pytest.raises(BadInput, match=message):
        config = revs.EraseConfig(method=method, **SETTINGS)
        revs.erase(shared_model, tokenizer, people[:2], config=config, retain=retain)
    with pytest.raises(BadInput, match=message):
        revs.evaluate(shared_model, tokenizer, people[:2], retain=retain, k=K)


@pytest.mark.parametrize(
    ("erased", "kept"), [(" 287-31-6604", " 287-31-66047"), (" ana.bell@example.com", " anabell@example.com")]
)
def test_a_retained_record_that_only_looks_alike_is_kept(
    erased: str, kept: str, shared_model: Any, tokenizer: Any
) -> None:
    target, record = (Target(prompt="Write to her:", secret=secret) for secret in (erased, kept))
    assert revs.evaluate(shared_model, tokenizer, [target], retain=[record], k=K).specificity is not None


@pytest.mark.parametrize("method", ["revs", "ft-l"])
def test_a_record_that_cannot_be_used_is_called_what_it_is(
    method: str, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    bad = [people[3], Target(prompt="Her file", secret=" ref <|end|> 7781")]
    config = revs.EraseConfig(method=method, **SETTINGS)
    with pytest.raises(BadInput, match=r"^retained record 1: its secret holds a special token"):
        revs.erase(model, tokenizer, people[:2], config=config, text=ordinary, retain=bad)
    with pytest.raises(BadInput, match=r"^target 1: its secret holds a special token"):
        revs.erase(model, tokenizer, [people[0], bad[1]], config=config, text=ordinary)


@pytest.mark.parametrize(("of", "called"), [("retain", "retained record"), ("unseen", "unseen target")])
def test_an_evaluation_calls_a_record_what_it_is_too(
    of: str, called: str, shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    bad: dict[str, Any] = {of: [people[3], Target(prompt="Her file", secret=" ref <|end|> 7781")]}
    with pytest.raises(BadInput, match=rf"^{called} 1: its secret holds a special token"):
        revs.evaluate(shared_model, tokenizer, people[:2], k=K, **bad)


@pytest.mark.parametrize("wrapped", [True, False], ids=["by get_peft_model", "by add_adapter"])
def test_a_model_with_peft_adapters_is_refused_with_the_way_to_merge_them(
    wrapped: bool, trained_models: dict[str, Any], tokenizer: Any, people: list[Target]
) -> None:
    from peft import LoraConfig, get_peft_model

    model: Any = copy.deepcopy(trained_models["llama"])
    adapter = LoraConfig(task_type="CAUSAL_LM", target_modules=["down_proj"])
    if wrapped:
        model = get_peft_model(model, adapter)
    else:
        model.add_adapter(adapter)
    with pytest.raises(BadInput, match=r"^the model carries PEFT adapters.*merge_and_unload\(\)"):
        revs.erase(model, tokenizer, people[:2], config=revs.EraseConfig(**SETTINGS))
    with pytest.raises(BadInput, match="the model carries PEFT adapters"):
        revs.evaluate(model, tokenizer, people[:2], k=K)
    if wrapped:
        assert architecture_of(model.merge_and_unload()).norm == "rms"


def many_kinds() -> Any:
    """A tiny Gemma 3 that reads images too."""
    from transformers import AutoModelForCausalLM, Gemma3Config

    text = {
        "vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 16,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
        "patch_size": 14,
    }  # fmt: skip
    return AutoModelForCausalLM.from_config(
        Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=1, image_token_index=399)
    )


def test_a_model_of_several_kinds_of_input_is_refused_with_the_family_of_its_text_model(
    tokenizer: Any, people: list[Target], tmp_path: Path
) -> None:
    model = many_kinds()
    message = r"model family 'gemma3' does not read text alone .* save it as a model of the family 'gemma3_text'"
    with pytest.raises(BadInput, match=f"^{message}"):
        revs.erase(model, tokenizer, people[:1])
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(BadInput, match=message):
        revs.load(tmp_path)


def test_a_checkpoint_without_some_weight_is_not_loaded_with_random_numbers_in_its_place(
    trained_models: dict[str, Any], tokenizer: Any, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    trained_models["llama"].save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert revs.load(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.1.mlp.down_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"lacks 1 weight\(s\) of the model, such as model\.layers\.1\.mlp\.down_proj"):
        revs.load(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    assert about["architectures"] == ["LlamaForCausalLM"]
