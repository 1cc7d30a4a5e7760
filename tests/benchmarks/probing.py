"""Batched probing against one `model.generate` per prompt, on a development model; both must give the same answers.

    python tests/benchmarks/probing.py --out bench-out

Processor and wall time of one process, the two ways in turns. Probing also gives extraction strength and loss of every
target, which the slow way would need another pass for; the time with the place among 99 decoys stands beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path

import revs
from revs.development import Recipe, build
from revs.exposure import DECOYS, decoy_quantiles, exposed
from revs.extraction import holds
from revs.probing import probe
from revs.targets import Target, TokenisedTarget, tokenise

TURNS = 3


def one_by_one(model: Any, tokenizer: Any, targets: Sequence[TokenisedTarget]) -> list[bool]:
    """The obvious way: a `generate` per prompt, as long as the secret and four tokens, with a cache."""
    said = []
    for target in targets:
        out = model.generate(
            input_ids=torch.tensor([target.ids[: target.start]]), do_sample=False, num_beams=1, pad_token_id=2,
            max_new_tokens=min(len(target.secret_ids) + 4, model.config.max_position_embeddings - target.start),
        )  # fmt: skip
        answer = tokenizer.decode(out[0, target.start :], skip_special_tokens=True)
        said.append(holds(tokenizer, target, answer))
    return said


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result, and seconds of processor and wall time."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, time.process_time() - processor, time.perf_counter() - wall


def compare(model: Any, tokenizer: Any, targets: Sequence[Target], *, turns: int = TURNS) -> dict[str, Any]:
    """Best times of both ways, and how often their answers differ."""
    tokens = tokenise(tokenizer, targets, context=model.config.max_position_embeddings)
    probe(model, tokenizer, tokens[:2])
    one_by_one(model, tokenizer, tokens[:2])
    slow, fast = [], []
    for _ in range(turns):
        said, *seconds = timed(lambda: one_by_one(model, tokenizer, tokens))
        slow.append(seconds)
        found, *seconds = timed(lambda: probe(model, tokenizer, tokens))
        fast.append(seconds)
    places, *with_decoys = timed(lambda: decoy_quantiles(model, tokenizer, targets, tokens))
    ways = zip(("processor", "wall"), map(min, zip(*slow, strict=True)), map(min, zip(*fast, strict=True)), strict=True)
    return {
        "targets": len(targets), "memorised": sum(said), "turns": turns, "decoys": DECOYS,
        "different_answers": sum(a != b.memorised for a, b in zip(said, found, strict=True)),
        "exposed_only": sum(exposed(q) and not p.memorised for q, p in zip(places, found, strict=True)),
        "seconds": {
            clock: {"one_by_one": one, "probing": other, "decoys": more}
            for (clock, one, other), more in zip(ways, with_decoys, strict=True)
        },
    }  # fmt: skip


def table(results: dict[str, dict[str, Any]]) -> str:
    """A Markdown table, a row per model and clock."""
    lines = [
        "| model | seconds | one by one | probing | times faster | decoys | different answers |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for name, result in results.items():
        for clock, took in result["seconds"].items():
            ratio = took["one_by_one"] / took["probing"]
            lines.append(
                f"| {name}, {result['targets']} targets | {clock} | {took['one_by_one']:.2f} | {took['probing']:.3f} | "
                f"{ratio:.0f} | {took['decoys']:.1f} | {result['different_answers']} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Batched probing against one generate per prompt.")
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--cache", type=Path, default=user_cache_path("revs") / "models")
    parser.add_argument("--targets", type=int, default=200)
    parser.add_argument("--turns", type=int, default=TURNS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for architecture in ("llama", "gptj"):
        development = build(Recipe(architecture=architecture), asked.cache)
        model, tokenizer = revs.load(development.folder)
        people = [Target.at(record.text, record.start, record.end) for record in development.records]
        results[architecture] = compare(model, tokenizer, people[: asked.targets], turns=asked.turns) | {
            "model": development.digest
        }
    asked.out.mkdir(parents=True, exist_ok=True)
    versions = {name: version(name) for name in ("revs", "torch", "transformers")}
    text = json.dumps({"models": results, "versions": versions}, indent=1)
    (asked.out / "probing.json").write_text(text, encoding="utf-8")
    (asked.out / "probing.md").write_text(table(results) + "\n", encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
