"""`revs bench methods` on a tiny model: two methods measured once, found again, and redone where half a row is left."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest


def as_json(result: dict[str, Any]) -> Any:
    return json.loads(json.dumps(result, default=list))


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Counts the calls of `revs.evaluate`, and keeps from one of an older signature what it does not know."""
    import revs

    evaluate = revs.evaluate
    known = set(inspect.signature(evaluate).parameters)
    calls: list[str] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append("evaluate")
        return evaluate(*arguments, **{name: value for name, value in options.items() if name in known})

    monkeypatch.setattr(revs, "evaluate", counted)
    return calls


def test_two_methods_are_measured_once_and_found_again(
    tmp_path: Path, model_cache: Path, evaluations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.bench import measure
    from flows.bench import plan as plans
    from flows.bench import run as runs
    from revs.config import EraseConfig
    from revs.development import Recipe
    from revs.errors import BadInput

    def tiny(architecture: str, seed: int) -> Recipe:
        return Recipe(
            vocab_size=1500, hidden_size=32, intermediate_size=64, layers=2, heads=2, requesters=2, retained=2,
            one_off=6, contexts=2, ordinary_paragraphs=40, held_out_paragraphs=10, epochs=3, batch=16, seed=seed,
        )  # fmt: skip

    monkeypatch.setattr(measure, "KS", (10, 100, 10_000))
    out = tmp_path / "out"
    asked: dict[str, Any] = {
        "out": out,
        "cache": model_cache / "bench",
        "date": "2026-11-30",
        "recipe": tiny,
        "quick": True,
    }
    plan = plans.Plan(architectures=["llama"], seeds=[0], methods=["revs", "revs-neurons"], **asked)
    stages: list[tuple[str, int, int, str]] = []
    result = runs.run(plan, lambda *stage: stages.append(stage))

    assert result["computed"] == len(list((out / "rows").iterdir())) == 4
    assert [row["method"] for row in result["rows"]] == ["unedited", "never trained", "revs", "revs-neurons"]
    for row in result["rows"]:
        assert {"efficacy", "unlearning_score", "decoy_efficacy", "specificity_given", "specificity_not_given"} <= set(
            row["scores"]
        )
        assert ("seconds" in row["scores"]) == row["method"].startswith("revs")
        if "seconds" in row["scores"]:
            assert 0 < row["scores"]["seconds_forward"] < row["scores"]["seconds"]
            assert 1 < row["scores"]["passes"] < 1.5 * row["scores"]["seconds"] / row["scores"]["seconds_forward"]
        assert [k for k, _ in row["efficacy_at_k"]] == [10, 100], "no k beyond half of the vocabulary"
        assert len(row["median_rank_by_layer"]) == 2 and row["model"].startswith("sha256:")
    assert result["rows"][0]["scores"]["perplexity_ratio"] == pytest.approx(1.0)
    assert {total for stage, _, total, _ in stages if stage == "llama, seed 0"} >= {5, 1}
    assert json.loads((out / "methods.json").read_text())["date"] == "2026-11-30"
    table = (out / "methods-llama.md").read_text()
    assert "| revs |" in table and "| never trained |" in table
    assert (out / "methods-llama-ranks.png").stat().st_size > 10_000

    # A second run measures nothing and says the same.
    monkeypatch.setattr(runs, "write_plots", lambda *_, **__: [])  # drawing takes longer than all the rest
    evaluations.clear()
    again = runs.run(plan)
    assert (again["computed"], evaluations) == (0, [])
    assert as_json({**again, "computed": 4}) == as_json(result)
    assert (out / "methods-llama.md").read_text() == table

    # A row that a crash left half written is measured again, and no other; the figures are the same.
    victim = next(path for path in (out / "rows").iterdir() if json.loads(path.read_text())["method"] == "revs")
    victim.write_text(victim.read_text()[:200])
    redone = runs.run(plan)
    assert redone["computed"] == 1
    assert redone["rows"][2]["scores"]["efficacy"] == result["rows"][2]["scores"]["efficacy"]

    # The search tries every setting on another model, once, and its best setting is the one that is measured.
    few = [EraseConfig(epsilon=0.03), EraseConfig(epsilon=1.0)]
    monkeypatch.setattr(runs, "settings_of", lambda method: few)
    searching = plans.Plan(architectures=["llama"], seeds=[0], methods=["revs"], **{**asked, "quick": False})
    monkeypatch.setattr(plans.Plan, "metrics", "standard")
    found = runs.run(searching)
    assert [row["seed"] for row in found["search"]] == [1000, 1000]
    assert {row["seed"] for row in found["rows"]} == {0}
    assert set(found["models"]["llama, seed 1000"]) == {"model"}, "settings are chosen without training a control"
    scores = [row["scores"]["unlearning_score"] for row in found["search"]]
    best = found["search"][scores.index(max(scores))]["config"]
    assert found["rows"][2]["config"] == best
    assert runs.run(searching)["computed"] == 0

    # What that search chose can be taken over: nothing is searched then, and the page says whose choice it is.
    earlier = tmp_path / "earlier.json"
    earlier.write_text((out / "methods.json").read_text())
    asked |= {"quick": False, "settings_of": earlier}
    taken = plans.Plan(architectures=["llama"], seeds=[0], methods=["revs"], **asked)
    monkeypatch.setattr(plans.Plan, "metrics", "standard")
    monkeypatch.setattr(runs.Bench, "search", lambda *_: pytest.fail("searched anew"))
    again = runs.run(taken)
    assert (again["computed"], again["search_of"]["date"]) == (0, "2026-11-30")
    assert [row["config"] for row in again["search"]] == [row["config"] for row in as_json(found)["search"]]
    assert "not searched anew: they are the best of the search of 2026-11-30" in (out / "methods-llama.md").read_text()
    earlier.write_text("[]")
    with pytest.raises(BadInput, match=r"is no methods\.json"):
        runs.run(taken)


def test_a_method_that_refuses_leaves_a_row_of_gaps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import revs
    from flows.bench.measure import Subject, method_row
    from flows.bench.rows import Identity
    from revs.config import EraseConfig
    from revs.errors import BadInput

    class Anything:
        def __getattr__(self, name: str) -> Any:
            return []

    def refuse(*_: Any, **__: Any) -> None:
        raise BadInput("one layer only")

    monkeypatch.setattr(revs, "erase", refuse)
    monkeypatch.setattr(revs, "load", lambda _: (None, None))
    subject: Any = Subject.__new__(Subject)
    subject.__dict__.update(case=Anything(), development=Anything(), control=Anything())
    identity = Identity(
        architecture="llama", seed=0, method="revs", config={}, model="", control="", metrics="all", versions={}
    )
    row = method_row(subject, identity, EraseConfig())
    assert (row.scores, row.gaps) == ({}, {"": "the method refused: one layer only"})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "0,x"], "--seeds '0,x' holds what is no whole number"),
        (["--methods", "revs revz"], "method 'revz' is unknown"),
        (["--seeds", "1000"], "seed 1000 is that of the validation model"),
    ],
)
def test_the_command_refuses_in_one_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from flows.cli.app import app
    from revs.errors import BadInput

    done = CliRunner().invoke(app, ["bench", "methods", "--out", str(tmp_path), *arguments])
    assert isinstance(done.exception, BadInput) and words in str(done.exception)


def test_bench_without_a_subcommand_is_what_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from flows import benchmark
    from flows.cli.app import app

    seeds: list[int] = []

    def run(*, seed: int) -> dict[str, Any]:
        seeds.append(seed)
        return {"scores": {"before": {"efficacy": 1.0}}, "seconds": {"edit": 1.0, "forward": 1.0}, "ratio": 1.0}

    monkeypatch.setattr(benchmark, "run", run)
    done = CliRunner().invoke(app, ["bench", "--seed", "4", "--out", str(tmp_path), "--json"])
    assert (done.exit_code, seeds) == (0, [4])
    assert json.loads(done.stdout) == json.loads((tmp_path / "bench.json").read_text())
