"""Night after night: twenty batches of four people, one after the other, on one model; what is left of everybody else.

    make bench-nights                                              # the table of docs/benchmarks/reference.md
    python tests/benchmarks/nights.py --model gptj/small/1/22 --nights 5
    python tests/benchmarks/nights.py --model smollm2/1 --nights 5         # needs `make real`; an hour of one core

A model is architecture/size/digits/seed, as in `reference.py`; it has memorised 80 people who ask to be erased and 40
who do not, three sentences each. Or it is SmolLM2-135M, smollm2/seed, taught 24 people as in `real.py`, of whom 20 ask.
Every night four people are erased from one sentence each, with half of the others given; what was erased before is not
known any more. Everybody whose turn has not come yet should still be known. The moments of the text are kept from the
first night on; the form is held where production holds it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from rich.console import Console
from rich.progress import track
from rich.table import Table

import revs
from flows.bench.case import SIZES
from revs.development import Recipe, build
from revs.development.model import ordinary_text
from revs.development.pretrained import taught
from revs.errors import RevsWarning
from revs.evaluation.perplexity import perplexity
from revs.targets.target import Target
from tasks.stages.edit import holding_form

sys.path.append(str(Path(__file__).parent))

from reference import said

NIGHTLY, PEOPLE = 4, 80
COLUMNS = ("night", "first said", "unseen", "EM", "decoys", "waiting", "given", "not given", "perplexity", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A model's folder, the sentences of each person who asks and of each who does not, and ordinary text."""

    folder: Path
    asking: list[list[Target]]
    others: list[list[Target]]
    text: list[str]
    held_out: list[str]


def material(named: str, cache: Path, parser: argparse.ArgumentParser) -> Material:
    try:
        match named.split("/"):
            case ["smollm2", seed]:
                return pretrained(int(seed), cache)
            case [architecture, size, digits, seed]:
                return developed(architecture, size, int(digits), int(seed), cache)
    except (ValueError, KeyError, revs.BadInput) as error:
        parser.error(f"--model {named!r}: {error}")
    parser.error(f"--model {named!r} is neither smollm2/seed nor architecture/size/digits/seed")


def developed(architecture: str, size: str, digits: int, seed: int, cache: Path) -> Material:
    shape: dict[str, Any] = {"architecture": architecture, "digits": digits, **SIZES[size]}
    made = build(Recipe(requesters=PEOPLE, retained=40, contexts=3, seed=seed, **shape), cache)
    rows = [asdict(record) for record in made.records]
    asking, others = ([row for row in rows if row["kind"] == kind] for kind in ("requester", "retained"))
    text, held_out = list(made.ordinary[:400]), list(made.held_out)
    return Material(folder=made.folder, asking=people(asking), others=people(others), text=text, held_out=held_out)


def pretrained(seed: int, cache: Path) -> Material:
    model = taught(cache, people=24, contexts=5, seed=seed)
    everybody = people(model.rows)
    text, held_out = ordinary_text(Recipe(ordinary_paragraphs=400, held_out_paragraphs=100), cache)
    return Material(folder=model.folder, asking=everybody[:20], others=everybody[20:], text=text, held_out=held_out)


def people(rows: Iterable[Mapping[str, Any]]) -> list[list[Target]]:
    """The sentences of each person."""
    found: dict[int, list[Target]] = {}
    for row in rows:
        found.setdefault(row["person"], []).append(Target.at(row["text"], row["start"], row["end"]))
    return list(found.values())


def erased(
    model: Any, tokenizer: Any, batch: list[Target], *, text: list[str], given: list[Target], cache: Path
) -> float:
    """Erase one night's people; processor seconds."""
    started, config = time.process_time(), holding_form(revs.ReferenceConfig(), tokenizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RevsWarning)  # what is short shows in the figures
        revs.erase(model, tokenizer, batch, config=config, text=text, retain=given, cache=cache)
    return time.process_time() - started


def memorised(model: Any, tokenizer: Any, targets: list[Target], original: Any) -> tuple[float, float]:
    """Exact memorisation of the targets, and of their decoys in the model before the first night."""
    names = ("exact_memorization", "exact_memorization_distance")
    scores = revs.evaluate(model, tokenizer, targets, original=original, edit="all", metrics=names).to_dict()
    own, distance = (float(scores[name]) for name in names)
    return own, own - distance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="llama/small/3/21", help="architecture/size/digits/seed, or smollm2/seed")
    parser.add_argument("--nights", type=int, default=PEOPLE // NIGHTLY)
    parser.add_argument("--cache", type=Path, default=user_cache_path("revs") / "models")
    asked = parser.parse_args()
    made = material(asked.model, asked.cache, parser)
    original, tokenizer = revs.load(made.folder, dtype="float32", device="cpu")
    model, _ = revs.load(made.folder, dtype="float32", device="cpu")
    given, not_given = ([target for person in made.others[half::2] for target in person] for half in (0, 1))
    first = [person[0] for person in made.asking[:NIGHTLY]]
    first_unseen = [target for person in made.asking[:NIGHTLY] for target in person[1:]]
    before, table = perplexity(original, tokenizer, made.held_out), Table(*COLUMNS)
    nights = range(min(asked.nights, len(made.asking) // NIGHTLY))
    moments = tempfile.TemporaryDirectory(prefix="moments-")
    for night in track(nights, description="nights", console=Console(stderr=True)):
        batch = [person[0] for person in made.asking[NIGHTLY * night : NIGHTLY * (night + 1)]]
        waiting = [target for person in made.asking[NIGHTLY * (night + 1) :] for target in person]
        seconds = erased(model, tokenizer, batch, text=made.text, given=given, cache=Path(moments.name))
        known = (first, first_unseen, waiting, given, not_given)
        one, unseen, *kept = (said(model, tokenizer, some) if some else float("nan") for some in known)
        figures = (one, unseen, *memorised(model, tokenizer, first, original), *kept)
        ratio = perplexity(model, tokenizer, made.held_out) / before
        shown = ("" if isnan(value) else f"{value:.0f}" for value in figures)  # nobody waits after the last night
        table.add_row(str(night + 1), *shown, f"{ratio:.4f}", f"{seconds:.0f}")
    moments.cleanup()
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
