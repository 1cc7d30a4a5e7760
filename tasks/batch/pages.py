"""What a stranger sees of a batch in Prefect: the run's name and tags, its log, and the artifacts of its page.

Prefect keeps all of it in plain text, so it holds ids, counts, numbers and verdicts and nothing else. None of it is
needed: where a run has no page, or the server does not take it, the batch goes on.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import copy_context
from pathlib import Path
from threading import Thread
from typing import Any, cast
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.utilities.urls import url_for

from infra.running.children import public
from infra.running.deployment import shared_server
from infra.running.progress import listening
from infra.settings import Settings, load_settings
from revs.errors import OperationFailed
from tasks.batch.stage import open_registry, open_store, run_log
from tasks.versions.served import REPORTED

_SECONDS_BETWEEN = 5.0  # two updates of a progress artifact
_PATIENCE_SECONDS = 10.0  # with a server that takes a connection and does not answer
_LISTED = 20  # requests that wait for a human
_ENDS = {
    "completed": "Every gate passed; the champion alias was moved.",
    "waiting": "The candidate is registered and waits for a human, the champion stays.",
    "refused": "A gate refused; the champion stays, and the requests wait for a human.",
    "split": "A gate refused; the champion stays, and the requests are tried again in two smaller batches.",
    "abandoned": "The batch was given up.",
}


def flow_run() -> FlowRun | None:
    """The run of the flow that this is called in; None outside of one."""
    context = FlowRunContext.get()
    return None if context is None else context.flow_run


def run_reference() -> dict[str, str]:
    """Id of this flow run and, on a server that outlives it, the address of its page; empty outside of a run."""
    run = flow_run()
    if run is None:
        return {}
    page = url_for("flow-run", obj_id=run.id) if shared_server() else None
    return {"id": str(run.id)} | ({"page": public(page)} if page else {})


def name_run(model: str, what: str, *tags: str) -> None:
    """Name this run after the model and what it turned out to do, and tag it with the model."""
    run = flow_run()
    if run is None:
        return
    name, wanted = f"{model}: {what}", list(dict.fromkeys([*run.tags, "revs", f"model:{model}", *tags]))

    def rename() -> None:
        get_client(sync_client=True).update_flow_run(run.id, name=name, tags=wanted)

    _show("the name of this run", rename)


def log_requests(batch_id: str) -> None:
    """Write the ids of a batch's requests to the run's log, each with its status and, where it has one, the reason."""

    def log() -> None:
        for view in open_store(load_settings()).list(batch_id=batch_id):
            reason = f": {view.reason}" if view.reason else ""
            run_log().info("%s: request %s: %s%s", batch_id, view.id, view.status, reason)

    _show("the requests of this batch", log)


def show_batch(batch_id: str) -> None:
    """Put the outcome of a closed batch on the page of this run: summary, gates, and a link to the report."""
    _show("the page of this run", lambda: _show_batch(batch_id))


def _show_batch(batch_id: str) -> None:
    settings = load_settings()
    log_requests(batch_id)
    evidence = open_store(settings).batch(batch_id).outcome.get("evidence")
    if evidence is None:
        return
    model = str(evidence["model"]["name"])
    links = _links(settings, evidence["model"]["uri_after"])
    create_markdown_artifact(summary(evidence, links), _key(model, "batch"), f"Batch {batch_id} of {model}")
    if evidence["gates"]:
        create_table_artifact(_gates(evidence), _key(model, "gates"), f"Gates of batch {batch_id}")
    create_link_artifact(links["Report"], f"Report of batch {batch_id}", _key(model, "report"))


def show_expectations(model: str) -> Callable[[Mapping[str, Any]], None]:
    """What puts the counts of a suite of expectations, rule by rule and without values, on the page of this run."""

    def show(found: Mapping[str, Any]) -> None:
        rules, suite = list(found["rules"]), found["suite"]
        key, title = _key(model, f"expectations-{suite}"), f"Expectations on {suite}"
        if rules:
            _show("the counts of expectations", lambda: create_table_artifact(rules, key, title))

    return show


def keep_outcome(settings: Settings, batch_id: str, report: Path) -> None:
    """Store the report and the final status of a batch with the MLflow run of the version that it made, if any."""
    store = open_store(settings)
    evidence = store.batch(batch_id).outcome.get("evidence")
    if evidence is None or (uri := evidence["model"]["uri_after"]) is None:
        return
    status = {"batch": evidence["batch"], "intake": evidence["intake"], "approval": evidence.get("approval")}
    registry = open_registry(settings)
    try:
        documents = {name: report.with_name(name).read_bytes() for name in ("report.html", "report.json")}
        documents["status.json"] = json.dumps(status, indent=1, sort_keys=True).encode()
        digest = registry.attach_report(registry.resolve(uri), documents)
        store.record(REPORTED, batch_id=batch_id, detail={"version": uri, "list": digest})
    except (OSError, OperationFailed) as error:  # the batch is done all the same; this is a copy
        run_log().warning("%s: its report could not be kept with its MLflow run: %s", batch_id, type(error).__name__)


def summary(evidence: Mapping[str, Any], links: Mapping[str, str]) -> str:
    """The outcome of a batch as Markdown; `links` are shown by their names."""
    batch, model, intake, targets = (evidence[part] for part in ("batch", "model", "intake", "targets"))
    status = str(batch["status"])
    rows = {
        "Requests": _counted(intake),
        "Identifiers": _counted(Counter(o["kind"] for r in evidence["requests"] for o in r.get("outcomes", ()))),
        "Contexts": f"{targets['found']} found, {targets['memorised_before']} memorised before, "
        f"{_known(targets['memorised_after'])} after",
        "Part of": f"batch {batch['parent']}, which was refused" if batch.get("parent") else "",
        "Version": f"{model['name']} {model['version_before']} → {model['version_after'] or 'none'}",
        "Gates": _verdict(evidence),
        "Settings tried": str(len(evidence["attempts"])),
        "Time": f"{evidence['seconds']['total']:.0f} s, {evidence['seconds']['edit']:.0f} s of it the edit",
        **{name: f"[{address}]({address})" if "://" in address else f"`{address}`" for name, address in links.items()},
    }
    lines = [f"# {model['name']}: batch {batch['id']} {status}", "", _end(evidence), "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows.items() if value]
    return "\n".join([*lines, *_waiting(evidence["requests"])]) + "\n"


class ProgressPage:
    """A listener that keeps one progress artifact a stage; see `infra.running.progress.Listener`.

    Args:
        model: whose batch it is, for the artifacts' key.
        clock: the time in seconds.
    """

    def __init__(self, model: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._model, self._clock = model, clock
        self._artifact: UUID | None = None
        self._stage = ""
        self._told = 0.0
        self._answered = True

    def __call__(self, stage: str, done: int, total: int, what: str) -> None:
        if stage != self._stage:
            self._stage, self._artifact = stage, None
        ended = done == total == 1
        if not self._answered or not total or (ended and self._artifact is None):
            return
        if not ended and self._artifact is not None and self._clock() - self._told < _SECONDS_BETWEEN:
            return
        percent, text = 100 * done / total, f"{stage}: {what}" if what else stage
        self._answered = _show("the progress of this run", lambda: self._tell(percent, text))
        self._told = self._clock()

    def _tell(self, percent: float, text: str) -> None:
        if self._artifact is None:
            self._artifact = cast(UUID, create_progress_artifact(percent, _key(self._model, "progress"), text))
        else:
            update_progress_artifact(self._artifact, percent, text)


def progress_on_page(model: str) -> AbstractContextManager[None]:
    """While open, long stages show on the run's page how far they are."""
    return listening(ProgressPage(model))


