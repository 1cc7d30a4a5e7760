"""`revs bench`: what the edit does and costs on a development model; `revs bench methods`: every method beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.common import Json, Stages, console, emit, model_cache, table

app = typer.Typer(help="Benchmarks on development models.", invoke_without_command=True)


@app.callback()
def bench(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Folder for bench.json.")] = None,
    seed: Annotated[int, typer.Option(help="Of the development model and the edit.")] = 0,
    as_json: Json = False,
) -> None:
    """Train a development model, erase half of what it memorised, and compare before, after and a never-trained model.

    Example: revs bench --out bench-out
    """
    if context.invoked_subcommand is not None:
        return
    import json

    from flows.benchmark import run

    result = run(seed=seed)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "bench.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    if as_json:
        emit(result)
        return
    scores = result["scores"]
    names = list(scores["before"])
    table(
        "scores of the edit on a development model",
        [{"metric": n, **{who: f"{scores[who][n]:.1f}" if n in scores[who] else "" for who in scores}} for n in names],
    )
    console().print(f"edit {result['seconds']['edit']:.1f} s, one forward pass {result['seconds']['forward']:.2f} s: "
                    f"{result['ratio']:.1f} passes")  # fmt: skip


def _listed(values: list[str]) -> list[str]:
    """Values of an option that may be repeated, or hold several with commas or spaces between."""
    return [part for value in values for part in value.replace(",", " ").split()]


def _numbers(values: list[str]) -> list[int]:
    from revs.errors import BadInput

    try:
        return [int(value) for value in _listed(values)]
    except ValueError:
        raise BadInput(f"--seeds {' '.join(values)!r} holds what is no whole number; example: --seeds 0,1,2") from None


@app.command()
def methods(
    out: Annotated[Path, typer.Option(help="Folder for the rows, tables and plots.")] = Path("bench-out"),
    quick: Annotated[bool, typer.Option("--quick", help="One seed, Llama, no search, few attacks: minutes.")] = False,
    seeds: Annotated[list[str] | None, typer.Option(help="As 0,1,2.", show_default="0,1,2")] = None,
    architectures: Annotated[list[str] | None, typer.Option(help="As llama,gptj.", show_default="llama,gptj")] = None,
    methods: Annotated[list[str] | None, typer.Option(help="As revs,memit.", show_default="all")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of trained models; default: the user's cache.")] = None,
    settings: Annotated[Path | None, typer.Option(help="methods.json whose search decides the settings.")] = None,
    date: Annotated[str | None, typer.Option(help="As it shall stand in the results; default: today.")] = None,
    as_json: Json = False,
) -> None:
    """Compare every method on development models: the paper's tables, attacks, controls and plots.

    A run that was cut off is taken up where it stopped: what the folder holds is not measured again. After a change of
    the code take another folder.

    Example: revs bench methods --quick --out bench-out
    """
    import datetime

    from transformers.utils.logging import disable_progress_bar

    import revs
    from flows.bench.plan import ARCHITECTURES, Plan
    from flows.bench.run import run

    disable_progress_bar()  # of each of the many models that are loaded
    plan = Plan(
        out=out,
        cache=model_cache(cache),
        architectures=_listed(architectures or []) or ARCHITECTURES[: 1 if quick else None],
        seeds=_numbers(seeds or []) or ((0,) if quick else (0, 1, 2)),
        methods=_listed(methods or []) or tuple(revs.METHODS),
        quick=quick,
        settings_of=settings,
        date=date or datetime.date.today().isoformat(),
    )
    if as_json:
        emit(run(plan))
        return
    with Stages() as shown:
        result = run(plan, shown)
    _show(plan.out, plan.architectures, result)


def _show(out: Path, architectures: Any, result: dict[str, Any]) -> None:
    names = ("unlearning_score", "efficacy", "generality", "specificity", "resistance_score", "perplexity_ratio")
    table(
        "methods",
        [
            {
                "model": f"{row['architecture']}, seed {row['seed']}",
                "method": row["method"],
                **{n.replace("_", " "): f"{row['scores'][n]:.3g}" if n in row["scores"] else "–" for n in names},
            }
            for row in result["rows"]
        ],
    )
    console().print(f"{result['computed']} rows measured now; tables: "
                    + ", ".join(str(out / f"methods-{name}.md") for name in architectures))  # fmt: skip
