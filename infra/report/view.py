"""What the report holds, section by section, worked out from the record. The template only lays it out."""

from __future__ import annotations

import shlex
from typing import Any

from infra.report.canonical import Record
from infra.report.charts import extraction_chart, rank_chart, rank_series
from infra.report.checks import blocking, checks, promoted
from infra.report.deadlines import Deadline, deadline, parse, summary
from infra.report.figures import Figure, count, is_number, words
from infra.report.metrics import COLUMNS, figure, label, score_groups
from infra.requests.outcomes import plural

_LOOKED = {
    "file": "no file was left where they were stored",
    "s3": "no object, no earlier version of one and no unfinished upload was left where they were stored",
    "listing": "the store lists no file where they were; earlier versions that it may keep were not looked for",
}
VERSION_NAMES = ("revs", "torch", "transformers", "mlflow", "prefect", "datasets", "great_expectations", "python")


def view(record: Record) -> dict[str, Any]:
    """Return everything the template shows of `record`: its sections as they are, and what is worked out from them."""
    data = {"batch": {}, "model": {}} | {name: value for name, value in record.data.items() if value is not None}
    model, batch = data["model"], data["batch"]
    version_after = model.get("version_after") if promoted(data) else None
    rows = [
        deadline(request, closed_at=batch.get("closed_at"), version_after=version_after)
        for request in data.get("requests") or []
    ]
    scores, ranks = data.get("scores") or {}, data.get("ranks") or {}
    own_checks = checks(data)
    return data | {
        "promoted": promoted(data),
        "outcome": _outcome(data),
        "verdict": verdict(data),
        "key_facts": _key_facts(data, rows),
        "still_holds": still_holds(data),
        "contradictions": sum(holds is False for _, holds in own_checks),
        "deadlines": rows,
        "deadline_summary": summary(rows),
        "counts": _counts(rows),
        "gates": [_gate(gate, index, record) for index, gate in enumerate(data.get("gates") or [])],
        "score_columns": [title for _, title in COLUMNS],
        "score_groups": score_groups(scores, record.gaps),
        "rank_chart": rank_chart(ranks),
        "rank_rows": _rank_rows(ranks, record.gaps),
        "rank_columns": [name for _, name, _ in rank_series(ranks)],
        "extraction_chart": extraction_chart(scores, record.gaps),
        "versions": _versions(data.get("versions") or {}),
        "checks": own_checks,
        "gaps": sorted(record.gaps.items()),
        "sha256": record.sha256,
        "commands": _commands(data, record.sha256),
    }


def _outcome(data: dict[str, Any]) -> str:
    """One word for the seal: promoted, refused, split, waiting, failed, closed (nothing edited), open or unfinished."""
    status = data["batch"].get("status")
    if status == "completed":
        return "promoted" if promoted(data) else "closed" if _completed(data) else "open"
    return str(status) if status in ("refused", "split", "failed", "waiting") else "unfinished"


def _completed(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in data.get("requests") or [] if row.get("status") == "completed"]


def _approved(data: dict[str, Any]) -> str:
    """Who answers for a promotion that waited for a human."""
    approval = data.get("approval")
    if not approval:
        return ""
    if missing := "; ".join(label(name) for name in data.get("insufficient") or []):
        return f" {missing} could not be measured; {approval.get('by')} approved the promotion all the same."
    return f" {approval.get('by')} approved the promotion."


def _handed_on(data: dict[str, Any]) -> str:
    """What must stand beside "carried out": the requests that were not."""
    waiting = [row for row in data.get("requests") or [] if row.get("status") == "failed"]
    return f" {plural(len(waiting), 'request')} could not be completed and wait for a human." if waiting else ""


def verdict(data: dict[str, Any]) -> str:
    """The whole report in one sentence."""
    name, before, after = (data["model"].get(key) for key in ("name", "version_before", "version_after"))
    stays = f"version {before} of model {name} stays the champion and was not changed"
    completed = _completed(data)
    outcome = _outcome(data)
    if outcome == "promoted":
        return (
            f"{plural(len(completed), 'deletion request')} carried out on model {name}: version {before} was edited"
            f" into version {after}, which {_reproduces(data)}, passed {_passed(data)} and was promoted."
            f"{_approved(data)}{_handed_on(data)}"
        )
    if outcome == "closed":
        return f"{plural(len(completed), 'deletion request')} closed without an edit: {stays}.{_handed_on(data)}"
    if outcome == "open":
        return f"No request was completed, and each waits for a human, with the reason below: {stays}."
    if outcome == "waiting":
        missing = "; ".join(label(name) for name in data.get("insufficient") or [])
        why = f"Insufficient evidence: {missing} could not be measured." if missing else f"Passed {_passed(data)}."
        return (
            f"{why} Version {after} was made from version"
            f" {before} of model {name} and registered, and waits for a human; version {before} stays the champion"
            " and still holds the data of the open requests."
        )
    if outcome in ("refused", "split"):
        held = f"{stays}, and it still holds the data of the open requests"
        return f"Nothing was promoted, because {_refused_by(data)}: {held}.{_goes_on(data)}"
    happened = "the batch failed before it could be judged" if outcome == "failed" else "the batch is not finished"
    return f"Nothing was promoted, because {happened}: {stays}, and it still holds the data of the open requests."


def _refused_by(data: dict[str, Any]) -> str:
    failed = [label(str(gate.get("name"))) for gate in blocking(data) if gate.get("passed") is not True]
    return f"{plural(len(failed), 'gate')} failed ({'; '.join(failed)})" if failed else "no gate result exists"


