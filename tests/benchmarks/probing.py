"""Batched probing against one `model.generate` per prompt, on a development model; both must give the same answers.

    python tests/benchmarks/probing.py --out bench-out

Processor and wall time of one process, the two ways in turns. Probing also gives extraction strength and loss of every
target, which the slow way would need another pass for. Finding the place of each secret among 99 decoys is timed beside
it, on the first model; how many it calls exposed is also taken on a model that never saw them, where none should be.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path

import revs
from revs.development import Recipe, build
from revs.development.people import Record
from revs.discover.exposure import DECOYS, EXPOSED, decoy_places
from revs.discover.probe import probe
from revs.evaluation.decoding import holds
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, tokenise

sys.path.append(str(Path(__file__).parent))

from conditions import conditions, heading

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


def quantiles(model: Any, tokenizer: Any, records: Sequence[Record], pool: Sequence[Record]) -> list[float | None]:
    """The place of each record's secret among decoys assembled from all secrets of its type."""
    found: list[float | None] = []
    for record in records:
        targets = [Target.at(record.text, record.start, record.end)]
        tokens = tokenise(tokenizer, targets, context=model.config.max_position_embeddings)
        others = sorted({other.value for other in pool if other.type == record.type})
        (place,) = decoy_places(model, tokenizer, targets, tokens, pool=others)
        found.append(place and place.quantile)
    return found


def exposed(found: Sequence[float | None]) -> int:
    """How many stand out from their decoys."""
    return sum(each is not None and each <= EXPOSED for each in found)


def exposure(model: Any, control: Any, tokenizer: Any, records: Sequence[Record], pool: Sequence[Record]) -> Any:
    """Seconds a target, and how many of those who asked are exposed on the model and on one that never saw them."""
    asked = [record for record in records if record.kind == "requester"]
    once = [record for record in records if record.kind == "one-off"]
    mine, processor, wall = timed(lambda: quantiles(model, tokenizer, asked, pool))
    return {
        "decoys": DECOYS, "requesters": len(asked), "seen_once_or_twice": len(once),
        "seconds_per_target": {"processor": processor / len(asked), "wall": wall / len(asked)},
        "exposed": exposed(mine),
        "exposed_never_trained": exposed(quantiles(control, tokenizer, asked, pool)),
        "exposed_seen_once_or_twice": exposed(quantiles(model, tokenizer, once, pool)),
    }  # fmt: skip


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
    ways = zip(("processor", "wall"), map(min, zip(*slow, strict=True)), map(min, zip(*fast, strict=True)), strict=True)
    return {
        "targets": len(targets), "memorised": sum(said), "turns": turns,
        "different_answers": sum(a != b.memorised for a, b in zip(said, found, strict=True)),
        "seconds": {clock: {"one_by_one": one, "probing": other} for clock, one, other in ways},
    }  # fmt: skip


def table(results: dict[str, dict[str, Any]]) -> str:
    """Two Markdown tables: time by model and clock, and what is exposed."""
    lines = [
        *heading("Probing, measured", conditions("torch", "transformers")),
        "| model | clock | one by one, s | probing, s | times faster | different answers |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for name, result in results.items():
        for clock, took in result["seconds"].items():
            ratio = took["one_by_one"] / took["probing"]
            lines.append(
                f"| {name}, {result['targets']} targets | {clock} | {took['one_by_one']:.1f} | {took['probing']:.2f} | "
                f"{ratio:.0f} | {result['different_answers']} |"
            )
    lines += [
        "",
        "| model | exposed | on a model that never saw them | seen twice, exposed | ms a target |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, result in results.items():
        if not (found := result.get("exposure")):
            continue
        of, once = found["requesters"], found["seen_once_or_twice"]
        lines.append(
            f"| {name} | {found['exposed']} of {of} | {found['exposed_never_trained']} of {of} | "
            f"{found['exposed_seen_once_or_twice']} of {once} | {1000 * found['seconds_per_target']['processor']:.0f} |"
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
        recipe = Recipe(architecture=architecture)
        development = build(recipe, asked.cache)
        model, tokenizer = revs.load(development.folder)
        records = development.records[: asked.targets]
        people = [Target.at(record.text, record.start, record.end) for record in records]
        results[architecture] = {
            "model": development.digest,
            **compare(model, tokenizer, people, turns=asked.turns),
        }
        if architecture == "llama":
            control, _ = revs.load(build(recipe.never_trained(), asked.cache).folder)
            results[architecture]["exposure"] = exposure(model, control, tokenizer, records, development.records)
    asked.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"models": results, "conditions": conditions("torch", "transformers")}, indent=1)
    (asked.out / "probing.json").write_text(text + "\n", encoding="utf-8")
    (asked.out / "probing.md").write_text(table(results) + "\n", encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
