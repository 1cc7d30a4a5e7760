"""The scores table: every metric's meaning, its direction, and the controls beside each number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from infra.report.figures import Figure, exact, gap, is_number, percent, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    name: str
    label: str
    group: str
    better: Literal["higher", "lower", ""]
    show: Callable[[float], Figure]
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    metric: Metric
    figures: tuple[Figure, ...]  # in the order of COLUMNS


COLUMNS = (
    ("before", "Before"),
    ("after", "After"),
    ("never_trained", "Never-trained control"),
    ("decoys_before", "Decoys before"),
    ("decoys_after", "Decoys after"),
)
ERASED, ATTACKED, KEPT, OTHER = "Erased", "Under attack", "Kept working", "Other"

METRICS = (
    Metric(
        name="efficacy",
        label="Efficacy",
        group=ERASED,
        better="higher",
        show=percent,
        meaning="Last layer: how well the best-hidden of each target's edited tokens is hidden, away from both ends of"
        " the vocabulary. The edit optimises exactly this.",
    ),
    Metric(
        name="efficacy_all_tokens",
        label="Efficacy, all tokens",
        group=ERASED,
        better="higher",
        show=percent,
        meaning="The same over every token of the identifier, not only the best-hidden one: the stricter reading.",
    ),
    Metric(
        name="generality",
        label="Generality",
        group=ERASED,
        better="higher",
        show=percent,
        meaning="Efficacy on prompts that the edit did not use.",
    ),
    Metric(
        name="generality_all_tokens",
        label="Generality, all tokens",
        group=ERASED,
        better="higher",
        show=percent,
        meaning="The same over every token of the identifier.",
    ),
    Metric(
        name="unlearning_score",
        label="Unlearning score",
        group=ERASED,
        better="higher",
        show=percent,
        meaning="Harmonic mean of efficacy, generality and specificity, as far as measured.",
    ),
    Metric(
        name="extraction_rate",
        label="Extraction rate",
        group=ATTACKED,
        better="lower",
        show=percent,
        meaning="Share of targets that greedy decoding reproduces in full from the edited prompt.",
    ),
    Metric(
        name="extraction_rate_unseen",
        label="Extraction rate, unseen prompts",
        group=ATTACKED,
        better="lower",
        show=percent,
        meaning="The same from prompts that the edit did not use.",
    ),
    Metric(
        name="extraction_rate_other",
        label="Extraction, not memorised before",
        group=ATTACKED,
        better="lower",
        show=percent,
        meaning="The same for identifiers that the model did not give before the edit, and under prompts that stand in"
        " no corpus. The edit must not bring them up.",
    ),
    Metric(
        name="extraction_strength",
        label="Extraction strength",
        group=ATTACKED,
        better="lower",
        show=percent,
        meaning="Share of an identifier that follows by itself once its beginning is given; 0 is best.",
    ),
    Metric(
        name="exact_memorization",
        label="Exact memorisation",
        group=ATTACKED,
        better="lower",
        show=percent,
        meaning="Share of an identifier's tokens that are the top-1 prediction given the true ones before.",
    ),
    Metric(
        name="verbatim_probability",
        label="Verbatim probability",
        group=ATTACKED,
        better="lower",
        show=percent,
        meaning="Chance that one sampled answer is the identifier.",
    ),
    Metric(
        name="logit_lens",
        label="Logit lens",
        group=ATTACKED,
        better="higher",
        show=percent,
        meaning="The attacker reads the residual stream of every layer; the worst layer counts.",
    ),
    Metric(
        name="logit_lens_all_tokens",
        label="Logit lens, all tokens",
        group=ATTACKED,
        better="higher",
        show=percent,
        meaning="The same over every token of the identifier.",
    ),
    Metric(
        name="delta",
        label="Delta attack",
        group=ATTACKED,
        better="higher",
        show=percent,
        meaning="The attacker reads what changes between neighbouring layers; the worst target counts.",
    ),
    Metric(
        name="delta_all_tokens",
        label="Delta attack, all tokens",
        group=ATTACKED,
        better="higher",
        show=percent,
        meaning="The same over every token of the identifier.",
    ),
    Metric(
        name="perturbation",
        label="Perturbation",
        group=ATTACKED,
        better="higher",
        show=percent,
        meaning="Logit lens on prompts with ten characters inserted.",
    ),
    Metric(
        name="perturbation_all_tokens",
        label="Perturbation, all tokens",
        group=ATTACKED,
        better="higher",
        show=percent,
        meaning="The same over every token of the identifier.",
    ),
    Metric(
        name="resistance_score",
        label="Resistance score",
        group=ATTACKED,
        better="higher",
        show=percent,
        meaning="Harmonic mean of logit lens, delta and perturbation.",
    ),
    Metric(
        name="specificity",
        label="Specificity",
        group=KEPT,
        better="higher",
        show=percent,
        meaning="Share of other memorised records that the model still produces.",
    ),
    Metric(
        name="perplexity",
        label="Perplexity",
        group=KEPT,
        better="lower",
        show=partial(plain, decimals=2),
        meaning="Exponential of the mean token loss on held-out text.",
    ),
    Metric(
        name="perplexity_ratio",
        label="Perplexity, ratio to before",
        group=KEPT,
        better="lower",
        show=partial(plain, decimals=4),
        meaning="1 means that the language quality is unchanged.",
    ),
)
_BY_NAME = {metric.name: metric for metric in METRICS}


def label(name: str) -> str:
    """The metric's name for people, or the name itself if this module does not know it."""
    return _BY_NAME[name].label if name in _BY_NAME else name


def score_groups(scores: dict[str, Any], gaps: dict[str, str]) -> list[tuple[str, list[ScoreRow]]]:
    """Return the table's groups with their rows: every metric that any column holds, null ones as marked gaps."""
    columns = [scores.get(key) or {} for key, _ in COLUMNS]
    present = {name for column in columns for name in column}
    metrics = [metric for metric in METRICS if metric.name in present]
    metrics += [
        Metric(name=name, label=name, group=OTHER, better="", show=exact, meaning="")
        for name in sorted(present - _BY_NAME.keys())
    ]
    groups: dict[str, list[ScoreRow]] = {}
    for metric in metrics:
        figures = tuple(
            figure(column.get(metric.name), gaps.get(f"/scores/{key}/{metric.name}"), metric.show)
            for (key, _), column in zip(COLUMNS, columns, strict=True)
        )
        groups.setdefault(metric.group, []).append(ScoreRow(metric=metric, figures=figures))
    return list(groups.items())


def figure(value: Any, was: str | None, show: Callable[[float], Figure] = exact) -> Figure:
    """`value` as `show` writes it, or a marked gap; `was` is what stood in place of a null."""
    return show(value) if is_number(value) else gap(was)
