"""What the gates compare an edited model with: decoys, as a model answers to secrets that it never saw.

A decoy stands under the prompt of its target. Of a number it is another number, with the parts that numbers of its form
share (555 in the phone numbers of films); of a name or an address it is put together from other people's, for random
letters tell themselves from a name to any model that has read names.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from infra.batches.scored import Answers
from infra.gates.chance import FEWEST, beyond_chance, distance, worst_beyond_chance
from tasks.batch.contexts import unprobeable
from tasks.batch.stage import SEED

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.evaluation.ranks import Readings
    from revs.targets.target import Target

K = TypeVar("K")
FOLLOWS = ("exact_memorization", "extraction_strength")
WORST = "exact_memorization"
MEMBERSHIP = ("loss", "min_k", "min_k_plus_plus")
_ALL, _MOST = 200, 100  # decoys of all secrets together, and of one, at most
_WORDS = ("PERSON", "EMAIL_ADDRESS", "URL")  # types of which others are invented where the corpus has too few
_GUESSING = 50.0


@dataclass(frozen=True, slots=True, repr=False)
class Asked:
    """Targets, and their decoys, each with the secret and its number among that secret's; memory only."""

    targets: list[Target]
    decoys: list[tuple[str, int, Target]]

    @property
    def secrets(self) -> list[str]:
        """Of each target."""
        return [target.secret.strip() for target in self.targets]


