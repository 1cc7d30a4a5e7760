"""The tables of `revs bench methods` on fabricated rows: layout, spread, best, direction, gaps with their reason."""

from __future__ import annotations

import dataclasses

import pytest

from flows.bench.rows import Identity, Row
from flows.bench.tables import TABLES, Footnotes, cell, heading, higher_is_better, markdown, table
from revs.evaluation.metrics import METRICS


def row(method: str, seed: int = 0, *, gaps: dict[str, str] | None = None, asked: str = "all", **scores: float) -> Row:
    identity = Identity(
        architecture="llama", seed=seed, method=method, config={}, model="sha256:m", control="sha256:c", metrics=asked,
        versions={},
    )  # fmt: skip
    return Row(identity=identity, scores=scores, gaps=gaps or {})


def full(method: str) -> list[Row]:
    """A method with a figure in every column."""
    return [row(method, **{name: 50.0 for names in TABLES.values() for name in names})]


def lines(rows: list[Row], *names: str) -> list[str]:
    return list(table(rows, names, Footnotes()))


def test_the_first_two_tables_are_those_of_the_paper() -> None:
    assert list(TABLES.values())[:2] == [
        ("unlearning_score", "efficacy", "generality", "specificity", "perplexity_ratio"),
        ("resistance_score", "logit_lens", "delta", "perturbation"),
    ]


def test_a_line_is_a_method_with_mean_and_standard_deviation_over_the_seeds() -> None:
    rows = [row("unedited", efficacy=0.0), row("a", 0, efficacy=10.0), row("a", 1, efficacy=30.0)]
    assert lines(rows, "efficacy") == [
        "| | efficacy ↑ |",
        "|---|--:|",
        "| unedited | 0.0 |",
        "| a | **20.0 ± 14.1** |",
    ]


@pytest.mark.parametrize(
    ("name", "values", "best"),
    [
        ("efficacy", (10.0, 90.0), "b"),
        ("perplexity_ratio", (1.001, 1.5), "a"),  # lower is better
        ("extraction_rate", (0.0, 5.0), "a"),
        ("seconds", (3.0, 9.0), "a"),
        ("decoy_efficacy", (10.0, 90.0), ""),  # a control is no contest
        ("efficacy", (90.01, 90.02), "ab"),  # the same as printed
        ("exact_memorization_distance", (-2.0, 3.0), "a"),  # the nearest to 0, on either side
        ("exact_memorization_distance", (-30.0, 3.0), "b"),
        ("uds", (0.25, 0.9), "b"),
        ("seconds_forward", (1.0, 2.0), ""),  # of the model, not of the method
        ("passes", (9.0, 30.0), "a"),
    ],
)
def test_the_best_method_is_bold_whichever_way_is_better(name: str, values: tuple[float, float], best: str) -> None:
    rows = [row(method, **{name: value}) for method, value in zip("ab", values, strict=True)]
    assert "".join(line[2] for line in lines(rows, name)[2:] if "**" in line) == best


def test_controls_and_retraining_are_references_and_never_the_best() -> None:
    rows = [row(m, efficacy=99.0) for m in ("unedited", "never trained", "retrain")] + [row("a", efficacy=1.0)]
    assert [line for line in lines(rows, "efficacy") if "**" in line] == ["| a | **1.0** |"]


def test_what_was_not_measured_is_a_dash_with_its_reason_and_never_a_zero() -> None:
    rows = [row("a", gaps={"int8": "no such copy"}), row("b", int8=0.0), row("c", asked="standard"), row("d")]
    notes = Footnotes()
    found = list(table(rows, ["int8"], notes))[2:]
    assert found == ["| a | –[^1] |", "| b | **0.0** |", "| c | –[^2] |", "| d | –[^3] |"]
    assert notes.reasons == ["no such copy", "not asked for in a quick run", "not measured"]


def test_a_method_that_refused_has_dashes_everywhere_with_what_it_said() -> None:
    rows = [row("a", gaps={"": "the method refused: one layer only"}), *full("b")]
    text = markdown(rows, architecture="llama")
    assert text.count("[^1]: the method refused: one layer only") == 1
    assert "| a | –[^1] | –[^1] | –[^1] | –[^1] | –[^1] |" in text


