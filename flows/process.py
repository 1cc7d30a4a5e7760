"""The main flow: from waiting deletion requests to a sanitized champion and a report."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from prefect import flow
from prefect.logging import get_run_logger

from flows.shards import over_shards
from infra.requests import BatchHeld
from infra.running.deployment import is_scheduled, turn
from infra.settings import load_settings
from tasks.batch.inbox import take_from_inbox
from tasks.batch.notify import notify
from tasks.batch.pages import log_requests, name_run, progress_on_page, show_batch
from tasks.batch.results import Closed, Verdict
from tasks.batch.stage import held
from tasks.stages.choose import choose_target_tokens, count_shard, uncounted_shards
from tasks.stages.detect import detect_identifiers
from tasks.stages.edit import edit_weights, strengths
from tasks.stages.locate import locate_occurrences, search_shard, waiting_shards
from tasks.stages.measure import judge, measure
from tasks.stages.probe import probe_memorisation
from tasks.stages.publish import close_batch, promote_candidate, refuse_unfinished, register_candidate, report_batch
from tasks.stages.requests import open_batch, validate_requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Processed(Closed):
    """What the flow did: the batch, how it ended, and where its report is."""

    report: str


@flow(name="process-deletion-requests", flow_run_name="{model}", persist_result=False, validate_parameters=False)
def process_deletion_requests(model: str, corpus: str | None = None) -> Processed | None:
    """Process the waiting deletion requests of one registered model; resumes a batch that was cut off.

    Args:
        model: name in the registry; its champion is edited and replaced.
        corpus: its training corpus, where it is not the one on record.

    Returns:
        None when no request waits, or a scheduled run finds another run at work on the model.

    Raises:
        GateRefused: no setting passed the gates, or the evidence is too thin to judge; the champion stays, the requests
            are handed to a human.
        BadInput: nothing of the batch stands in the corpus; its requests are handed to a human.
    """
    with turn(model), progress_on_page(model):
        try:
            return process_waiting(model, corpus)
        finally:
            if problem := notify(load_settings()):
                get_run_logger().warning(problem)


def process_waiting(model: str, corpus: str | None) -> Processed | None:
    """Open or resume the batch of a model and process it; None where there is nothing to do."""
    take_from_inbox()
    try:
        batch = open_batch(model, corpus)
    except BatchHeld:
        if not is_scheduled():
            raise
        name_run(model, "another run is at work")
        return None
    if batch is None:
        name_run(model, "no request waits")
        return None
    name_run(model, batch.batch_id, f"batch:{batch.batch_id}")
    with held(batch.batch_id):
        log_requests(batch.batch_id)
        return process_batch(batch.batch_id)


def process_batch(batch_id: str) -> Processed:
    """The stages of one batch, in order."""
    validate_requests(batch_id)
    search_corpus(batch_id)
    locate_occurrences(batch_id)
    detect_identifiers(batch_id)
    targets = probe_memorisation(batch_id)
    verdict = edit_until_passed(batch_id) if targets.uses["edit"] else None
    if verdict is not None and verdict.registrable:
        register_candidate(batch_id, verdict.attempt)
    if verdict is not None and verdict.passed:
        promote_candidate(batch_id)
    closed = close_batch(batch_id, verdict)
    report = report_batch(batch_id)
    show_batch(batch_id)
    refuse_unfinished(closed, verdict, report)
    return Processed(**asdict(closed), report=report)


def edit_until_passed(batch_id: str) -> Verdict:
    """Edit, measure and judge with one setting after the other, until no gate refuses or the settings are used up."""
    settings = strengths(load_settings().method)
    count_tokens(batch_id)
    choose_target_tokens(batch_id)
    for attempt, _ in enumerate(settings):
        edit_weights(batch_id, attempt)
        measure(batch_id, attempt)
        verdict: Verdict = judge(batch_id, attempt)
        if verdict.registrable:
            break
    return verdict


def search_corpus(batch_id: str) -> None:
    """Search the shards of a large corpus on several workers; few are searched where they are put together."""
    over_shards("search corpus", search_shard, batch_id, lambda: waiting_shards(batch_id), load_settings())


def count_tokens(batch_id: str) -> None:
    """The same for the tokens of the corpus."""
    over_shards("count tokens", count_shard, batch_id, lambda: uncounted_shards(batch_id), load_settings())