def _key(model: str, what: str) -> str:
    """Small letters, digits and hyphens: all that Prefect allows; with a digest where that is not the model's name."""
    name = re.sub("[^a-z0-9]+", "-", model.lower()).strip("-")
    own = "" if name == model else f"-{hashlib.sha256(model.encode()).hexdigest()[:8]}"
    return f"{name}{own}-{what}"


def _gates(evidence: Mapping[str, Any]) -> list[dict[str, Any]]:
    missing = [
        {"name": name, "value": None, "bound": "", "passed": None} for name in evidence.get("insufficient") or ()
    ]
    shown = [{**gate, "value": _known(gate["value"])} for gate in [*evidence["gates"], *missing]]
    return [{**gate, "passed": "warning"} if _warns(gate) else gate for gate in shown]


def _warns(gate: Mapping[str, Any]) -> bool:
    """Whether it did not pass, and its policy only warns of that."""
    return gate["passed"] is False and gate.get("action") == "warn"


def _end(evidence: Mapping[str, Any]) -> str:
    status = str(evidence["batch"]["status"])
    if status == "completed" and not evidence["gates"]:
        return "Nothing had to be edited; the champion stays."
    if approval := evidence.get("approval"):
        thin = ", on insufficient evidence" if evidence.get("insufficient") else ""
        return f"{approval['by']} promoted the candidate on {approval['at']}{thin}."
    return _ENDS.get(status, "")


