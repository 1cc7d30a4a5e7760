"""The main flow: from waiting deletion requests to a sanitized champion and a report."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow
from prefect.logging import get_run_logger

from flows.shards import over_shards
from infra.batches.records import Targets
from infra.requests import BatchHeld
from infra.running.deployment import is_scheduled, turn
from infra.settings import load_settings
from revs.errors import BadInput
from tasks.batch.endings import ended, ended_without_work, processed
from tasks.batch.inbox import take_from_inbox
from tasks.batch.notify import notify
from tasks.batch.pages import log_requests, name_run, progress_on_page, show_batch
from tasks.batch.results import Ended, OpenedBatch, Processed, Verdict
from tasks.batch.stage import held
from tasks.stages.choose import choose_target_tokens, count_shard, uncounted_shards
from tasks.stages.detect import detect_identifiers
from tasks.stages.edit import edit_weights, strengths
from tasks.stages.locate import locate_occurrences, search_shard, waiting_shards
from tasks.stages.measure import judge, measure
from tasks.stages.probe import probe_memorisation
from tasks.stages.publish import close_batch, promote_candidate, register_candidate, report_batch
from tasks.stages.requests import more_waits, open_batch, validate_requests

__all__ = ["Processed", "process_deletion_requests"]


@flow(name="process-deletion-requests", flow_run_name="{model}", persist_result=False, validate_parameters=False)
def process_deletion_requests(model: str, corpus: str | None = None) -> Processed | None:
    """Process the waiting deletion requests of one registered model; resumes a batch that was cut off.

    A batch that every setting was refused for is split in two halves, and these are processed in the same run.

    Args:
        model: name in the registry; its champion is edited and replaced.
        corpus: its training corpus, where it is not the one on record.

    Returns:
        None when no request waits, or a scheduled run finds another run at work on the model.

    Raises:
        GateRefused: no setting passed the gates, or the evidence is too thin to judge; that batch left the champion as
            it was, and its requests are handed to a human.
        BadInput: nothing of a batch stands in the corpus; its requests are handed to a human.
    """
    with turn(model), progress_on_page(model):
        try:
            return processed(process_waiting(model, corpus))
        finally:
            tell_people()


def process_waiting(model: str, corpus: str | None) -> list[Ended]:
    """Open or resume a batch of a model and process it, and so on while a lot waits or a batch could not take all."""
    take_from_inbox()
    done: list[Ended] = []
    while batch := next_batch(model, corpus, done):
        with held(batch.batch_id):
            log_requests(batch.batch_id)
            done.append(process_batch(batch.batch_id))
        if not more_waits(model):
            break
        tell_people()
    return done


def next_batch(model: str, corpus: str | None, done: Sequence[Ended]) -> OpenedBatch | None:
    """Open or resume a batch, and name the run after it; None where there is nothing to do, or another run does it."""
    try:
        batch: OpenedBatch | None = open_batch(model, corpus)
    except BatchHeld:
        if not done and not is_scheduled():
            raise
        batch, why = None, "another run is at work"
    else:
        why = "no request waits"
    ids = [each.batch.batch_id for each in done] + ([batch.batch_id] if batch else [])
    more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
    name_run(model, ids[0] + more if ids else why, *(f"batch:{id_}" for id_ in ids))
    return batch


def process_batch(batch_id: str) -> Ended:
    """The stages of one batch, in order."""
    try:
        targets = find_targets(batch_id)
    except BadInput as error:
        return ended_without_work(batch_id, error)
    verdict = edit_until_passed(batch_id) if targets.uses["edit"] else None
    if verdict is not None and verdict.registrable:
        register_candidate(batch_id, verdict.attempt)
    if verdict is not None and verdict.promotable:
        promote_candidate(batch_id)
    closed = close_batch(batch_id, verdict)
    report = report_batch(batch_id)
    show_batch(batch_id)
    return ended(closed, verdict, report)


def find_targets(batch_id: str) -> Targets:
    """The stages up to what the model knows of the batch's identifiers."""
    validate_requests(batch_id)
    search_corpus(batch_id)
    locate_occurrences(batch_id)
    detect_identifiers(batch_id)
    targets: Targets = probe_memorisation(batch_id)
    return targets


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


def tell_people() -> None:
    """Send the notices that are due; what goes wrong with that is logged."""
    if problem := notify(load_settings()):
        get_run_logger().warning(problem)
