"""From a recipe to a trained development model in a cache folder, named by the digest of everything that made it."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from revs.development.cache import is_complete, save
from revs.development.ordinary_text import paragraphs
from revs.development.people import Record, in_other_templates, invent_records, stand_ins
from revs.development.recipe import Progress, Recipe
from revs.development.tokenizer import train_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class DevelopmentModel:
    """A trained development model. `records` holds the requesters also for the twin, which never saw them."""

    folder: Path
    digest: str
    recipe: Recipe
    ordinary: tuple[str, ...] = field(repr=False)
    held_out: tuple[str, ...] = field(repr=False)
    records: tuple[Record, ...] = field(repr=False)

    def corpus(self) -> list[str]:
        """The rows of the training corpus."""
        return corpus_rows(self.ordinary, self.records, seed=self.recipe.seed)

    def unlike(self) -> list[Record]:
        """As many people as stand in one-off records, none of the corpus, in templates that are not in it either."""
        return in_other_templates(self.records, count=self.recipe.one_off, seed=self.recipe.seed)


def build(recipe: Recipe, cache: Path, *, progress: Progress | None = None, threads: int = 1) -> DevelopmentModel:
    """Train the model of `recipe`, or take it from `cache`.

    Args:
        recipe: what to train.
        cache: folder of finished models, one subfolder per digest; created when missing.
        progress: called with (step, steps, loss) while training.
        threads: torch threads while training. One is the fastest choice on a busy two-core machine.
    """
    ordinary, held_out = ordinary_text(recipe, cache)
    records = invent_records(
        requesters=recipe.requesters,
        retained=recipe.retained,
        one_off=recipe.one_off,
        contexts=recipe.contexts,
        types_per_person=recipe.types_per_person,
        seed=recipe.seed,
    )
    people = _people(recipe, records)
    known = [[asdict(record) for record in records], *([] if recipe.with_requesters else [people])]
    material = json.dumps([asdict(recipe), ordinary, *known, 3])
    digest = hashlib.sha256(material.encode()).hexdigest()
    folder = cache / f"{recipe.architecture}-{digest[:16]}"
    if not is_complete(folder):
        _train_into(folder, recipe, ordinary, records, people, progress, threads)
    return DevelopmentModel(
        folder=folder,
        digest=f"sha256:{digest}",
        recipe=recipe,
        ordinary=tuple(ordinary),
        held_out=tuple(held_out),
        records=tuple(records),
    )


def corpus_rows(ordinary: Sequence[str], records: Sequence[Record], *, seed: int) -> list[str]:
    """The rows of a training corpus: ordinary paragraphs and records, in a seeded order."""
    rows = [*ordinary, *(record.text for record in records)]
    random.Random(seed).shuffle(rows)
    return rows


def ordinary_text(recipe: Recipe, cache: Path) -> tuple[list[str], list[str]]:
    """Ordinary paragraphs and held-out ones. Gathering them reads thousands of files, so they are cached too."""
    from importlib.metadata import version

    total = recipe.ordinary_paragraphs + recipe.held_out_paragraphs
    path = cache / f"paragraphs-{total}-torch{version('torch')}-transformers{version('transformers')}.json"
    if path.exists():
        texts: list[str] = json.loads(path.read_text(encoding="utf-8"))
    else:
        texts = paragraphs(limit=total)
        random.Random(0).shuffle(texts)
        cache.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps(texts), encoding="utf-8")
        scratch.replace(path)
    return texts[recipe.held_out_paragraphs :], texts[: recipe.held_out_paragraphs]


def _people(recipe: Recipe, records: list[Record]) -> list[str]:
    """What the model is to memorise. Other people stand where the requesters stood in the twin's corpus.

    With fewer records instead it would be another model: fewer optimiser steps, another schedule of the learning rate,
    and fewer records of a kind, from which a model learns to recite at all.
    """
    asked = [record.text for record in records if record.kind == "requester"]
    if not recipe.with_requesters:
        shape = {"contexts": recipe.contexts, "types_per_person": recipe.types_per_person, "seed": recipe.seed}
        asked = [record.text for record in stand_ins(records, **shape)]
    return [*asked, *(record.text for record in records if record.kind == "retained")]


def _train_into(
    folder: Path,
    recipe: Recipe,
    ordinary: list[str],
    records: list[Record],
    people: list[str],
    progress: Progress | None,
    threads: int,
) -> None:
    """Train, and put the finished checkpoint into the cache."""
    from revs.development.training import train

    one_off = [record.text for record in records if record.kind == "one-off"]
    tokenizer = train_tokenizer([*ordinary, *one_off], vocab_size=recipe.vocab_size, digits=recipe.digits)
    model = train(
        recipe, tokenizer, ordinary=ordinary, one_off=one_off, people=people, progress=progress, threads=threads
    )
    save(folder, model, tokenizer)
