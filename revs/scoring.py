"""Evaluate: every score of one model on one set of targets, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from jaxtyping import Int
from torch import Tensor

from revs import metrics
from revs.architectures import context_length
from revs.errors import BadInput
from revs.extraction import greedily_extracted
from revs.perplexity import perplexity
from revs.readings import Readings, read
from revs.taps import pad_id
from revs.targets import Target, TokenisedTarget, tokenise
from revs.variations import perturbed

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Percentages 0 to 100, higher is better unless said otherwise; None means: not measured.

    Attributes:
        efficacy, efficacy_all_tokens, generality, specificity: see `revs.metrics` and `evaluate`.
        unlearning_score: harmonic mean of efficacy, generality and specificity, of those that exist.
        logit_lens, delta, perturbation: resistance to the three attacks; resistance_score: their harmonic mean.
        extraction_rate, extraction_rate_unseen: share of secrets that greedy decoding reproduces; lower is better.
        perplexity: raw; lower is better.
        extracted: per target, whether greedy decoding reproduces its secret; extracted_unseen: for unseen ones.
        median_rank_by_layer: of the target tokens.
    """

    efficacy: float | None = None
    efficacy_all_tokens: float | None = None
    generality: float | None = None
    specificity: float | None = None
    unlearning_score: float | None = None
    logit_lens: float | None = None
    delta: float | None = None
    perturbation: float | None = None
    resistance_score: float | None = None
    extraction_rate: float | None = None
    extraction_rate_unseen: float | None = None
    perplexity: float | None = None
    extracted: tuple[bool, ...] = field(default=(), repr=False)
    extracted_unseen: tuple[bool, ...] = field(default=(), repr=False)
    median_rank_by_layer: tuple[float, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, float]:
        """The measured numbers by name, without the per-target and per-layer lists."""
        return {name: value for name, value in asdict(self).items() if isinstance(value, float)}


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    targets: Sequence[Target],
    *,
    unseen: Sequence[Target] = (),
    retain: Sequence[Target] = (),
    text: Sequence[str] = (),
    k: int = 100,
    tokens_per_secret: int | None = 2,
    token_counts_V: Int[Tensor, " V"] | None = None,
    seed: int = 0,
    batch_size: int = 64,
) -> Scores:
    """Measure a model; the model is not changed.

    Args:
        model: as for `revs.erase`.
        tokenizer: as for `revs.erase`.
        targets: what was (or is to be) erased.
        unseen: targets with the same secrets under prompts that the edit did not use.
        retain: targets that must still be produced.
        text: ordinary text for the perplexity.
        k: the candidate-set size of the token score; must be below half of the vocabulary.
        tokens_per_secret: as for the edit, so that the same tokens are judged. None judges every token but separators:
            a secret is out of reach where any of its tokens is, whichever an edit chose.
        token_counts_V: the same.
        seed: of the characters inserted by the perturbation attack.
        batch_size: sequences per forward pass.

    Raises:
        BadInput: no targets, or k too large for the vocabulary.
    """
    vocabulary = model.get_output_embeddings().weight.shape[0]
    if not targets:
        raise BadInput("evaluate got an empty target list; there is nothing to score")
    if not 0 < k < vocabulary / 2:
        raise BadInput(f"k = {k} is outside 1 … {(vocabulary - 1) // 2}, half of this vocabulary; choose a smaller k")
    context = context_length(model)
    pad = pad_id(model, tokenizer)

    def prepared(some: Sequence[Target]) -> list[TokenisedTarget]:
        return tokenise(
            tokenizer, some, tokens_per_secret=tokens_per_secret, token_counts_V=token_counts_V, context=context
        )

    def readings(some: Sequence[TokenisedTarget]) -> Readings:
        return read(model, some, pad=pad, batch_size=batch_size)

    def extracted(some: Sequence[TokenisedTarget]) -> tuple[bool, ...]:
        return tuple(greedily_extracted(model, tokenizer, some, batch_size=batch_size))

    ours, theirs = prepared(targets), prepared(unseen)
    seen_readings = readings(ours)
    said, said_unseen, said_retained = extracted(ours), extracted(theirs), extracted(prepared(retain))
    efficacy = metrics.efficacy(seen_readings, k)
    generality = metrics.efficacy(readings(theirs), k) if theirs else None
    specificity = _share(said_retained)
    lens, delta = metrics.logit_lens(seen_readings, k), metrics.delta(seen_readings, k)
    noise = metrics.logit_lens(readings(prepared(perturbed(targets, seed=seed))), k)
    return Scores(
        efficacy=efficacy,
        efficacy_all_tokens=metrics.efficacy_all_tokens(seen_readings, k),
        generality=generality,
        specificity=specificity,
        unlearning_score=metrics.harmonic_mean([efficacy, generality, specificity]),
        logit_lens=lens,
        delta=delta,
        perturbation=noise,
        resistance_score=metrics.harmonic_mean([lens, delta, noise]),
        extraction_rate=_share(said),
        extraction_rate_unseen=_share(said_unseen),
        perplexity=perplexity(model, tokenizer, text) if text else None,
        extracted=said,
        extracted_unseen=said_unseen,
        median_rank_by_layer=tuple(metrics.median_ranks(seen_readings)),
    )


def _share(flags: Sequence[bool]) -> float | None:
    return 100 * sum(flags) / len(flags) if flags else None
