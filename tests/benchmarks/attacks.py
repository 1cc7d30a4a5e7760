"""Batched attacks against one forward pass per target, layer and attack, on the demo model; ratios within one run.

    python tests/benchmarks/attacks.py --out bench-out

Efficacy, logit lens, delta and perturbation on 100 targets. The slow way is the obvious one: for each attack, target
and layer a forward pass of one prompt, the residual behind that layer through the model's own norm and head, and one
comparison. Both ways must find the same ranks.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path

import revs
from revs.development import Recipe, build
from revs.evaluation.context import Examination
from revs.model.families import architecture_of
from revs.targets.target import Target
from revs.targets.tokenize import tokenise
from revs.targets.variations import perturbed

TARGETS = 100


def slow_ranks(
    model: Any, tokenizer: Any, targets: Sequence[Target], *, deltas: bool = False, last: bool = False
) -> list[list[int]]:
    """Ranks of all tokens of all secrets, layer by layer, or of the last; of the changes where `deltas`."""
    architecture = architecture_of(model)
    layers, norm = architecture.decoder_layers(model), architecture.norm_module(model)
    found: list[list[int]] = []
    for number in range(len(layers) - 1 if last else int(deltas), len(layers)):
        ranks = []
        for tokens in tokenise(tokenizer, targets, context=model.config.max_position_embeddings):
            streams: list[torch.Tensor] = []
            hooks = [
                layer.register_forward_hook(
                    lambda _m, _i, out, kept=streams: kept.append(out[0] if isinstance(out, tuple) else out)
                )
                for layer in layers
            ]
            with torch.no_grad():
                model(input_ids=torch.tensor([tokens.ids]), use_cache=False)
                rows_TV = model.lm_head(norm(streams[number]))[0]
                if deltas:
                    rows_TV = (rows_TV - model.lm_head(norm(streams[number - 1]))[0]).abs()
            for hook in hooks:
                hook.remove()
            for place, token in enumerate(tokens.secret_ids):
                row_V = rows_TV[tokens.start + place - 1]
                ranks.append(int((row_V > row_V[token]).sum()))
        found.append(ranks)
    return found


def compare(model: Any, tokenizer: Any, targets: Sequence[Target], *, k: int = 100) -> dict[str, Any]:
    """Seconds of both ways, their ratio, and the largest difference of a rank."""
    started = time.perf_counter()
    examination = Examination(model=model, tokenizer=tokenizer, targets=targets, k=k)
    read = examination.readings("targets")
    fast = [read.rank_LN[-1:], read.rank_LN, read.delta_rank_LN, examination.readings("perturbed").rank_LN]
    fast_seconds = time.perf_counter() - started
    started = time.perf_counter()
    noisy = perturbed(targets, seed=0)
    slow = [
        slow_ranks(model, tokenizer, targets, last=True),
        slow_ranks(model, tokenizer, targets),
        slow_ranks(model, tokenizer, targets, deltas=True),
        slow_ranks(model, tokenizer, noisy),
    ]
    slow_seconds = time.perf_counter() - started
    off = max(int((a - torch.tensor(b)).abs().max()) for a, b in zip(fast, slow, strict=True))
    return {
        "targets": len(targets), "fast_seconds": fast_seconds, "slow_seconds": slow_seconds,
        "ratio": slow_seconds / fast_seconds, "largest_rank_difference": off,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Batched attacks against one pass per target, layer and attack.")
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--cache", type=Path, default=user_cache_path("revs") / "models")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    development = build(Recipe(), asked.cache)
    model, tokenizer = revs.load(development.folder)
    targets = [Target.at(record.text, record.start, record.end) for record in development.records][:TARGETS]
    result = compare(model, tokenizer, targets) | {
        "model": development.digest, "versions": {name: version(name) for name in ("revs", "torch", "transformers")},
    }  # fmt: skip
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "attacks.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    fast, slow = result["fast_seconds"], result["slow_seconds"]
    print(
        f"{TARGETS} targets: {fast:.2f} s batched, {slow:.1f} s one by one: {result['ratio']:.0f} times; "
        f"ranks differ by {result['largest_rank_difference']} at most"
    )


if __name__ == "__main__":
    main()
