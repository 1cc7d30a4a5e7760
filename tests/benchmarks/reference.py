"""Erasing to the reference against erasing to fixed ranks, on development models that neither was tuned on.

    make bench-reference                                       # the ten draws of the page: an hour with training
    python tests/benchmarks/reference.py --draws llama/small/3/101 gptj/small/1/107

A draw is architecture/size/digits/seed: digits in a token of a number, 3 or 1. The case is that of the other tables
(`flows.bench.case`): 20 people are erased from one of their five sentences, half of 20 others are given. The reference
of the distances are decoys on the model before the edit. Seconds are of one process, the moments C included.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from rich.progress import track

import revs
from flows.bench.case import Case, case_of, recipe
from revs.development import build
from revs.errors import RevsWarning
from revs.evaluation.decoding import greedily_extracted
from revs.targets.target import Target
from revs.targets.tokenize import tokenise

sys.path.append(str(Path(__file__).parent))

from conditions import conditions, heading

DRAWS = (
    "llama/small/3/101", "llama/medium/3/102", "gptj/small/3/103", "gptj/medium/3/104", "llama/small/3/109",
    "llama/small/1/105", "llama/medium/1/106", "gptj/small/1/107", "gptj/medium/1/108", "gptj/small/1/110",
)  # fmt: skip
SETTINGS = {
    "fixed ranks": revs.EraseConfig(),
    "fixed ranks, nothing given": revs.EraseConfig(),
    "fixed ranks, replayed": revs.EraseConfig(replayed=600, protected_records=300),
    "reference": revs.ReferenceConfig(),
    "reference, form held": revs.ReferenceConfig(hold_form=True),
    "reference, nothing given": revs.ReferenceConfig(),
}
METRICS = (
    "exact_memorization_distance", "exact_memorization_distance_unseen", "extraction_strength_distance",
    "extraction_strength_distance_unseen", "form", "form_unseen", "s_mia_loss", "s_mia_min_k", "s_mia_min_k_plus_plus",
    "efficacy", "generality", "logit_lens", "perplexity_ratio",
)  # fmt: skip
SAID = ("said", "said_unseen", "kept_given", "kept_not_given")
COLUMNS = (*SAID, *METRICS, "seconds")
# The worst of a column: the largest, the smallest, or what is farthest from 0.
WORST = {
    "said": max, "said_unseen": max, "perplexity_ratio": max, "seconds": max,
    **{name: lambda values: max(values, key=abs) for name in METRICS if "distance" in name},
}  # fmt: skip


def said(model: Any, tokenizer: Any, targets: list[Target]) -> float:
    """Percent of the targets whose secret greedy decoding gives."""
    tokens = tokenise(tokenizer, targets, context=model.config.max_position_embeddings)
    found = greedily_extracted(model, tokenizer, tokens, batch_size=64)
    return 100 * sum(found) / len(found)


def measured(original: Any, tokenizer: Any, case: Case, config: revs.EraseConfig, *, given: bool) -> dict[str, float]:
    """Erase from a copy of the model; every figure of a row."""
    model, started = copy.deepcopy(original), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RevsWarning)  # what is short shows in the figures
        revs.erase(
            model, tokenizer, case.edit, config=config, text=case.text, retain=case.given if given else (),
            token_counts_V=case.counts_V,
        )  # fmt: skip
    seconds = time.process_time() - started
    scores = revs.evaluate(
        model, tokenizer, case.edit, unseen=case.unseen, text=case.held_out, original=original,
        token_counts_V=case.counts_V, metrics=METRICS,
    ).to_dict()  # fmt: skip
    asked = (case.edit, case.unseen, case.given, case.not_given)
    row = dict(zip(SAID, (said(model, tokenizer, some) for some in asked), strict=True))
    return {**row, **{name: float(scores[name]) for name in METRICS}, "seconds": seconds}


def page(rows: list[dict[str, Any]], under: dict[str, str]) -> str:
    """Means with the worst draw in brackets, then every draw."""
    lines = [*heading("Erasing to the reference, on models that nobody tuned on", under), __doc__ or "", ""]
    draws = list(dict.fromkeys(row["draw"] for row in rows))
    for title, digits in (("All draws", ""), ("Numbers in tokens of three digits", "/3/"), ("Digit by digit", "/1/")):
        some = [row for row in rows if digits in row["draw"]]
        if not some:
            continue
        count = len({row["draw"] for row in some})
        lines += [f"## {title}: mean of {count}, worst in brackets", "", *_head("setting")]
        for setting in SETTINGS:
            of = [row for row in some if row["setting"] == setting]
            cells = [_mean(column, [row[column] for row in of]) for column in COLUMNS] if of else []
            lines += [f"| {setting} | {' | '.join(cells)} |"] if cells else []
        lines.append("")
    lines += ["## Every draw", "", *_head("draw, setting")]
    for draw in draws:
        for row in (row for row in rows if row["draw"] == draw):
            cells = " | ".join(_shown(column, row[column]) for column in COLUMNS)
            lines.append(f"| {draw}, {row['setting']} | {cells} |")
    return "\n".join(lines) + "\n"


def _head(first: str) -> list[str]:
    names = [name.replace("_", " ") for name in COLUMNS]
    return [f"| {first} | {' | '.join(names)} |", f"|---|{'--:|' * len(names)}"]


def _mean(column: str, values: list[float]) -> str:
    return f"{_shown(column, statistics.mean(values))} ({_shown(column, WORST.get(column, min)(values))})"


def _shown(column: str, value: float) -> str:
    return f"{value:.4f}" if column == "perplexity_ratio" else f"{value:.2f}" if "mia" in column else f"{value:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", nargs="+", default=list(DRAWS), help="architecture/size/digits/seed")
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--cache", type=Path, default=user_cache_path("revs") / "models")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for draw in track(asked.draws, description="draws"):
        architecture, size, digits, seed = draw.split("/")
        model = build(recipe(architecture, size, int(seed), digits=int(digits)), asked.cache)
        case = case_of(model)
        original, tokenizer = revs.load(model.folder, dtype="float32", device="cpu")
        for setting in asked.settings:
            given = not setting.endswith("nothing given")
            row = measured(original, tokenizer, case, SETTINGS[setting], given=given)
            rows.append({"draw": draw, "setting": setting, **row})
        under = conditions("torch", "transformers")
        (asked.out / "reference.json").write_text(json.dumps({**under, "rows": rows}, indent=1) + "\n")
        (asked.out / "reference.md").write_text(page(rows, under))


if __name__ == "__main__":
    main()
