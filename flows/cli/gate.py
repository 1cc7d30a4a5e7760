"""`revs gate`: the promotion gates on one registered version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.common import Home, Json, console, emit, settings_of, table

if TYPE_CHECKING:
    from infra.gates import GateReport


def register(app: typer.Typer) -> None:
    app.command()(gate)


def gate(
    model_uri: Annotated[str, typer.Argument(help="models:/NAME/3, models:/NAME@alias, or NAME for its champion.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Judge a registered version by its recorded measurements; exit 3 when a gate refuses.

    The stored weights must be, byte for byte, those that were measured. A version that was never measured is refused.

    Example: revs gate models:/support-bot/4
    """
    from tasks.gating import judge_version

    version, report = judge_version(settings_of(home), model_uri)
    if as_json:
        emit({"model": version.uri, "passed": report.passed, "gates": [result.to_dict() for result in report.results]})
    else:
        show_gates(version.uri, report)
    report.raise_if_refused()


def show_gates(title: str, report: GateReport) -> None:
    rows: list[dict[str, Any]] = [
        {
            "gate": r.name,
            "value": "missing" if r.value is None else f"{r.value:.4g}",
            "bound": r.bound,
            "": "✓" if r.passed else "✗ refused",
        }
        for r in report.results
    ]
    table(f"gates of {title}", rows)
    if report.passed:
        console().print("every gate passed")
