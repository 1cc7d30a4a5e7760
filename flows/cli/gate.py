"""`revs gate`: the promotion gates on one registered version, for people and for CI systems."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.common import Home, Json, console, emit, settings_of, table

if TYPE_CHECKING:
    from infra.gates.ci import CiFiles
    from infra.gates.policy import GatePolicy, GateReport
    from infra.registry import ModelVersion
    from infra.settings import Settings
    from revs.errors import GateRefused


def gate(
    model_uri: Annotated[
        str | None,
        typer.Argument(help="models:/NAME/3, models:/NAME@alias, or NAME for its champion.", show_default=False),
    ] = None,
    requests: Annotated[str | None, typer.Option(help="Measure anew on the identifiers of this request file.")] = None,
    corpus: Annotated[str | None, typer.Option(help="Training corpus, to measure anew.")] = None,
    held_out: Annotated[
        str | None,
        typer.Option(help="Held-out text, to measure anew; default: the one the version was registered with."),
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="Judge by this policy file; it promotes nothing.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say what each gate guards.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write the verdict as JUnit XML, too.")] = None,
    sarif: Annotated[Path | None, typer.Option(help="Write the verdict as SARIF 2.1.0, too.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Judge a registered version; exit 3 when a gate refuses or evidence is insufficient.

    By what was recorded when it was made: the stored weights must be, byte for byte, those that were measured, and a
    version that was never measured is refused. With --requests and --corpus any version is attacked anew.
    Who approved it all the same is named, which changes no gate. Gates that only warn are shown and refuse nothing.
    The policy is that of --policy, else of REVS_GATE_POLICY, else the shipped one of the method that edited it.

    Example: revs gate models:/support-bot/4 --junit gate.xml
    """
    from infra.gates.ci import CiFiles
    from infra.gates.policy import GatePolicy
    from revs.errors import BadInput

    if (requests is None) != (corpus is None):
        raise BadInput("--requests and --corpus go together: identifiers, and where they stood; give both or neither")
    settings = settings_of(home)
    own = None if policy is None else GatePolicy.read(policy)
    if model_uri is None:
        _without_model(settings, own or GatePolicy.of(settings.method, settings.gate_policy), explain, as_json=as_json)
        return
    files = CiFiles(junit=junit, sarif=sarif, policy_file=policy or settings.gate_policy)
    files.remove()  # of an earlier run: what ends before a verdict leaves none that says "passed"
    version, report, lost = _judged(settings, model_uri, own, files, requests, corpus, held_out)
    if as_json:
        judged = {"model": version.uri, "passed": report.passed and lost is None, "approved_by": version.approver}
        judged |= report.to_dict() | {"lacks": None if lost is None else str(lost)}
        emit(judged | ({"policy": report.policy.to_dict()} if explain else {}))
    else:
        _show(version, report, explain)
    report.raise_if_refused()
    if lost is not None:
        raise lost


def _judged(
    settings: Settings,
    model_uri: str,
    own: GatePolicy | None,
    files: CiFiles,
    requests: str | None,
    corpus: str | None,
    held_out: str | None,
) -> tuple[ModelVersion, GateReport, GateRefused | None]:
    """Judge a version, by its record or by measuring it anew, and write the files that were asked for.

    Returns:
        The version, the verdict of the gates, and how its lineage refuses it, where it does.
    """
    from infra.gates.ci import findings, unmeasured
    from revs.errors import GateRefused
    from tasks.versions.gate import judge_anew, judge_record, refuse_lost_erasures

    try:
        if requests is None or corpus is None:
            version, report = judge_record(settings, model_uri, policy=own)
        else:
            version, report = judge_anew(
                settings, model_uri, requests=requests, corpus=corpus, held_out=held_out, policy=own
            )
    except GateRefused as refused:
        files.write(model_uri, unmeasured(str(refused)))
        raise
    lost = None
    try:
        refuse_lost_erasures(settings, version)
    except GateRefused as refused:
        lost = refused
    files.write(version.uri, findings(report, lost=None if lost is None else str(lost)))
    return version, report, lost


def _without_model(settings: Settings, policy: GatePolicy, explain: bool, *, as_json: bool) -> None:
    from infra.gates.policy import GatePolicy
    from revs.errors import BadInput

    if not explain:
        raise BadInput("no model was named, so nothing is judged: name one, or give --explain to see the gates")
    looser = policy.looser_than(GatePolicy.of(settings.method))
    if as_json:
        emit({"policy": policy.to_dict(), "policy_digest": policy.digest, "looser_than_shipped": looser})
        return
    _explain(policy)
    if looser:
        shipped = f"the policy that is shipped for REVS_METHOD={settings.method}"
        console().print(f"lets more pass than {shipped} in {', '.join(looser)}", soft_wrap=True)


def _explain(policy: GatePolicy) -> None:
    rows = [
        {"gate": gate.metric, "guards": gate.guards, "bound": gate.bound, "need": gate.need, "action": gate.action}
        for gate in policy.gates
    ]
    table(f"gate policy {policy.digest}", rows)


def _show(version: ModelVersion, report: GateReport, explain: bool) -> None:
    if explain:
        _explain(report.policy)
    show_gates(version.uri, report)
    if version.approver is not None:
        console().print(f"approved, as its tag says, by {version.approver}; this changes no gate")


def show_gates(title: str, report: GateReport) -> None:
    rows: list[dict[str, Any]] = [
        {
            "gate": r.name,
            "value": "missing" if r.value is None else f"{r.value:.4g}",
            "bound": r.bound,
            "": verdict_of(r.to_dict()),
        }
        for r in report.results
    ]
    rows += [{"gate": name, "value": "not measured", "bound": "", "": "? insufficient"} for name in report.insufficient]
    table(f"gates of {title}", rows)
    if report.passed:
        warned = f"no gate refused; warned by {', '.join(report.warnings)}"
        console().print(warned if report.warnings else "every gate passed", soft_wrap=True)


def verdict_of(gate: Mapping[str, Any]) -> str:
    """What came of a recorded gate, with a sign before it."""
    if gate["passed"]:
        return "✓"
    return "! warning" if gate.get("action") == "warn" else "✗ refused"