def _verdict(evidence: Mapping[str, Any]) -> str:
    gates, missing = evidence["gates"], evidence.get("insufficient") or ()
    if not gates:
        return ""
    failed = [gate["name"] for gate in gates if not gate["passed"] and not _warns(gate)]
    warned = [gate["name"] for gate in gates if _warns(gate)]
    verdict = "refused" if failed else "insufficient evidence" if missing else "passed"
    text = f"**{verdict}**: {len(gates) - len(failed) - len(warned)} of {len(gates)} passed"
    for what, names in (("refused by", failed), ("not measured:", missing), ("warned by", warned)):
        text += f"; {what} {', '.join(names)}" if names else ""
    return text


def _waiting(requests: Sequence[Mapping[str, Any]]) -> list[str]:
    waiting = [request for request in requests if request["status"] == "failed"]
    if not waiting:
        return []
    lines = [f"- `{request['id']}`: {request['reason'] or 'no reason on record'}" for request in waiting[:_LISTED]]
    more = [f"- and {len(waiting) - _LISTED} more: `revs requests list --status failed`"] * (len(waiting) > _LISTED)
    return ["", "## Waiting for a human", "", *lines, *more]


def _counted(counts: Mapping[str, int]) -> str:
    words = {"failed": "waiting for a human", "duplicates": "duplicate"}
    return ", ".join(f"{count} {words.get(name, name.replace('_', ' '))}" for name, count in counts.items() if count)


def _known(value: Any) -> str:
    return "not measured" if value is None else f"{value:g}"


def _links(settings: Settings, uri: str | None) -> dict[str, str]:
    """Where the report and the MLflow run are: pages of the MLflow server where one is known, else name and id."""
    if uri is None:
        return {"Report": "report.html"}
    registry, server = open_registry(settings), settings.mlflow_ui or settings.tracking_uri
    version = registry.resolve(uri)
    if not server.startswith(("http://", "https://")):
        return {"Report": "report.html", "MLflow run": version.run_id}
    page = f"{public(server).rstrip('/')}/{registry.run_page(version)}"
    return {"Report": f"{page}/artifacts/report.html", "MLflow run": page}


def _show(what: str, work: Callable[[], object]) -> bool:
    """Do `work` for the page of this run, and go on without what its server does not take; whether it ended in time."""
    if flow_run() is None:
        return True

    def show() -> None:
        try:
            work()
        except Exception as error:
            run_log().warning("%s could not be shown: %s", what, type(error).__name__)

    helper = Thread(target=copy_context().run, args=(show,), daemon=True)  # nothing else ends a read from a server
    helper.start()
    helper.join(_PATIENCE_SECONDS)
    if helper.is_alive():
        run_log().warning("%s could not be shown: no answer within %g s", what, _PATIENCE_SECONDS)
    return not helper.is_alive()
