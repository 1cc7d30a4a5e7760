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
    "Other prompts and other weights": (
        "shortened", "paraphrased", "other_subject", "in_examples", "int8", "int4", "relearn", "difference",
    ),
    "All tokens of a secret": (
        "efficacy_all_tokens", "generality_all_tokens", "logit_lens_all_tokens", "delta_all_tokens",
        "perturbation_all_tokens",
    ),
    "Decoys, people not given, cost": (
        "decoy_efficacy", "decoy_efficacy_all_tokens", "decoy_logit_lens", "decoy_delta", "decoy_extraction_rate",
        "specificity_not_given", "seconds",
    ),
}  # fmt: skip
_NAMES = {
    "extraction_rate": "extraction, edited prompts",
    "extraction_rate_unseen": "extraction, unseen prompts",
    "leak_at_k": "leak at k",
    "min_k_plus_plus": "Min-K%++",
    "specificity_not_given": "specificity, people not given",
    "seconds": "seconds of the edit",
}
# Of what `revs.evaluation.metrics.METRICS` does not name.
_OTHERS = {"seconds": False, "specificity_not_given": True}
LEGEND = """\
Attacks put every edited and unseen prompt. leak at k: one of 16 samples at temperature 1 is the secret. Min-K%++: AUC
of membership inference against ten decoys a secret; 50 is guessing. relearn: greedy extraction after up to 60 optimiser
steps on one-off records of other people. difference: decoding guided by the unedited model, on perturbed prompts; the
figure of `unedited` is that model's alone. int8, int4: greedy extraction after plain rounding of the linear maps."""


def higher_is_better(name: str) -> bool | None:
    """The direction of a score; None for decoys, which are read against, and for a distance, where 0 is wanted."""
    if name.startswith("decoy_"):
        return None
    return METRICS[name].higher_is_better if name in METRICS else _OTHERS[name]


def heading(name: str) -> str:
    """Words for people, with the direction."""
    direction = higher_is_better(name)
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
    """A figure as it is printed: one decimal, three for ratios."""
    return f"{value:.3f}" if name == "perplexity_ratio" else f"{value:.1f}"


def best_of(methods: Mapping[str, Sequence[Row]], name: str) -> set[str]:
    """Methods with the best mean, to the decimals that are printed; only those measured on every seed compete."""
    direction = higher_is_better(name)
    means = {
        method: float(shown(name, statistics.mean(values_of(rows, name))))
        for method, rows in methods.items()
        if method not in REFERENCES and len(values_of(rows, name)) == len(rows)
    }
    if direction is None or not means:
        return set()
    best = max(means.values()) if direction else min(means.values())
    return {method for method, mean in means.items() if mean == best}


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
    if name == "seconds":
        return "nothing was edited"
    return "not asked for in a quick run" if row.identity.metrics != "all" else "not measured"
