"""Night after night: twenty batches of four people, one after the other, on one model; what is left of everybody else.

    make bench-nights                                              # the table of docs/benchmarks/reference.md
    python tests/benchmarks/nights.py --model gptj/small/1/22 --nights 5

A model is architecture/size/digits/seed, as in `reference.py`; it has memorised 80 people who ask to be erased and 40
who do not, three sentences each. Every night four people are erased from one sentence each, with half of the 40 given;
what was erased before is not known any more. Everybody whose turn has not come yet should still be known.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from rich.console import Console
from rich.progress import track
from rich.table import Table

import revs
from flows.bench.case import SIZES
from revs.development import Recipe, build
from revs.errors import RevsWarning
from revs.evaluation.perplexity import perplexity
from revs.targets.target import Target

sys.path.append(str(Path(__file__).parent))

from reference import said

NIGHTLY, PEOPLE = 4, 80
COLUMNS = ("night", "first said", "unseen", "EM", "decoys", "waiting", "given", "not given", "perplexity", "seconds")


def people(model: Any, kind: str) -> list[list[Target]]:
    """The sentences of each person of a kind."""
    found: dict[int, list[Target]] = {}
    for record in model.records:
        if record.kind == kind:
            found.setdefault(record.person, []).append(Target.at(record.text, record.start, record.end))
    return list(found.values())


def erased(model: Any, tokenizer: Any, batch: list[Target], *, text: list[str], given: list[Target]) -> float:
    """Erase one night's people; processor seconds."""
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RevsWarning)  # what is short shows in the figures
        revs.erase(model, tokenizer, batch, config=revs.ReferenceConfig(), text=text, retain=given)
    return time.process_time() - started


def memorised(model: Any, tokenizer: Any, targets: list[Target], original: Any) -> tuple[float, float]:
    """Exact memorisation of the targets, and of their decoys in the model before the first night."""
    names = ("exact_memorization", "exact_memorization_distance")
    scores = revs.evaluate(model, tokenizer, targets, original=original, edit="all", metrics=names).to_dict()
    own, distance = (float(scores[name]) for name in names)
    return own, own - distance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="llama/small/3/21", help="architecture/size/digits/seed")
    parser.add_argument("--nights", type=int, default=PEOPLE // NIGHTLY)
    parser.add_argument("--cache", type=Path, default=user_cache_path("revs") / "models")
    asked = parser.parse_args()
    architecture, size, digits, seed = asked.model.split("/")
    shape: dict[str, Any] = {"architecture": architecture, "digits": int(digits), **SIZES[size]}
    made = build(Recipe(requesters=PEOPLE, retained=40, contexts=3, seed=int(seed), **shape), asked.cache)
    original, tokenizer = revs.load(made.folder, dtype="float32", device="cpu")
    model, _ = revs.load(made.folder, dtype="float32", device="cpu")
    asking, others, held_out = people(made, "requester"), people(made, "retained"), list(made.held_out)
    given, not_given = ([target for person in others[half::2] for target in person] for half in (0, 1))
    first = [person[0] for person in asking[:NIGHTLY]]
    first_unseen = [target for person in asking[:NIGHTLY] for target in person[1:]]
    before, table = perplexity(original, tokenizer, held_out), Table(*COLUMNS)
    for night in track(range(asked.nights), description="nights", console=Console(stderr=True)):
        batch = [person[0] for person in asking[NIGHTLY * night : NIGHTLY * (night + 1)]]
        waiting = [target for person in asking[NIGHTLY * (night + 1) :] for target in person]
        seconds = erased(model, tokenizer, batch, text=list(made.ordinary[:400]), given=given)
        known = (first, first_unseen, waiting, given, not_given)
        one, unseen, *kept = (said(model, tokenizer, some) if some else float("nan") for some in known)
        figures = (one, unseen, *memorised(model, tokenizer, first, original), *kept)
        ratio = perplexity(model, tokenizer, held_out) / before
        table.add_row(str(night + 1), *(f"{value:.0f}" for value in figures), f"{ratio:.4f}", f"{seconds:.0f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
