"""The tables of the comparison in Markdown, in the layout of the paper's Tables 1 and 2, and ours after them.

A line a method, controls first, mean ± standard deviation over the seeds. What was not measured is a dash with a
footnote that says why: a missing figure is no 0.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flows.bench.measure import CONTROLS
from flows.bench.rows import Row, by_method
from revs.evaluation.metrics import METRICS

# Out of the contest for the best: `retrain` is the control under another name.
REFERENCES = (*CONTROLS, "retrain")

TABLES: dict[str, tuple[str, ...]] = {
    "Table 1: unlearning": ("unlearning_score", "efficacy", "generality", "specificity", "perplexity_ratio"),
    "Table 2: resistance": ("resistance_score", "logit_lens", "delta", "perturbation"),
    "Extraction": (
        "extraction_rate", "extraction_rate_unseen", "leak_at_k", "extraction_strength", "exact_memorization",
        "verbatim_probability", "min_k_plus_plus",
    ),
    "Distance to the reference": (
        "exact_memorization_distance", "exact_memorization_distance_unseen", "extraction_strength_distance",
        "extraction_strength_distance_unseen", "s_mia_loss", "s_mia_min_k", "s_mia_min_k_plus_plus", "uds",
        "uds_unseen",
    ),
    "Relearning": (
        "relearn_10", "relearn", "relearn_200", "relearn_other_10", "relearn_other_60", "relearn_other_200",
    ),
    "Other prompts and other weights": (
        "shortened", "paraphrased", "other_subject", "in_examples", "int8", "int4", "difference",
    ),
    "All tokens of a secret": (
        "efficacy_all_tokens", "generality_all_tokens", "logit_lens_all_tokens", "delta_all_tokens",
        "perturbation_all_tokens",
    ),
    "Other people, cost": ("specificity_given", "specificity_not_given", "seconds", "seconds_forward", "passes"),
    "Decoys": (
        "decoy_efficacy", "decoy_efficacy_all_tokens", "decoy_logit_lens", "decoy_delta", "decoy_extraction_rate",
    ),
}  # fmt: skip
_NAMES = {
    "extraction_rate": "extraction, edited prompts",
    "extraction_rate_unseen": "extraction, unseen prompts",
    "leak_at_k": "leak at k",
    "min_k_plus_plus": "Min-K%++",
    "exact_memorization_distance": "exact memorization, edited prompts",
    "exact_memorization_distance_unseen": "exact memorization, unseen prompts",
    "extraction_strength_distance": "extraction strength, edited prompts",
    "extraction_strength_distance_unseen": "extraction strength, unseen prompts",
    "s_mia_loss": "s_mia, loss",
    "s_mia_min_k": "s_mia, Min-K%",
    "s_mia_min_k_plus_plus": "s_mia, Min-K%++",
    "uds": "UDS",
    "uds_unseen": "UDS, unseen prompts",
    "relearn_10": "same templates, 10 steps",
    "relearn": "same templates, 60 steps",
    "relearn_200": "same templates, 200 steps",
    **{f"relearn_other_{steps}": f"other templates, {steps} steps" for steps in (10, 60, 200)},
    "specificity_given": "specificity, people given",
    "specificity_not_given": "specificity, people not given",
    "seconds": "seconds of the edit",
    "seconds_forward": "processor seconds of a forward pass",
    "passes": "edit in forward passes",
}
# Of what `revs.evaluation.metrics.METRICS` does not name.
_OTHERS = {
    "seconds": False, "seconds_forward": None, "passes": False, "specificity_given": True, "specificity_not_given": True
}  # fmt: skip
_DECIMALS = {"perplexity_ratio": 3, "passes": 0, "seconds_forward": 3} | dict.fromkeys(
    ("s_mia_loss", "s_mia_min_k", "s_mia_min_k_plus_plus", "uds", "uds_unseen"), 2
)
OURS = ("revs", "revs-reference")
LEGEND = """\
Attacks put every edited and unseen prompt. leak at k: one of 16 samples at temperature 1 is the secret. Min-K%++: AUC
of membership inference against ten decoys a secret; 50 is guessing. Distances: points above or below the never-trained
twin; the nearest to 0 is bold. s_mia: how close the AUC is to the twin's, 1 is wanted. UDS: Unlearning Depth Score
(arXiv 2605.24614), 0 for the unedited model, 1 for the twin. Relearning: greedy extraction within so many optimiser
steps (AdamW, 3e-4, batches of 8) on records of other people, in the templates of the targets (one-off records, each
seen twice in training) or in templates that the model never saw; the control is the twin, relearned in the same way.
Seconds of the edit are those of the whole `revs.erase` by the clock; the same in processor time by that of a forward
pass over all edited prompts with their secrets is the edit in forward passes.
difference: decoding guided by the unedited model, on perturbed prompts; the figure of `unedited` is that model's alone.
int8, int4: greedy extraction after plain rounding of the linear maps."""


def higher_is_better(name: str) -> bool | None:
    """The direction of a score; None for decoys, which are read against, and for a distance, where 0 is wanted."""
    if name.startswith("decoy_"):
        return None
    return METRICS[name].higher_is_better if name in METRICS else _OTHERS[name]


def nearest_to_zero(name: str) -> bool:
    """Whether 0 is wanted, and both signs count."""
    return name in METRICS and METRICS[name].higher_is_better is None


def heading(name: str) -> str:
    """Words for people, with the direction."""
    direction = higher_is_better(name)
    if nearest_to_zero(name):
        return _NAMES.get(name, name.replace("_", " ")) + " → 0"
    arrow = "" if direction is None else " ↑" if direction else " ↓"
    return _NAMES.get(name, name.replace("_", " ")) + arrow


_QUICK = "A quick run: each method has the first of its settings, unsearched. This is no comparison of methods."


@dataclass(slots=True)
class Footnotes:
    """Numbered reasons; the same reason has one number."""

    reasons: list[str] = field(default_factory=list)

    def mark(self, reason: str) -> str:
        if reason not in self.reasons:
            self.reasons.append(reason)
        return f"[^{self.reasons.index(reason) + 1}]"


def markdown(rows: Sequence[Row], *, architecture: str, provenance: Sequence[str] = ()) -> str:
    """The tables of one architecture.

    Args:
        rows: one per method and seed, at least one; lines stand in the order in which methods come first.
        architecture: for the title.
        provenance: lines that say where the figures come from.
    """
    notes = Footnotes()
    seeds = sorted({row.identity.seed for row in rows})
    spread = "mean ± standard deviation" if len(seeds) > 1 else "one seed, so no deviation"
    lines = [
        f"# Methods on {architecture} development models",
        "",
        f"Seeds {', '.join(map(str, seeds))}: {spread}. Percentages, but raw for ratios and seconds. The best method "
        f"is bold; {', '.join(REFERENCES)} are references and take no part.",
        *(["", *provenance] if provenance else []),
        *(["", _QUICK] if any(row.identity.metrics != "all" for row in rows) else []),
    ]
    for title, names in TABLES.items():
        measured = any(name in row.scores for row in rows for name in names)
        empty = "Not measured: " + "; ".join(dict.fromkeys(reason(row, name) for row in rows for name in names)) + "."
        lines += ["", f"## {title}", "", *(table(rows, names, notes) if measured else [empty])]
    if behind := where_others_lead(rows):
        lines += ["", "## Where another method leads", "", *behind]
    lines += ["", LEGEND]
    lines += [""] if notes.reasons else []
    lines += [f"[^{number}]: {reason}" for number, reason in enumerate(notes.reasons, start=1)]
    return "\n".join(lines) + "\n"


def table(rows: Sequence[Row], names: Sequence[str], notes: Footnotes) -> Iterator[str]:
    """Lines of one Markdown table, a column per score."""
    methods = by_method(rows)
    best = {name: best_of(methods, name) for name in names}
    yield f"| | {' | '.join(map(heading, names))} |"
    yield f"|---|{'--:|' * len(names)}"
    for method, mine in methods.items():
        cells = (cell(mine, name, bold=method in best[name], notes=notes) for name in names)
        yield f"| {method} | {' | '.join(cells)} |"


def values_of(rows: Sequence[Row], name: str) -> list[float]:
    """The score of those rows that have it."""
    return [row.scores[name] for row in rows if name in row.scores]


def shown(name: str, value: float) -> str:
    """A figure as it is printed: one decimal, three for ratios, two for what goes from 0 to 1."""
    return f"{value:.{_DECIMALS.get(name, 1)}f}"


def best_of(methods: Mapping[str, Sequence[Row]], name: str) -> set[str]:
    """Methods with the best mean, to the decimals that are printed; only those measured on every seed compete."""
    means = means_of(methods, name)
    if not means or (higher_is_better(name) is None and not nearest_to_zero(name)):
        return set()
    if nearest_to_zero(name):
        best = min(map(abs, means.values()))
        return {method for method, mean in means.items() if abs(mean) == best}
    best = max(means.values()) if higher_is_better(name) else min(means.values())
    return {method for method, mean in means.items() if mean == best}


def means_of(methods: Mapping[str, Sequence[Row]], name: str) -> dict[str, float]:
    """The means of those that compete: measured on every seed, and no references; to the decimals that are printed."""
    return {
        method: float(shown(name, statistics.mean(values_of(rows, name))))
        for method, rows in methods.items()
        if method not in REFERENCES and len(values_of(rows, name)) == len(rows)
    }


def where_others_lead(rows: Sequence[Row]) -> list[str]:
    """A line for every column in which another method is better than ours, as a Markdown list."""
    methods = by_method(rows)
    lines = []
    for name in (name for names in TABLES.values() for name in names):
        best, means = best_of(methods, name), means_of(methods, name)
        ours = [method for method in OURS if method in means]
        if best and ours and not best & set(ours):
            leader = ", ".join(f"`{method}` {shown(name, means[method])}" for method in sorted(best))
            own = ", ".join(f"`{method}` {shown(name, means[method])}" for method in ours)
            lines.append(f"- {heading(name)}: {leader}; {own}")
    return lines


def cell(rows: Sequence[Row], name: str, *, bold: bool, notes: Footnotes) -> str:
    """Mean ± standard deviation of one method's score, or a dash, with a footnote for what is missing."""
    values = values_of(rows, name)
    missing = [row for row in rows if name not in row.scores]
    if not values:
        reasons = dict.fromkeys(reason(row, name) for row in missing)
        return "–" + notes.mark("; ".join(reasons))
    text = shown(name, statistics.mean(values))
    if len(values) > 1:
        text += f" ± {shown(name, statistics.stdev(values))}"
    if missing:
        which = ", ".join(f"seed {row.identity.seed}: {reason(row, name)}" for row in missing)
        return text + notes.mark(f"{len(values)} of {len(rows)} seeds; {which}")
    return f"**{text}**" if bold else text


def reason(row: Row, name: str) -> str:
    """Why a row lacks a score."""
    if found := row.gaps.get(name) or row.gaps.get(""):
        return " ".join(found.split())
    if name in ("seconds", "seconds_forward", "passes"):
        return "nothing was edited"
    return "not asked for in a quick run" if row.identity.metrics != "all" else "not measured"
