"""`revs gate`: the promotion gates on one registered version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.common import Home, Json, console, emit, settings_of, table

if TYPE_CHECKING:
    from infra.gates.policy import GateReport


def gate(
    model_uri: Annotated[str, typer.Argument(help="models:/NAME/3, models:/NAME@alias, or NAME for its champion.")],
    requests: Annotated[str | None, typer.Option(help="Measure anew on the identifiers of this request file.")] = None,
    corpus: Annotated[str | None, typer.Option(help="Training corpus, to measure anew.")] = None,
    held_out: Annotated[str | None, typer.Option(help="Held-out text, to measure anew.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Judge a registered version; exit 3 when a gate refuses or evidence is insufficient.

    By what was recorded when it was made: the stored weights must be, byte for byte, those that were measured, and a
    version that was never measured is refused. With --requests and --corpus any version is attacked anew.
    Who approved it all the same is named, which changes no gate.

    Example: revs gate models:/support-bot/4
    """
    from revs.errors import BadInput

    if (requests is None) != (corpus is None):
        raise BadInput("--requests and --corpus go together: identifiers, and where they stood; give both or neither")
    settings = settings_of(home)
    from tasks.versions.gate import judge_anew, judge_record, refuse_lost_erasures

    if requests is None or corpus is None:
        version, report = judge_record(settings, model_uri)
    else:
        version, report = judge_anew(settings, model_uri, requests=requests, corpus=corpus, held_out=held_out)
    if as_json:
        emit({"model": version.uri, "passed": report.passed, "approved_by": version.approver, **report.to_dict()})
    else:
        show_gates(version.uri, report)
        if version.approver is not None:
            console().print(f"approved, as its tag says, by {version.approver}; this changes no gate")
    report.raise_if_refused()
    refuse_lost_erasures(settings, version)


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
    rows += [{"gate": name, "value": "not measured", "bound": "", "": "? insufficient"} for name in report.insufficient]
    table(f"gates of {title}", rows)
    if report.passed:
        console().print("every gate passed")
