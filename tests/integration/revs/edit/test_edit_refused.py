"""What an edit refuses before any weight is touched: damaged models, unknown families, contradicting targets."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_edits import Digests, config, edited_names

import revs
from revs.errors import BadInput
from revs.evaluation.perplexity import perplexity
from revs.targets.target import Target


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
