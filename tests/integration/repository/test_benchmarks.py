"""The benchmark scripts run, small: their figures are for people to read, never for a test to judge."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))


def test_the_benchmark_at_scale_measures_an_edit_that_lands(capsys: pytest.CaptureFixture[str]) -> None:
    import editor_at_scale

    small = "--hidden 64 --layers 2 --vocabulary 2000 --targets 3 --tokens 12 --dtype float32 --oracle"
    result = editor_at_scale.main(small.split(" "))
    assert json.loads(capsys.readouterr().out) == result
    assert result["reached"] == result["tokens"] == 6
    assert result["edit_over_forward"] > 0 < result["oracle_seconds_per_column"]


def test_batched_attacks_find_the_ranks_of_one_pass_per_target_layer_and_attack(
    shared_model: Any, tokenizer: Any, people: list[Any]
) -> None:
    import attacks

    result = attacks.compare(shared_model, tokenizer, people[:3], k=40)
    assert result["targets"] == 3
    assert result["largest_rank_difference"] <= 1, "of near ties, by another order of summation"
    assert result["ratio"] > 0


def test_the_benchmark_of_corpora_reads_all_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import corpus

    result = corpus.main(["--megabytes", "1", "--kinds", "parquet", "--out", str(tmp_path)])
    rows = len(list(corpus.rows(1, 0)))
    assert [(found["reading"], found["rows"]) for found in result["results"]] == [
        (reading, rows) for reading in corpus.READINGS
    ]
    assert json.loads((tmp_path / "corpus.json").read_text(encoding="utf-8")) == result
    assert capsys.readouterr().out.startswith("# Corpora, measured")


def row(method: str, seed: int, score: float, **more: Any) -> dict[str, Any]:
    scores = {"unlearning_score": score, "efficacy": 100.0}
    return {"method": method, "seed": seed, "scores": scores, "milliseconds_per_token": 5.0, **more}


def test_the_table_shows_the_best_setting_of_each_seed_as_mean_and_deviation() -> None:
    import editor

    rows = [row("a", 0, 10.0), row("a", 0, 30.0), row("a", 1, 50.0), row("b", 0, 90.0)]
    best = editor.best_of_each_seed(rows)
    assert [(found["method"], found["scores"]["unlearning_score"]) for found in best] == [
        ("a", 30),
        ("a", 50),
        ("b", 90),
    ]
    lines = list(editor.table(best))
    assert lines[0] == "| | a | b |"
    assert lines[2] == "| unlearning score | 40 ± 14.1 | 90 |"
    assert "| delta |  |  |" in lines, "what was not measured is a gap, not a zero"


def test_probing_and_one_generate_a_prompt_give_the_same_answers(
    shared_model: Any, tokenizer: Any, people: list[Any]
) -> None:
    import probing

    result = probing.compare(shared_model, tokenizer, people[:3], turns=1)
    assert (result["targets"], result["memorised"], result["different_answers"]) == (3, 3, 0)
    assert result["seconds"]["wall"]["probing"] > 0