def test_a_score_of_some_seeds_says_so_and_does_not_compete() -> None:
    rows = [row("a", 0, efficacy=99.0), row("a", 1, gaps={"efficacy": "NaN"}), row("b", 0, efficacy=5.0)]
    notes = Footnotes()
    assert list(table(rows, ["efficacy"], notes))[2:] == ["| a | 99.0[^1] |", "| b | **5.0** |"]
    assert notes.reasons == ["1 of 2 seeds; seed 1: NaN"]


def test_the_same_reason_has_one_footnote_in_the_whole_document() -> None:
    rows = [row("a", asked="standard"), row("b", asked="standard"), *full("c")]
    assert [line for line in markdown(rows, architecture="gptj").splitlines() if line.startswith("[^")] == [
        "[^1]: not asked for in a quick run",
        "[^2]: nothing was edited",
    ]


def test_a_table_without_a_figure_is_one_sentence_and_a_quick_run_says_what_it_is_not() -> None:
    quick = markdown([row("a", asked="standard", efficacy=1.0)], architecture="llama")
    assert "## Table 2: resistance\n\nNot measured: not asked for in a quick run.\n" in quick
    assert "This is no comparison" in quick
    assert "This is no comparison" not in markdown(full("a"), architecture="llama")


def test_the_page_says_where_another_method_leads() -> None:
    rows = [
        row("never trained", relearn=0.0, uds=1.0),
        row("revs", relearn=7.0, uds=0.5, efficacy=100.0, exact_memorization_distance=-9.0),
        row("revs-reference", relearn=2.0, uds=0.7, efficacy=90.0, exact_memorization_distance=-1.0),
        row("npo-kl", relearn=0.0, uds=0.6, efficacy=100.0, exact_memorization_distance=0.5),
    ]
    text = markdown(rows, architecture="llama")
    behind = text.split("## Where another method leads")[1]
    assert "- same templates, 60 steps ↓: `npo-kl` 0.0; `revs` 7.0, `revs-reference` 2.0\n" in behind
    assert "- exact memorization, edited prompts → 0: `npo-kl` 0.5; `revs` -9.0, `revs-reference` -1.0\n" in behind
    assert "UDS ↑:" not in behind and "efficacy ↑" not in behind
    assert "leads" not in markdown(rows[:3], architecture="llama"), "nobody else is there"


def test_one_seed_has_no_deviation_and_the_head_says_so() -> None:
    text = markdown([row("a", 7, efficacy=5.0)], architecture="gptj")
    assert "Seeds 7: one seed, so no deviation." in text and "5.0 ±" not in text
    assert text.startswith("# Methods on gptj development models\n")


def test_ratios_are_printed_to_three_decimals() -> None:
    rows = [row("a", 0, perplexity_ratio=1.0049), row("a", 1, perplexity_ratio=1.0151)]
    assert cell(rows, "perplexity_ratio", bold=False, notes=Footnotes()) == "1.010 ± 0.007"


def test_every_column_is_a_metric_or_of_the_rows_alone() -> None:
    """A misspelt column would be a column of dashes."""
    names = {name for names in TABLES.values() for name in names if not name.startswith("decoy_")}
    others = {"specificity_given", "specificity_not_given", "seconds", "seconds_forward", "passes"}
    assert names - others <= set(METRICS)


def test_directions_are_those_of_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    turned = dataclasses.replace(METRICS["efficacy"], higher_is_better=False)
    monkeypatch.setitem(METRICS, "efficacy", turned)
    assert higher_is_better("efficacy") is False and heading("efficacy") == "efficacy ↓"
    assert heading("decoy_efficacy") == "decoy efficacy"
    assert heading("seconds") == "seconds of the edit ↓"


def test_the_table_says_where_its_figures_come_from() -> None:
    said = markdown([row("a", 0, efficacy=1.0)], architecture="llama", provenance=["- 2026-11-23, commit abc"])
    assert "\n\n- 2026-11-23, commit abc\n\n" in said
