"""The Unlearning Depth Score against a loop over secrets, layers and positions, and its laws."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

import revs
from revs.evaluation.context import Examination
from revs.evaluation.metrics import METRICS, value_of
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, tokenise

FORGET, OTHERS = slice(0, 3), slice(3, None)
FAMILY = ("llama", "gptj")


def said(targets: Sequence[Target]) -> list[str]:
    return [f"{target.prompt}{target.secret}." for target in targets]


def unseen_of(people: Sequence[Target]) -> list[Target]:
    return [Target(prompt=f"Of {target.prompt}", secret=target.secret) for target in people[FORGET]]


@pytest.fixture(scope="module", params=FAMILY)
def models(
    request: pytest.FixtureRequest, new_model: Callable[..., Any], fit: Callable[..., Any], people: list[Target]
) -> dict[str, Any]:
    twin = fit(new_model(request.param), said(people[OTHERS]))
    original = fit(copy.deepcopy(twin), said([*people, *unseen_of(people)]))
    between = copy.deepcopy(original)  # most of the way back to the twin
    with torch.no_grad():
        for own, others in zip(between.parameters(), twin.parameters(), strict=True):
            own.lerp_(others, 0.75)
    return {"original": original, "twin": twin, "between": between}


def examined(models: dict[str, Any], which: str, tokenizer: Any, people: list[Target], **options: Any) -> Examination:
    settings: dict[str, Any] = {"original": models["original"], "twin": models["twin"], "k": 20} | options
    return Examination(
        model=models[which], tokenizer=tokenizer, targets=people[FORGET], unseen=unseen_of(people), **settings
    )


def layers_of(model: Any) -> Any:
    return model.model.layers if hasattr(model, "model") else model.transformer.h


def hidden_after(model: Any, layer: int, target: TokenisedTarget) -> torch.Tensor:
    kept: list[torch.Tensor] = []
    handle = layers_of(model)[layer].register_forward_hook(
        lambda _m, _i, out: kept.append((out[0] if isinstance(out, tuple) else out).clone())
    )
    model(input_ids=torch.tensor([target.ids]), use_cache=False)
    handle.remove()
    return kept[0]


def slow_log_probability(model: Any, target: TokenisedTarget, source: Any = None, layer: int = 0) -> float:
    """One secret, no padding: the mean log-probability of its tokens, one position put in after the other."""
    handles = []
    if source is not None:
        theirs = hidden_after(source, layer, target)

        def put(_module: Any, _inputs: Any, out: Any) -> Any:
            mine = (out[0] if isinstance(out, tuple) else out).clone()
            for place in range(len(target.secret_ids)):
                mine[0, target.start - 1 + place] = theirs[0, target.start - 1 + place]
            return (mine, *out[1:]) if isinstance(out, tuple) else mine

        handles.append(layers_of(model)[layer].register_forward_hook(put))
    logits_TV = model(input_ids=torch.tensor([target.ids]), use_cache=False).logits[0].double()
    for handle in handles:
        handle.remove()
    own = [
        float(logits_TV[target.start - 1 + place].log_softmax(-1)[token])
        for place, token in enumerate(target.secret_ids)
    ]
    return sum(own) / len(own)


@torch.no_grad()
def slow_uds(models: dict[str, Any], edited: Any, targets: list[TokenisedTarget]) -> float:
    found = []
    for target in targets:
        above = below = 0.0
        whole = slow_log_probability(models["original"], target)
        for layer in range(len(layers_of(edited))):
            first = whole - slow_log_probability(models["original"], target, models["twin"], layer)
            second = whole - slow_log_probability(models["original"], target, edited, layer)
            if first > 0.05:
                above += first * min(max(second / first, 0.0), 1.0)
                below += first
        if below:
            found.append(above / below)
    return sum(found) / len(found)


@pytest.mark.parametrize(("metric", "of"), [("uds", "targets"), ("uds_unseen", "unseen")])
def test_it_is_what_a_loop_over_secrets_layers_and_positions_gives(
    metric: str, of: str, models: dict[str, Any], tokenizer: Any, people: list[Target]
) -> None:
    examination = examined(models, "between", tokenizer, people)
    expected = slow_uds(models, models["between"], tokenise(tokenizer, examination.set_of(of), context=64))
    assert 0.05 < expected < 0.95, "neither end, or much could be wrong"
    assert value_of(examination, metric) == pytest.approx(expected, abs=1e-3)


def test_the_unedited_model_has_0_and_the_twin_1(models: dict[str, Any], tokenizer: Any, people: list[Target]) -> None:
    for which, law in (("original", 0.0), ("twin", 1.0)):
        for metric in ("uds", "uds_unseen"):
            assert value_of(examined(models, which, tokenizer, people), metric) == pytest.approx(law, abs=1e-6)
            assert METRICS[metric].higher_is_better and not METRICS[metric].standard


def test_batches_decide_nothing_and_nobody_is_changed(
    models: dict[str, Any], tokenizer: Any, people: list[Target], digests: Callable[[Any], dict[str, str]]
) -> None:
    before = {name: digests(model) for name, model in models.items()}
    values = [value_of(examined(models, "between", tokenizer, people, batch_size=size), "uds") for size in (1, 2, 64)]
    assert values == pytest.approx([values[0]] * 3, abs=1e-3)
    assert {name: digests(model) for name, model in models.items()} == before
    assert not any(layer._forward_hooks for model in models.values() for layer in layers_of(model))


def test_one_pass_a_layer_and_source_is_enough(
    models: dict[str, Any], tokenizer: Any, people: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    for model in (models["original"], models["twin"], models["between"]):
        forward = model.forward
        monkeypatch.setattr(model, "forward", lambda *a, forward=forward, **o: (passes.append(1), forward(*a, **o))[1])
    examination = examined(models, "between", tokenizer, people)
    examination.check_finite()
    passes.clear()
    value_of(examination, "uds")
    layers = len(layers_of(models["original"]))
    assert len(passes) <= 2 * (2 + layers), "all secrets at once: two sources, each layer of each, and the whole"


def test_what_is_missing_or_does_not_fit_is_said(
    models: dict[str, Any], new_model: Callable[..., Any], tokenizer: Any, people: list[Target]
) -> None:
    def why(**options: Any) -> str:
        given: dict[str, Any] = {"original": models["original"], "twin": models["twin"]} | options
        return revs.evaluate(models["between"], tokenizer, people[FORGET], k=20, metrics=["uds"], **given).gaps["uds"]

    assert "twin=" in why(twin=None) and "original=" in why(original=None)
    family = models["twin"].config.model_type
    assert "differ in layers" in why(twin=new_model(family, layers=2))
    assert "no layer of the unedited model" in why(twin=models["original"])
    broken = copy.deepcopy(models["twin"])
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    assert "NaN" in why(twin=broken)