def _goes_on(data: dict[str, Any]) -> str:
    """What becomes of the requests of a batch that was split."""
    lots = data["batch"].get("lots") or []
    if not lots:
        return ""
    named = " and ".join(", ".join(map(str, lot)) for lot in lots)
    return (
        " Those that the edit was for are tried again in smaller batches, so that what breaks the gates is found and "
        f"the others are done: {named}."
    )


def _reproduces(data: dict[str, Any]) -> str:
    targets = data.get("targets") or {}
    before, after = targets.get("memorised_before"), targets.get("memorised_after")
    if not is_number(before) or not is_number(after):
        return "has no recorded count of what it still reproduces"
    return f"reproduces {'none' if after == 0 else format(after, ',')} of the {before:,} memorised targets"


def _passed(data: dict[str, Any]) -> str:
    gates = blocking(data)
    passed = sum(gate.get("passed") is True for gate in gates)
    if gates and passed == len(gates):
        return f"{'every gate' if passed > 1 else 'its one gate'}{_warned(data)}"
    return f"{passed} of {plural(len(gates), 'gate')}"


def _warned(data: dict[str, Any]) -> str:
    """The gates that only warn and did not pass, in a bracket."""
    gates = (gate for gate in data.get("gates") or [] if gate.get("action") == "warn")
    names = [label(str(gate.get("name"))) for gate in gates if gate.get("passed") is not True]
    return f" ({plural(len(names), 'warning')}: {'; '.join(names)})" if names else ""


def still_holds(data: dict[str, Any]) -> str:
    """Where the data still is, and until when."""
    model = data["model"]
    if not promoted(data):
        return (
            f"Version {model.get('version_before')} is unchanged, serves on, and holds the data until a batch succeeds."
        )
    before, until = model.get("version_before"), parse(model.get("retire_on"))
    if (gone := _gone(model)) is not None:
        return (
            f"The superseded version {before} no longer serves. Its stored bytes were deleted, and on {gone} their "
            f"absence was verified: {_LOOKED.get(model['retired'].get('looked'), 'it is not recorded how')}."
        )
    old = f"The superseded version {before} no longer serves, but its stored bytes still hold the data"
    if until:
        return (
            f"{old} until somebody deletes them. Their retention period ends on {until.isoformat()}; this record does"
            " not say that they were deleted, and until they are, erasure is not complete."
        )
    return f"{old}, and no date is recorded by which they must be deleted."


def _key_facts(data: dict[str, Any], rows: list[Deadline]) -> list[tuple[str, str]]:
    model, targets, gates = data["model"], data.get("targets") or {}, data.get("gates") or []
    statuses = [row.get("status") for row in data.get("requests") or []]
    before, after = targets.get("memorised_before"), targets.get("memorised_after")
    passed = sum(gate.get("passed") is True for gate in gates)
    late = sum(row.late is True for row in rows)
    facts = [
        ("Model version", f"{model.get('version_before')} → {model.get('version_after')}")
        if promoted(data)
        else ("Model version", f"{model.get('version_before')}, unchanged"),
        ("Requests completed", f"{statuses.count('completed'):,} of {len(statuses):,}"),
        ("Past the due date", f"{late:,} of {len(rows):,}" if late else "none"),
        ("Memorised targets", f"{count(before).text} → {count(after).text}" if promoted(data) else count(before).text),
        ("Gates passed", f"{passed} of {len(gates)}" if gates else "none ran"),
    ]
    if promoted(data):
        until = parse(model.get("retire_on"))
        later = ("Old bytes to be deleted on or after", until.isoformat() if until else "no date")
        gone = _gone(model)
        facts.append(later if gone is None else ("Old bytes deleted, absence verified", gone))
    return facts


def _gone(model: dict[str, Any]) -> str | None:
    """The day on which the bytes of the superseded version were found to be gone, by the log; None before that."""
    day = parse((model.get("retired") or {}).get("on"))
    return None if day is None else day.isoformat()


def _counts(rows: list[Deadline]) -> str:
    statuses = [row.status for row in rows]
    return ", ".join(f"{statuses.count(status):,} {status}" for status in sorted(set(statuses)))


def _gate(gate: dict[str, Any], index: int, record: Record) -> dict[str, Any]:
    name = str(gate.get("name"))
    return {
        "name": name,
        "label": label(name),
        "guards": ((record.data.get("policy") or {}).get(name) or {}).get("guards"),
        "value": figure(gate.get("value"), record.gaps.get(f"/gates/{index}/value")),
        "bound": words(gate.get("bound")),
        "passed": gate.get("passed") is True,
        "warns": gate.get("action") == "warn",
    }


def _rank_rows(ranks: dict[str, Any], gaps: dict[str, str]) -> list[tuple[Any, list[Figure]]]:
    columns = {key: dict(enumerate(ranks.get(key) or [])) for _, _, key in rank_series(ranks)}
    return [
        (layer, [figure(values.get(index), gaps.get(f"/ranks/{key}/{index}")) for key, values in columns.items()])
        for index, layer in enumerate(ranks.get("layers") or [])
    ]


def _versions(versions: dict[str, Any]) -> list[tuple[str, Any]]:
    names = [name for name in VERSION_NAMES if name in versions] + sorted(versions.keys() - set(VERSION_NAMES))
    return [(name, versions[name]) for name in names]


def _commands(data: dict[str, Any], sha256: str) -> dict[str, str]:
    """Commands to copy; every value from the record is quoted for a shell."""
    model = data["model"]
    uri = model.get("uri_after") or model.get("uri_before")
    return {
        "digest": f"echo '{sha256}  report.json' | sha256sum --check",
        "audit": f"revs audit {shlex.quote(str(data['batch'].get('id')))}",
        "gate": f"revs gate {shlex.quote(str(uri))}" if uri else "",
        "code": f"git show {shlex.quote(str(data['code_commit']))}" if data.get("code_commit") else "",
    }