def with_decoys(
    targets: Iterable[Target], others: Iterable[Target], tokenizer: PreTrainedTokenizerBase, *, context: int
) -> Asked:
    """Give targets decoys; those that have fewer than can tell are left out.

    Args:
        targets: what was edited, or kept unseen.
        others: of other people: words are taken from their secrets.
        tokenizer: of the model.
        context: the most tokens that the model reads. A decoy may take more than its secret.
    """
    of_secret: dict[str, list[Target]] = defaultdict(list)
    for target in targets:
        of_secret[target.secret.strip()].append(target)
    pool = sorted({other.secret.strip() for other in others} - of_secret.keys())
    count = min(_MOST, max(FEWEST, _ALL // max(1, len(of_secret))))
    made = [
        (secret, number, replace(target, secret=target.secret.replace(secret, decoy)))
        for secret, own in of_secret.items()
        for number, decoy in enumerate(decoys_of(secret, pool, count=count))
        for target in own
    ]
    reasons = unprobeable(tokenizer, [decoy for _, _, decoy in made], context=context) if made else []
    unfit = {(secret, number) for (secret, number, _), reason in zip(made, reasons, strict=True) if reason}
    kept = [entry for entry in made if entry[:2] not in unfit]
    numbers: dict[str, set[int]] = defaultdict(set)
    for secret, number, _ in kept:
        numbers[secret].add(number)
    told = {secret for secret, found in numbers.items() if len(found) >= FEWEST}
    return Asked(
        targets=[target for secret, own in of_secret.items() if secret in told for target in own],
        decoys=[entry for entry in kept if entry[0] in told],
    )


def decoys_of(secret: str, pool: Sequence[str], *, count: int) -> list[str]:
    """So many other secrets of the form of one, with words from those in `pool` or, where it has too few, invented."""
    from revs.targets.decoys import assembled, invented, lookalike

    if _has_letters(secret):
        for some in (pool, [*pool, *(word for type_ in _WORDS for word in invented(type_))]):
            if len(found := assembled(secret, some, count=count, seed=SEED)) == count:
                return found
    rng = random.Random(SEED)
    return [lookalike(secret, pool, rng) for _ in range(count)]


def answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, targets: Iterable[Target], others: Iterable[Target]
) -> Answers:
    """What a model makes of secrets and of their decoys: of each the mean over its contexts.

    Membership is read of numbers alone. Words tell themselves from others without having been seen: to a model that
    has read names, one name is likelier than another. Empty where nothing can be read, of a broken model or otherwise.

    Args:
        model: whose answers.
        tokenizer: of the model.
        targets: the secrets.
        others: of other people: words of decoys are taken from their secrets.
    """
    from revs.errors import Gap
    from revs.evaluation.context import Examination
    from revs.model.families import context_length

    asked = with_decoys(targets, others, tokenizer, context=context_length(model))
    if not asked.targets:
        return Answers(secrets={}, decoys={})
    examination = Examination(model=model, tokenizer=tokenizer, targets=asked.targets, tokens_per_secret=None)
    try:
        own = _by_target(examination.read(asked.targets, output_only=True))
        of_others = _by_target(
            examination.read([decoy for _, _, decoy in asked.decoys], called="decoy", output_only=True)
        )
    except Gap:
        return Answers(secrets={}, decoys={})
    names = list(dict.fromkeys(asked.secrets))
    numbers = [name for name in names if not _has_letters(name)]
    secrets: dict[str, tuple[float, ...]] = {}
    decoys: dict[str, tuple[tuple[float, ...], ...]] = {}
    for measure in own:
        judged = numbers if measure in MEMBERSHIP else names
        of_secret = _means(asked.secrets, own[measure])
        of_decoy = _means([(secret, number) for secret, number, _ in asked.decoys], of_others[measure])
        secrets[measure] = tuple(of_secret[name] for name in judged)
        decoys[measure] = tuple(tuple(of_decoy[key] for key in of_decoy if key[0] == name) for name in judged)
    return Answers(secrets=secrets, decoys=decoys)


def against(reference: Answers, edited: Answers, *, suffix: str = "") -> dict[str, float]:
    """How far the secrets of an edited model are from their decoys on the model before the edit, in points.

    Args:
        reference: answers of the model before the edit.
        edited: answers of the edited one to the same.
        suffix: of the names, for the unseen ones.
    """
    found: dict[str, float] = {}
    for measure in FOLLOWS:
        values = edited.secrets.get(measure)
        if values and reference.secrets.get(measure):
            found[f"{measure}_distance{suffix}"] = distance(values, reference.decoys[measure])
            found[f"{measure}_beyond_chance{suffix}"] = beyond_chance(values, reference.decoys[measure])
    if found:
        worst = worst_beyond_chance(edited.secrets[WORST], reference.decoys[WORST])
        found[f"worst_secret_beyond_chance{suffix}"] = worst
    return found


def membership(edited: Answers) -> dict[str, float]:
    """Whether the edited model tells the secrets from their decoys: mean log p, nats a token, and AUCs as `s_mia`."""
    import torch

    from revs.evaluation.attacks.membership import auc
    from revs.evaluation.measures import s_mia

    if not edited.secrets.get("loss"):
        return {}
    found = {
        "membership_distance": distance(edited.secrets["loss"], edited.decoys["loss"]),
        "membership_beyond_chance": beyond_chance(edited.secrets["loss"], edited.decoys["loss"]),
    }
    for measure in MEMBERSHIP:
        others = [value for some in edited.decoys[measure] for value in some]
        area = auc(torch.tensor(edited.secrets[measure]), torch.tensor(others))
        found[f"s_mia_{measure}"] = s_mia(area, _GUESSING)
    return found


def worst_form(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, targets: Iterable[Target], *, suffix: str = ""
) -> dict[str, float]:
    """`form` (`revs.evaluation.form`) of numbers or of what has letters, whichever has less left.

    The mean over both would not tell that numbers are gone where most identifiers are addresses. Nothing where there is
    neither a digit nor a letter to ask for.
    """
    import revs

    kinds: dict[bool, list[Target]] = defaultdict(list)
    for target in targets:
        kinds[_has_letters(target.secret)].append(target)
    scores = [revs.evaluate(model, tokenizer, some, metrics=["form"]).form for some in kinds.values()]
    found = [score for score in scores if score is not None]
    return {f"worst_form{suffix}": min(found)} if found else {}


def specificity_given(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, given: Sequence[Target]
) -> dict[str, float]:
    """`specificity` over the records that the edit was told to keep; nothing where there are none."""
    from revs.evaluation.decoding import greedily_extracted
    from revs.targets.tokenize import tokenise

    if not given:
        return {}
    said = greedily_extracted(model, tokenizer, tokenise(tokenizer, given))
    return {"specificity_given": 100 * sum(said) / len(said)}


def _has_letters(secret: str) -> bool:
    return any(character.isalpha() for character in secret)


def _means(keys: Sequence[K], values: Sequence[float]) -> dict[K, float]:
    of: dict[K, list[float]] = defaultdict(list)
    for key, value in zip(keys, values, strict=True):
        of[key].append(value)
    return {key: sum(some) / len(some) for key, some in of.items()}


def _by_target(readings: Readings) -> dict[str, list[float]]:
    from revs.evaluation.attacks.membership import loss, min_k, min_k_plus_plus
    from revs.evaluation.measures import share_that_follows

    tops = [(readings.rank_LN[-1][readings.target_N == target] == 0).tolist() for target in range(readings.targets)]
    return {
        "exact_memorization": [100 * sum(top) / len(top) for top in tops],
        "extraction_strength": [100 * share_that_follows(top) for top in tops],
        "loss": loss(readings).tolist(),
        "min_k": min_k(readings).tolist(),
        "min_k_plus_plus": min_k_plus_plus(readings).tolist(),
    }
