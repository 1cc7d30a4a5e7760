"""The benchmark of the edit on a development model: scores with their controls, and time as a ratio within one run."""

from __future__ import annotations

import time
from typing import Any

SEED_OF_DECOYS = 0


def run(*, seed: int) -> dict[str, Any]:
    """Erase the requesters of a development model from most of their contexts; everything measured in this process."""
    from importlib.metadata import version

    import torch
    from platformdirs import user_cache_path

    import revs
    from revs.development import Recipe, build
    from revs.targets.decoys import decoys
    from revs.targets.rarity import count_tokens
    from revs.targets.target import Target

    cache = user_cache_path("revs") / "models"
    recipe = Recipe(seed=seed)
    development, control = build(recipe, cache), build(recipe.never_trained(), cache)
    contexts: dict[tuple[str, int, str], list[Target]] = {}
    for record in development.records:
        target = Target.at(record.text, record.start, record.end)
        contexts.setdefault((record.kind, record.person, record.type), []).append(target)
    edit = [t for (kind, _, _), found in contexts.items() if kind == "requester" for t in found[:-1]]
    unseen = [found[-1] for (kind, _, _), found in contexts.items() if kind == "requester"]
    retained = [found for (kind, _, _), found in contexts.items() if kind == "retained"]
    protect, kept = [t for f in retained[::2] for t in f], [t for f in retained[1::2] for t in f]
    model, tokenizer = revs.load(development.folder)
    counts_V = count_tokens(
        tokenizer, development.corpus(), secrets=[t.secret.strip() for f in contexts.values() for t in f]
    )
    options: dict[str, Any] = {"token_counts_V": counts_V, "seed": seed}
    everything: dict[str, Any] = {"unseen": unseen, "retain": kept, "text": development.held_out, **options}
    scores = {"before": revs.evaluate(model, tokenizer, edit, **everything).to_dict()}
    batch = tokenizer([t.prompt + t.secret for t in edit], padding=True, padding_side="right", return_tensors="pt")
    started = time.perf_counter()
    with torch.no_grad():
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    forward = time.perf_counter() - started
    patch = revs.erase(model, tokenizer, edit, text=development.ordinary[:400], retain=protect, token_counts_V=counts_V)
    scores["after"] = revs.evaluate(model, tokenizer, edit, **everything).to_dict()
    never, _ = revs.load(control.folder)
    scores["never_trained"] = revs.evaluate(never, tokenizer, edit, **everything).to_dict()
    scores["decoys_after"] = revs.evaluate(model, tokenizer, decoys(edit, seed=SEED_OF_DECOYS), **options).to_dict()
    return {
        "model": development.digest,
        "seed": seed,
        "method": patch.method,
        "config": dict(patch.config),
        "sweeps": patch.sweeps,
        "scores": scores,
        "seconds": {"edit": patch.seconds, "forward": forward},
        "ratio": patch.seconds / forward,
        "versions": {name: version(name) for name in ("revs", "torch", "transformers")},
    }
