"""The reference: how the secrets would score if the model had never seen them, and how far a model is from that.

An erased model should look like one that never saw the person: more likely than that is memory, less likely is a trace
of the erasure. Two models stand for it:

- the twin, trained by the same recipe without the person, asked for the same secrets;
- else the model before the edit, asked for decoys under the same prompts. It has memorised another secret for each of
  these prompts, so what it makes of decoys is near to what a twin makes of the secret, and not the same.

For membership inference without a twin the reference is an AUC of 50. That assumes that a secret and its decoys are
exchangeable: that nothing but having seen the secret tells them apart. So the number parts that a type shares (555 in
the phone numbers of films) stay in these decoys. Digits that were drawn at random meet the assumption; a name does not,
for random letters in its place tell themselves from a name to any model that has read names. There only a twin will do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from revs.errors import Gap
from revs.evaluation import measures
from revs.evaluation.attacks.membership import DECOYS, auc
from revs.evaluation.context import Examination
from revs.evaluation.ranks import Readings
from revs.targets.decoys import decoys
from revs.targets.target import Target

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_DIGITS = re.compile("[0-9]+")
_FEWEST = 3  # other secrets of a form, from which on it can be told what they share
AUC_OF_GUESSING = 50.0


def distance(score: Callable[[Readings], float], examination: Examination, *, of: str) -> float:
    """Score of "targets" or "unseen" minus the same score of the reference, points.

    Raises:
        Gap: there are no such targets, or there is no reference.
    """
    own = score(examination.readings(of))
    with _named():
        return measures.distance(own, score(reference_readings(examination, of)))


@contextmanager
def _named() -> Iterator[None]:
    """Within, what is missing is said to be missing in the reference."""
    try:
        yield
    except Gap as gap:
        raise Gap(f"no reference: {gap}") from None


def s_mia(score: Callable[[Readings], Float[Tensor, " targets"]], examination: Examination) -> float:
    """How close membership inference by `score` is to the twin's, or to guessing where there is none, 0 to 1."""
    own, twin = _auc(score, examination), examination.twin
    if twin is None:
        return measures.s_mia(own, AUC_OF_GUESSING)
    with _named():
        return measures.s_mia(own, _auc(score, _reference(examination, twin)))


def _auc(score: Callable[[Readings], Float[Tensor, " targets"]], examination: Examination) -> float:
    return auc(score(examination.readings("targets")), score(decoy_readings(examination, "targets")))


def reference_readings(examination: Examination, of: str) -> Readings:
    """Ranks of the tokens of the secrets in the twin, else of their decoys in the model before the edit.

    Raises:
        Gap: neither model was given, or it cannot be read.
    """
    if examination.twin is not None:
        other = _reference(examination, examination.twin)
        found: Readings = other.once("reference", of, lambda: other.readings(of), refusal_is_gap=True)
        return found
    if examination.original is not None:
        return decoy_readings(_reference(examination, examination.original), of)
    raise Gap("give a model that never saw the secrets (twin=) or the unedited one (original=)")


def _reference(examination: Examination, model: PreTrainedModel) -> Examination:
    """The same questions to the reference, made once, so that what was read of it is kept."""
    sizes = [each.get_output_embeddings().weight.shape[0] for each in (model, examination.model)]
    if sizes[0] != sizes[1]:
        raise Gap(f"its model has {sizes[0]} tokens, and this one {sizes[1]}")
    kept: Examination = examination.once("reference", "examination", lambda: examination.of(model))
    return kept


def decoy_readings(examination: Examination, of: str) -> Readings:
    """Ranks of the tokens of all decoys of "targets" or "unseen", one after another; read once.

    Raises:
        Gap: a secret has no decoy, or one cannot be read.
    """

    def make() -> Readings:
        return examination.read(exchangeable_decoys(examination, of), called="decoy")

    found: Readings = examination.once("decoys", of, make, refusal_is_gap=True)
    return found


def exchangeable_decoys(examination: Examination, of: str) -> list[Target]:
    """Decoys as in membership inference, the same number a target, but what secrets of a form share stays in them.

    Raises:
        Gap: a secret consists of characters that no decoy exchanges.
    """
    targets = {"targets": examination.targets, "unseen": examination.unseen}[of]
    everybody = (*examination.prompts, *examination.other, *examination.retain, *examination.unrelated)
    pool = {target.secret.strip() for target in everybody}
    keep = {secret: _shared(secret, pool) for secret in {target.secret.strip() for target in targets}}
    found = []
    for number in range(1, DECOYS + 1):
        for target, decoy in zip(targets, decoys(targets, seed=examination.seed + number), strict=True):
            if decoy.secret == target.secret:
                raise Gap("a secret has no letter or digit that a decoy could exchange")
            found.append(_restored(target, decoy, keep[target.secret.strip()]))
    return found


def _shared(secret: str, pool: Collection[str]) -> list[slice]:
    """Number parts of a secret that at least half of the other secrets of its form have too, where there are some.

    The form is the secret with its digits left open.
    """
    form = _DIGITS.sub(_open, secret)
    others = [other for other in pool if other != secret and _DIGITS.sub(_open, other) == form]
    if len(others) < _FEWEST:
        return []
    parts = [slice(*match.span()) for match in _DIGITS.finditer(secret)]
    return [part for part in parts if 2 * sum(other[part] == secret[part] for other in others) >= len(others)]


def _open(digits: re.Match[str]) -> str:
    return "0" * len(digits[0])


def _restored(target: Target, decoy: Target, parts: list[slice]) -> Target:
    """The decoy with those parts of the secret; as it is where nothing else would be left."""
    bare = target.secret.strip()
    made = list(decoy.secret.strip())
    for part in parts:
        made[part] = bare[part]
    text = "".join(made)
    return decoy if text == bare else replace(target, secret=target.secret.replace(bare, text))
