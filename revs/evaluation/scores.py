"""Evaluate: the scores of one model on one set of targets, in one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal

from jaxtyping import Int
from torch import Tensor

from revs.config import EraseConfig
from revs.errors import BadInput, Gap
from revs.evaluation.attacks import ATTACKS, outcome_of
from revs.evaluation.attacks.base import Outcome
from revs.evaluation.context import Examination
from revs.evaluation.metrics import METRICS, value_of
from revs.model.families import architecture_of
from revs.patch.patch import Patch
from revs.targets.preflight import check_retained, targets_given, texts_given, vocabulary_of
from revs.targets.target import Target

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The figures of one model; direction, control and definition of each stand in `revs.METRICS`.

    Percentages 0 to 100, but raw for the two perplexities, 0 to 1 for s_mia and uds (1 is wanted), and for a distance
    points above or below the reference (0 is wanted). None: not measured; `gaps` has the reason if asked for.

    Attributes:
        gaps: why a metric that was asked for is missing, by name.
        attacks: what every attack got, target by target (first the edited prompts, then the unseen ones).
        extracted: per target, whether greedy decoding reproduces its secret; extracted_unseen and extracted_other: for
            unseen and other ones.
        median_rank_by_layer: of the target tokens.
    """

    efficacy: float | None = None
    efficacy_all_tokens: float | None = None
    generality: float | None = None
    generality_all_tokens: float | None = None
    specificity: float | None = None
    unlearning_score: float | None = None
    logit_lens: float | None = None
    logit_lens_all_tokens: float | None = None
    delta: float | None = None
    delta_all_tokens: float | None = None
    perturbation: float | None = None
    perturbation_all_tokens: float | None = None
    resistance_score: float | None = None
    extraction_rate: float | None = None
    extraction_rate_unseen: float | None = None
    extraction_rate_other: float | None = None
    extraction_strength: float | None = None
    exact_memorization: float | None = None
    verbatim_probability: float | None = None
    min_k_plus_plus: float | None = None
    exact_memorization_distance: float | None = None
    exact_memorization_distance_unseen: float | None = None
    extraction_strength_distance: float | None = None
    extraction_strength_distance_unseen: float | None = None
    efficacy_distance_at_10: float | None = None
    efficacy_distance_at_100: float | None = None
    efficacy_distance_at_1000: float | None = None
    logit_lens_distance_at_10: float | None = None
    logit_lens_distance_at_100: float | None = None
    logit_lens_distance_at_1000: float | None = None
    s_mia_loss: float | None = None
    s_mia_min_k: float | None = None
    s_mia_min_k_plus_plus: float | None = None
    uds: float | None = None
    uds_unseen: float | None = None
    form: float | None = None
    form_unseen: float | None = None
    leak_at_k: float | None = None
    shortened: float | None = None
    paraphrased: float | None = None
    other_subject: float | None = None
    in_examples: float | None = None
    int8: float | None = None
    int4: float | None = None
    relearn: float | None = None
    relearn_10: float | None = None
    relearn_200: float | None = None
    relearn_other_10: float | None = None
    relearn_other_60: float | None = None
    relearn_other_200: float | None = None
    difference: float | None = None
    perplexity: float | None = None
    perplexity_ratio: float | None = None
    gaps: Mapping[str, str] = field(default_factory=dict, repr=False)
    attacks: Mapping[str, Outcome] = field(default_factory=dict, repr=False)
    extracted: tuple[bool, ...] = field(default=(), repr=False)
    extracted_unseen: tuple[bool, ...] = field(default=(), repr=False)
    extracted_other: tuple[bool, ...] = field(default=(), repr=False)
    median_rank_by_layer: tuple[float, ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.4g}" for name, value in self.to_dict().items())
        missing = f"; {len(self.gaps)} not measured: see gaps" if self.gaps else ""
        return f"<Scores {shown or 'none'}{missing}>"

    def to_dict(self) -> dict[str, float]:
        """The measured numbers by name, without the per-target and per-layer lists."""
        found = {part.name: getattr(self, part.name) for part in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, float)}


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    targets: Iterable[Target],
    *,
    unseen: Iterable[Target] = (),
    other: Iterable[Target] = (),
    retain: Iterable[Target] = (),
    text: Iterable[str] = (),
    k: int = 100,
    edit: Patch | EraseConfig | Literal["all"] | None = None,
    token_counts_V: Int[Tensor, " V"] | None = None,
    seed: int = 0,
    batch_size: int = 64,
    metrics: Iterable[str] | Literal["all"] | None = None,
    original: PreTrainedModel | None = None,
    twin: PreTrainedModel | None = None,
    unrelated: Iterable[Target] = (),
    other_templates: Iterable[Target] = (),
) -> Scores:
    """Measure a model; the model is not changed.

    Args:
        model: as for `revs.erase`.
        tokenizer: as for `revs.erase`.
        targets: what was (or is to be) erased.
        unseen: targets with the same secrets under prompts that the edit did not use.
        other: targets that the model did not give before the edit: the edit must not bring them up.
        retain: targets that must still be produced.
        text: ordinary text for the perplexity.
        k: the candidate-set size of the token score; must be below half of the vocabulary.
        edit: whose target tokens are judged: those of an edit, given by its patch or its settings; None: of the default
            settings. "all": every token but separators, for a secret is out of reach where any of its tokens is,
            whichever an edit chose.
        token_counts_V: as for the edit, so that the same tokens are judged.
        seed: of everything drawn: inserted characters, samples, decoys, the order of relearning.
        batch_size: sequences per forward pass.
        metrics: names out of `revs.evaluation.metrics.METRICS`. None: those that need little more than a pass over the
            targets. "all": also sampling, prompt variants, quantisation, relearning, difference, membership
            the distance to the reference and the Unlearning Depth Score.
        original: the model before the edit, for the difference attack, the perplexity ratio, the Unlearning Depth
            Score, and, without a twin, the distances to the reference.
        twin: a model trained by the same recipe without these people, where there is one: the reference that distances,
            s_mia and the Unlearning Depth Score are measured from.
        unrelated: records of other people, which the relearning attack trains on; default: `retain`.
        other_templates: records of other people in sentences of another making than those that targets stand in, for
            the relearning attack that trains on such.

    Raises:
        BadInput: no targets, a retained record with the secret of a target, k too large for the vocabulary, or an
            unknown metric.
    """
    targets, unseen = targets_given(targets, "targets"), targets_given(unseen, "unseen")
    other, retain = targets_given(other, "other"), targets_given(retain, "retain")
    unrelated, text = targets_given(unrelated, "unrelated"), texts_given(text, "text")
    other_templates = targets_given(other_templates, "other_templates")
    architecture_of(model)
    vocabulary = vocabulary_of(model)
    if not targets:
        raise BadInput("evaluate got an empty target list; there is nothing to score")
    if not 0 < k < vocabulary / 2:
        raise BadInput(f"k = {k} is outside 1 … {(vocabulary - 1) // 2}, half of this vocabulary; choose a smaller k")
    if batch_size < 1:
        raise BadInput(f"batch_size {batch_size} is below 1; give the number of sequences in a forward pass")
    check_retained(targets, retain)
    names = _names(metrics)
    examination = Examination(
        model=model, tokenizer=tokenizer, targets=targets, unseen=unseen, other=other, retain=retain, text=text, k=k,
        tokens_per_secret=_tokens_judged(edit), token_counts_V=token_counts_V, seed=seed, batch_size=batch_size,
        original=original, twin=twin, unrelated=unrelated, other_templates=other_templates,
    )  # fmt: skip
    return measured(examination, names, attacks=tuple(ATTACKS) if metrics == "all" else ())


