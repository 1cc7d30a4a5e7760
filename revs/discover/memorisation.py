"""Whether a secret is memorised, by several probes: "not memorised" is the verdict only where each of them says no.

Greedy decoding alone does not show it: a secret that comes second at one token is a sample away. So three probes are
put under every prompt (Carlini et al. 2019, 2021, 2023):

    greedy                greedy decoding from the prompt reproduces the secret;
    extraction strength   more of the secret follows by itself than of any decoy of the same form;
    exposure              the secret is likelier, by its loss per character, than all but 1% of such decoys.

The decoys set the bounds. Of secrets that a model never saw, 1% stand out from their decoys by chance in one probe; so
where one secret is asked for under N prompts, 1%/N is allowed to each, with N times as many decoys (Bonferroni; N at
most 10). A probe that lacks the decoys to tell gives None, and the secret is then undecided, not unmemorised.

Decoys of random characters, which are taken where the pool gives too few, are easier to beat than real ones: of them a
"no" holds and a "yes" may be the type's alone (`revs.discover.exposure`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from revs.discover.exposure import DECOYS, EXPOSED, Place, decoy_places
from revs.discover.probe import Probe, probe
from revs.errors import BadInput
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, tokenise

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Verdict = Literal["memorised", "exposed", "undecided", "not probed", "not memorised"]
_WORST_FIRST: tuple[Verdict, ...] = ("memorised", "exposed", "undecided", "not probed", "not memorised")
_MOST_PROMPTS = 10  # that the level is divided by: more would take thousands of decoys


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """What the probes found of one secret under one prompt. Holds no text, and `to_dict()` is fit for JSON.

    Attributes:
        prompt: label of the prompt.
        prompts: N, under how many prompts this secret was asked for.
        refused: why it could not be put to the model; "" where it was.
        greedy: greedy decoding reproduces the secret.
        extraction_strength: share of the secret that follows by itself, percent.
        strongest_decoy: the largest share that one of the decoys reached.
        loss: mean negative log-likelihood of the secret's tokens, nats.
        quantile: estimated share of candidates at least as likely; None where there were too few decoys.
        decoys: how many were scored.
        decoys_of: "pool", or "characters" where the pool gave too few.
    """

    prompt: str
    prompts: int = 1
    refused: str = ""
    greedy: bool = False
    extraction_strength: float = 0.0
    strongest_decoy: float | None = None
    loss: float | None = None
    quantile: float | None = None
    decoys: int = 0
    decoys_of: Literal["pool", "characters"] = "pool"

    @property
    def answers(self) -> dict[str, bool | None]:
        """Of each probe that was run, whether it says that the secret is memorised; None: it could not tell."""
        if self.refused:
            return {}
        return {"greedy": self.greedy, "extraction strength": self._stronger(), "exposure": self._likelier()}

    @property
    def verdict(self) -> Verdict:
        """Memorised by greedy decoding; exposed by another probe; not memorised only where all of them said no."""
        if self.refused:
            return "not probed"
        if self.greedy:
            return "memorised"
        found = self.answers.values()
        return "exposed" if True in found else "undecided" if None in found else "not memorised"

    def to_dict(self) -> dict[str, Any]:
        """Everything, with the answers and the verdict."""
        return {**asdict(self), "answers": self.answers, "verdict": self.verdict}

    def _enough(self) -> bool:
        """Whether a secret in front of all decoys stands at the level."""
        return self.prompts <= EXPOSED * (self.decoys + 1) * (1 + 1e-9)

    def _likelier(self) -> bool | None:
        if self.quantile is None:
            return None
        if self.quantile * self.prompts <= EXPOSED * (1 + 1e-9):
            return True
        first = self.quantile * (self.decoys + 1) < 1.5  # no decoy is at least as likely
        return None if first and not self._enough() else False

    def _stronger(self) -> bool | None:
        if self.extraction_strength == 0:
            return False
        if self.strongest_decoy is None:
            return None
        if self.extraction_strength <= self.strongest_decoy:
            return False
        return True if self._enough() else None


def overall(probes: Iterable[Probes]) -> Verdict:
    """The verdict on a secret from all its prompts: the worst of theirs; "not probed" where there are none."""
    verdicts = {each.verdict for each in probes}
    return next((verdict for verdict in _WORST_FIRST if verdict in verdicts), "not probed")


def probes(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    targets: Sequence[Target],
    *,
    context: int,
    prompts: Sequence[str] = (),
    pool: Sequence[str] | None = None,
    seed: int = 0,
    batch_size: int = 64,
) -> list[Probes]:
    """Put every probe to every target. Targets with the same secret are prompts of one secret.

    A target that cannot be put to the model (too long, a special token in it, no prompt and no token that texts begin
    with) is `refused`, and the others are probed.

    Args:
        model: is not changed.
        tokenizer: its tokenizer.
        targets: secrets of one type, under prompts from a corpus or from `revs.discover.prompts.without_corpus`.
        context: tokens of prompt and secret together at most.
        prompts: a label for each target; default "corpus".
        pool: other secrets of the type that decoys are assembled from; None: decoys of random characters.
        seed: of the decoys.
        batch_size: sequences per forward pass at most.

    Raises:
        BadInput: the model's logits are not finite; as many labels as targets were not given.
    """
    labels = prompts or ["corpus"] * len(targets)
    if len(labels) != len(targets):
        raise BadInput(f"{len(labels)} labels for {len(targets)} targets; give one for each")
    tokens = [_tokenised(tokenizer, target, context) for target in targets]
    taken = [number for number, each in enumerate(tokens) if isinstance(each, TokenisedTarget)]
    put = [each for each in tokens if isinstance(each, TokenisedTarget)]
    asked = Counter(targets[number].secret.strip() for number in taken)
    times = {number: min(asked[targets[number].secret.strip()], _MOST_PROMPTS) for number in taken}
    found = {
        number: Probes(prompt=labels[number], refused=reason)
        for number, reason in enumerate(tokens)
        if isinstance(reason, str)
    }
    for number, own, seen in zip(taken, put, probe(model, tokenizer, put, batch_size=batch_size), strict=True):
        place, of = _placed(model, tokenizer, targets[number], own, pool, times[number], seed)
        found[number] = _probes(labels[number], times[number], seen, place, of)
    return [found[number] for number in range(len(targets))]


def _tokenised(tokenizer: PreTrainedTokenizerBase, target: Target, context: int) -> TokenisedTarget | str:
    """The tokens, or why there are none."""
    try:
        return tokenise(tokenizer, [target], context=context)[0]
    except BadInput as error:
        return str(error).removeprefix("target 0: ")


def _placed(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    target: Target,
    own: TokenisedTarget,
    pool: Sequence[str] | None,
    times: int,
    seed: int,
) -> tuple[Place | None, Literal["pool", "characters"]]:
    """The place among decoys of the pool, else of random characters; among more of them where it stands out."""
    ways: list[tuple[Sequence[str] | None, Literal["pool", "characters"]]] = [(None, "characters")]
    if pool is not None:
        ways.insert(0, (pool, "pool"))
    for some, of in ways:
        (place,) = decoy_places(model, tokenizer, [target], [own], pool=some, seed=seed)
        if place is not None and place.stands_out and times > 1:
            count = ceil(times * (DECOYS + 1)) - 1
            (more,) = decoy_places(model, tokenizer, [target], [own], pool=some, count=count, seed=seed)
            place = more or place
        if place is not None:
            return _under_own_domain(model, tokenizer, target, own, place, of, seed), of
    return None, "characters"


def _under_own_domain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    target: Target,
    own: TokenisedTarget,
    place: Place,
    of: str,
    seed: int,
) -> Place:
    """The place, where the end of the secret may be what many share.

    Decoys that are assembled mix the parts of domains, of which the ending of a real one follows from its beginning;
    those of random characters keep the domain as it is. What follows of these too is not the person's.
    """
    if of == "characters" or place.strength <= place.strongest:
        return place
    (plain,) = decoy_places(model, tokenizer, [target], [own], pool=None, seed=seed)
    return place if plain is None else replace(place, strongest=max(place.strongest, plain.strongest))


def _probes(label: str, times: int, seen: Probe, place: Place | None, of: Literal["pool", "characters"]) -> Probes:
    return Probes(
        prompt=label, prompts=times, greedy=seen.memorised, extraction_strength=seen.extraction_strength,
        strongest_decoy=None if place is None else place.strongest, loss=seen.loss,
        quantile=None if place is None else place.quantile, decoys=0 if place is None else place.decoys, decoys_of=of,
    )  # fmt: skip
