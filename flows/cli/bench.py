"""`revs bench`: what the edit does and costs on a development model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import Json, console, emit, table


def register(app: typer.Typer) -> None:
    app.command()(bench)


def bench(
    out: Annotated[Path | None, typer.Option(help="Folder for bench.json.")] = None,
    seed: Annotated[int, typer.Option(help="Of the development model and the edit.")] = 0,
    as_json: Json = False,
) -> None:
    """Train a development model, erase half of what it memorised, and compare before, after and a never-trained model.

    Example: revs bench --out bench-out
    """
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
                    f"{result['ratio']:.1f} passes", markup=False)  # fmt: skip
