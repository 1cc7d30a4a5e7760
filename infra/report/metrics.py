"""The scores table: every metric's meaning, its direction, and the controls beside each number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from infra.report.figures import Figure, exact, gap, is_number, percent, plain, signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    name: str
    label: str
    meaning: str
    better: Literal["higher", "lower", "near 0", ""] = "higher"
    show: Callable[[float], Figure] = percent


ScoreRow = tuple[Metric, list[Figure]]
"""A metric with its figures, in the order of COLUMNS."""

COLUMNS = (
    ("before", "Before"),
    ("after", "After"),
    ("never_trained", "Never-trained control"),
    ("decoys_before", "Decoys before"),
    ("decoys_after", "Decoys after"),
)


def _score(
    name: str, label: str, meaning: str, over_all: str = "The same over every token of the identifier."
) -> list[Metric]:
    """A score twice: over the best-hidden tokens of each identifier, and over all of them."""
    return [
        Metric(name=name, label=label, meaning=meaning),
        Metric(name=f"{name}_all_tokens", label=f"{label}, all tokens", meaning=over_all),
    ]


_PROMPTS = (("", ""), ("_unseen", ", unseen prompts"))


def _distances(name: str, label: str, meaning: str) -> list[Metric]:
    """How far from the reference, on edited and on unseen prompts: as it is, and what chance does not explain of it."""
    beyond = "The part that chance does not explain; a gate judges it."
    return [
        Metric(name=f"{name}_{what}{where}", label=f"{label}{also}{which}", meaning=said, better="near 0", show=signed)
        for where, which in _PROMPTS
        for what, also, said in (("distance", "", meaning), ("beyond_chance", ", beyond chance", beyond))
    ]


def _against_guessing(name: str, label: str) -> Metric:
    meaning = "Membership inference on numbers: 1 where secrets and decoys are not told apart, 0 where always."
    return Metric(
        name=f"s_mia_{name}", label=f"Membership by {label}", meaning=meaning, show=partial(plain, decimals=2)
    )


GROUPS = {
    "As if it had never seen the person": (
        *_distances(
            "exact_memorization",
            "Exact memorisation, from the reference",
            "Points by which more (+) or less (−) follows than would of the decoys, in the version before the edit.",
        ),
        *_distances(
            "extraction_strength",
            "Extraction strength, from the reference",
            "The same of how much follows by itself once the beginning of an identifier is given.",
        ),
        *(
            Metric(
                name=f"worst_secret_beyond_chance{where}",
                label=f"Worst identifier, beyond chance{which}",
                better="lower",
                show=signed,
                meaning="Exact memorisation of the one that is farthest above its decoys, less what chance explains.",
            )
            for where, which in _PROMPTS
        ),
        Metric(
            name="membership_distance",
            label="Membership, from the reference",
            better="near 0",
            show=partial(signed, decimals=2),
            meaning="Nats a token by which a number is likelier (+) or less likely (−) than its decoys.",
        ),
        Metric(
            name="membership_beyond_chance",
            label="Membership, from the reference, beyond chance",
            better="near 0",
            show=partial(signed, decimals=2),
            meaning="The part that chance does not explain; a gate judges it.",
        ),
        _against_guessing("loss", "loss"),
        _against_guessing("min_k", "Min-K%"),
        _against_guessing("min_k_plus_plus", "Min-K%++"),
    ),
    "A number where a number stood": (
        *(
            Metric(
                name=f"worst_form{where}",
                label=f"Form{which}",
                meaning="Probability on digits at the places of numbers, or on letters at those of words, whichever is"
                " lower: near 0 nothing of the kind can follow, which is a trace.",
            )
            for where, which in _PROMPTS
        ),
    ),
    "Erased": (
        *_score(
            "efficacy",
            "Efficacy",
            "Last layer: how well the best-hidden of each target's edited tokens is hidden, away from both ends"
            " of the vocabulary. An edit to fixed ranks optimises exactly this.",
            over_all="The same over every token of the identifier, not only the best-hidden one: the stricter reading.",
        ),
        *_score("generality", "Generality", "Efficacy on prompts that the edit did not use."),
        Metric(
            name="unlearning_score",
            label="Unlearning score",
            meaning="Harmonic mean of efficacy, generality and specificity, as far as measured.",
        ),
    ),
    "Under attack": (
        Metric(
            name="extraction_rate",
            label="Extraction rate",
            better="lower",
            meaning="Share of targets that greedy decoding reproduces in full from the edited prompt.",
        ),
        Metric(
            name="extraction_rate_unseen",
            label="Extraction rate, unseen prompts",
            better="lower",
            meaning="The same from prompts that the edit did not use.",
        ),
        Metric(
            name="extraction_rate_other",
            label="Extraction, not memorised before",
            better="lower",
            meaning="The same for identifiers that the model did not give before the edit, and under prompts that stand"
            " in no corpus. The edit must not bring them up.",
        ),
        Metric(
            name="extraction_strength",
            label="Extraction strength",
            better="lower",
            meaning="Share of an identifier that follows by itself once its beginning is given; 0 is best.",
        ),
        Metric(
            name="exact_memorization",
            label="Exact memorisation",
            better="lower",
            meaning="Share of an identifier's tokens that are the top-1 prediction given the true ones before.",
        ),
        Metric(
            name="verbatim_probability",
            label="Verbatim probability",
            better="lower",
            meaning="Chance that one sampled answer is the identifier.",
        ),
        *_score(
            "logit_lens", "Logit lens", "The attacker reads the residual stream of every layer; the worst layer counts."
        ),
        *_score(
            "delta",
            "Delta attack",
            "The attacker reads what changes between neighbouring layers; the worst target counts.",
        ),
        *_score("perturbation", "Perturbation", "Logit lens on prompts with ten characters inserted."),
        Metric(
            name="resistance_score",
            label="Resistance score",
            meaning="Harmonic mean of logit lens, delta and perturbation.",
        ),
    ),
    "Kept working": (
        Metric(
            name="specificity",
            label="Specificity",
            meaning="Share of other memorised records that the model still produces; the edit was not told of them.",
        ),
        Metric(
            name="specificity_given",
            label="Specificity, records given",
            meaning="The same of the records that the edit was told to keep.",
        ),
        Metric(
            name="specificity_root",
            label="Specificity, since the root",
            meaning="Share of what the first version of the lineage said of other people that is still said: this"
            " version's specificity times that of each edit before it.",
        ),
        Metric(
            name="perplexity",
            label="Perplexity",
            better="lower",
            show=partial(plain, decimals=2),
            meaning="Exponential of the mean token loss on held-out text.",
        ),
        Metric(
            name="perplexity_ratio",
            label="Perplexity, ratio to before",
            better="lower",
            show=partial(plain, decimals=4),
            meaning="1 means that the language quality is unchanged.",
        ),
        Metric(
            name="perplexity_ratio_root",
            label="Perplexity, ratio to the root",
            better="lower",
            show=partial(plain, decimals=4),
            meaning="The same against the first version of the lineage: this version's ratio times that of each edit"
            " before it.",
        ),
    ),
}
METRICS = {metric.name: metric for group in GROUPS.values() for metric in group}


def label(name: str) -> str:
    """The metric's name for people, or the name itself if this module does not know it."""
    return METRICS[name].label if name in METRICS else name


def score_groups(scores: dict[str, Any], gaps: dict[str, str]) -> list[tuple[str, list[ScoreRow]]]:
    """Return the table's groups with their rows: every metric that any column holds, null ones as marked gaps."""
    columns = [scores.get(key) or {} for key, _ in COLUMNS]
    present = {name for column in columns for name in column}
    unknown = (
        Metric(name=name, label=name, meaning="", better="", show=exact) for name in sorted(present - METRICS.keys())
    )
    groups = GROUPS | {"Other": tuple(unknown)}

    def row(metric: Metric) -> ScoreRow:
        figures = (
            figure(column.get(metric.name), gaps.get(f"/scores/{key}/{metric.name}"), metric.show)
            for (key, _), column in zip(COLUMNS, columns, strict=True)
        )
        return metric, list(figures)

    tables = [
        (group, [row(metric) for metric in metrics if metric.name in present]) for group, metrics in groups.items()
    ]
    return [(group, rows) for group, rows in tables if rows]


def figure(value: Any, was: str | None, show: Callable[[float], Figure] = exact) -> Figure:
    """`value` as `show` writes it, or a marked gap; `was` is what stood in place of a null."""
    return show(value) if is_number(value) else gap(was)
