"""What is read of a model leaves every module in the mode that it was in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import revs
from revs.evaluation.perplexity import perplexity
from revs.targets.target import Target


@pytest.mark.parametrize("what", ["erase", "fine-tune", "evaluate", "perplexity"])
def test_a_module_frozen_in_a_model_that_trains_stays_frozen(
    what: str, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    model.train()
    frozen = list(model.get_submodule("model.layers" if hasattr(model, "model") else "transformer.h"))[1]
    frozen.eval()
    before = {name: module.training for name, module in model.named_modules()}
    acts: dict[str, Callable[[], object]] = {
        "erase": lambda: revs.erase(
            model, tokenizer, people[:2], config=revs.EraseConfig(low_rank=40, aim_rank=60), text=ordinary
        ),
        "fine-tune": lambda: revs.erase(
            model, tokenizer, people[:2], config=revs.EraseConfig(method="ft-l", low_rank=40, aim_rank=60)
        ),
        "evaluate": lambda: revs.evaluate(model, tokenizer, people[:2], text=ordinary, k=40),
        "perplexity": lambda: perplexity(model, tokenizer, ordinary),
    }
    acts[what]()
    assert {name: module.training for name, module in model.named_modules()} == before
    assert model.training and not frozen.training