def _tokens_judged(edit: Patch | EraseConfig | Literal["all"] | None) -> int | None:
    match edit:
        case None:
            return EraseConfig().tokens_per_secret
        case EraseConfig():
            return edit.tokens_per_secret
        case Patch():
            return int(edit.config.get("tokens_per_secret", EraseConfig().tokens_per_secret))
        case "all":
            return None
    raise BadInput(f"edit is a {type(edit).__name__}; give the patch, its revs.EraseConfig, or 'all'")


def _names(metrics: Iterable[str] | Literal["all"] | None) -> list[str]:
    if metrics is None:
        return [name for name, metric in METRICS.items() if metric.standard]
    if metrics == "all":
        return list(METRICS)
    names = list(texts_given(metrics, "metrics"))
    _refuse_unknown("metric", names, METRICS)  # before a target is read
    return names


def _refuse_unknown(what: str, names: Iterable[str], known: Mapping[str, object]) -> None:
    if unknown := sorted(set(names) - set(known)):
        raise BadInput(f"{what} {unknown[0]!r} is unknown; known {what}s: {', '.join(known)}")


def measured(examination: Examination, names: Sequence[str], *, attacks: Sequence[str] = ()) -> Scores:
    """The named metrics, and the outcomes of the named attacks.

    Raises:
        BadInput: a target cannot be tokenised, or a metric or an attack is unknown; nothing has run then.
    """
    _refuse_unknown("metric", names, METRICS)
    _refuse_unknown("attack", attacks, ATTACKS)
    examination.check_targets()
    values: dict[str, float] = {}
    gaps: dict[str, str] = {}
    outcomes: dict[str, Outcome] = {}
    for name in names:
        try:
            values[name] = value_of(examination, name)
        except Gap as gap:
            gaps[name] = str(gap)
    for name in attacks:
        try:
            outcomes[name] = outcome_of(examination, name)
        except Gap as gap:
            gaps.setdefault(name, str(gap))
    return Scores(
        **values, gaps=gaps, attacks=outcomes, extracted=_flags(examination, "targets"),
        extracted_unseen=_flags(examination, "unseen"), extracted_other=_flags(examination, "other"),
        median_rank_by_layer=_median_ranks(examination),
    )  # fmt: skip


def _flags(examination: Examination, of: str) -> tuple[bool, ...]:
    try:
        return examination.extracted(of)
    except Gap:
        return ()


def _median_ranks(examination: Examination) -> tuple[float, ...]:
    """Median rank of the target tokens after each layer."""
    try:
        readings = examination.readings("targets")
    except Gap:
        return ()
    return tuple(float(row.double().median()) for row in readings.rank_LN[:, readings.chosen_N])
