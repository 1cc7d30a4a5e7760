"""The models that a demo may run on: trained on the spot, or pretrained and taught on the spot.

Either has memorised invented people, of whom some ask to be erased, and has a control: the same training with other
people in the place of those. Both are kept in a cache folder, and made side by side, one thread each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from infra.running.progress import report
from revs.development import DevelopmentModel, Recipe, Record, build
from revs.development.model import corpus_rows, ordinary_text

NAME = "demo"  # of the trained one
TRAINING = "train the demo model"
PEOPLE, ASKING, CONTEXTS, ONE_OFF = 12, 6, 4, 20  # taught, those of them who ask, sentences each; people not taught
TEXT, HELD_OUT = 400, 100  # paragraphs: perplexity on 200 takes the larger model a minute a time

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoModel:
    """What a demo needs of a model.

    Attributes:
        name: in the registry.
        folder: its checkpoint.
        control: checkpoint of the control, which never saw those who ask.
        digest: over everything that decided it.
        records: of whom it memorised (those who ask: "requester"), and of people that it did not: "one-off".
        corpus: rows of what it was trained on.
        held_out: ordinary text that is not in the corpus.
    """

    name: str
    folder: Path
    control: Path
    digest: str
    records: Sequence[Record] = field(repr=False)
    corpus: Sequence[str] = field(repr=False)
    held_out: Sequence[str] = field(repr=False)

    @classmethod
    def of(cls, model: DevelopmentModel, control: Path) -> DemoModel:
        """A development model and the folder of its control."""
        return cls(
            name=NAME,
            folder=model.folder,
            control=control,
            digest=model.digest,
            records=model.records,
            corpus=model.corpus(),
            held_out=model.held_out,
        )


def trained(cache: Path, recipe: Recipe | None = None) -> DemoModel:
    """A development model, `Recipe()` if none is given."""
    recipe = recipe or Recipe()
    _text(recipe, cache)
    model, control = _side_by_side(partial(build, recipe, cache), partial(build, recipe.never_trained(), cache))
    return DemoModel.of(model, control.folder)


def pretrained(cache: Path) -> DemoModel:
    """SmolLM2-135M, taught 12 invented people with four sentences each, of whom six ask.

    Its control is no untouched model: that one does not know the others either, nor how such sentences go on. The
    people of the one-off records stand in the corpus without having been taught.

    Raises:
        BadInput: a package is missing; the message is the command that installs it.
    """
    from revs.development import pretrained as real
    from revs.development.data import ssn_sentences

    report(TRAINING, 0, 0, "converting the pretrained model")
    real.pretrained(cache)  # needed by both: converted once, before two processes ask for it
    ordinary, held_out = _text(Recipe(ordinary_paragraphs=TEXT, held_out_paragraphs=HELD_OUT), cache)
    lesson = partial(real.taught, cache, people=PEOPLE, contexts=CONTEXTS)
    model, control = _side_by_side(lesson, partial(lesson, without=ASKING))
    # The first are the taught ones, the next those whom the control was taught in the place of those who ask.
    rows = ssn_sentences.load(people=PEOPLE + ASKING + ONE_OFF, contexts=CONTEXTS).rows
    nobody = rows[(PEOPLE + ASKING) * CONTEXTS :: CONTEXTS]
    records = [
        Record(
            person=row["person"],
            kind="one-off" if row["person"] >= PEOPLE else "requester" if row["person"] < ASKING else "retained",
            **{part: row[part] for part in ("type", "text", "start", "end")},
        )
        for row in (*model.rows, *nobody)
    ]
    return DemoModel(
        name=real.NAME,
        folder=model.folder,
        control=control.folder,
        digest=model.digest,
        records=records,
        corpus=corpus_rows(ordinary, records, seed=0),
        held_out=held_out,
    )


def _text(recipe: Recipe, cache: Path) -> tuple[list[str], list[str]]:
    """Ordinary and held-out paragraphs, gathered before two processes ask for them."""
    report(TRAINING, 0, 0, "reading docstrings of the installed packages")
    return ordinary_text(recipe, cache)


def _side_by_side(model: Callable[..., T], control: Callable[[], T]) -> tuple[T, T]:
    """Make the model here, telling of its progress, and its control in another process."""

    def tell(step: int, steps: int, loss: float) -> None:
        report(TRAINING, step, steps, f"loss {loss:.2f}")

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        other = pool.submit(control)
        own = model(progress=tell)
        report(TRAINING, 0, 0, "waiting for the never-trained control")
        return own, other.result()
