"""A human's promotion: of a candidate that waits, of a version that must come back, of a model trained anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from infra.registry import ModelVersion, Registry
from infra.requests import Batch, RequestStore
from infra.settings import Settings
from revs.errors import BadInput, GateRefused
from tasks.batch.evidence import accepted
from tasks.batch.pages import keep_outcome
from tasks.batch.stage import open_registry, open_store
from tasks.versions.approval import Approver, approved_on_record, approver, required_approver
from tasks.versions.audit import audit_batch
from tasks.versions.lineage import (
    erased_from,
    made_weights,
    missing_erasures,
    require_on_record,
    require_whole_lineage,
    version_made_by,
)
from tasks.versions.served import NEW_ROOT_DECLARED, PROMOTED, REINSTATED, ever_served, last_served, serving


def promote_version(
    settings: Settings, model_uri: str, *, approved_by: str | None, token: str | None = None
) -> dict[str, Any]:
    """Make a registered version champion, and complete the batch that waited for that. Idempotent.

    A version that was champion before is made champion again, whatever version the alias was moved to since. That it
    was, only a tag tells: one that no batch of this installation made needs a human who answers for it.

    Args:
        settings: the installation.
        model_uri: the candidate.
        approved_by: the human who answers for it, needed where evidence is insufficient or no gate judged it here;
            None: whoever approved the candidate over the service, if somebody did.
        token: the secret of the token of who approves; see `tasks.versions.approval`.

    Raises:
        BadInput: no such version, its batch is open, or it was edited for what a human decided against since.
        GateRefused: a gate refused; evidence is insufficient, or no gate judged it here, and nobody approved; who
            approved may not; or the version lacks what a completed batch erased.
        OperationFailed: registry and request store disagree, the stored files changed, or the champion moved meanwhile.
    """
    registry, store = open_registry(settings), open_store(settings)
    by = approver(settings, store, name=approved_by, token=token)
    version = registry.resolve(model_uri)
    registry.require_bytes(version)
    with store.moving_alias(version.name):
        batch = _batch_of(store, version)  # as it is now: another promotion may have come first
        with _held(store, batch):
            by = by or approved_on_record(settings, store, version, batch)
            if by is None and settings.approval == "always":
                raise GateRefused(
                    f"{version.uri} needs a human's approval (REVS_APPROVAL=always): nothing was promoted; run 'revs "
                    f"promote {version.uri} --approved-by NAME'"
                )
            require_on_record(store, version, registry.evidence(version))
            _refuse_what_another_overtook(store, version, batch)
            require_whole_lineage(registry, store, version)
            completed = _make_champion(settings, registry, store, version, batch, by=by)
    if batch is None or not completed:
        return _result(registry, version, batch, report=None)
    report = audit_batch(settings, batch.id, None, read_weights=False)["report"]
    keep_outcome(settings, batch.id, Path(report))
    return _result(registry, version, store.batch(batch.id), report=report)


def _make_champion(
    settings: Settings,
    registry: Registry,
    store: RequestStore,
    version: ModelVersion,
    batch: Batch | None,
    *,
    by: Approver | None,
) -> bool:
    """Move the alias, write that down, and complete the batch that waited; returns whether one did."""
    _require_answered_for(store, version, batch, by=by)
    if batch is not None and batch.status not in ("waiting", "completed"):
        raise GateRefused(
            f"{version.uri} is the candidate of batch {batch.id}, which is {batch.status}: nothing was promoted; "
            "the next batch makes another one"
        )
    name = None if by is None else by.name
    was_champion = version.was_champion or ever_served(store, version)
    if was_champion and (batch is None or batch.status == "completed"):
        registry.reinstate(version, instead_of=serving(registry, store, version.name), approved_by=name)
        _record(store, version, batch, event=REINSTATED, by=by)
        return False
    if batch is not None and batch.status == "waiting":
        _refuse_what_waited_too_long(batch, days=settings.approval_days)
        _refuse_what_was_decided_since(store, batch)
    registry.promote(version, expected_champion=_parent(registry, version), approved_by=name)
    _record(store, version, batch, event=PROMOTED, by=by)
    if batch is None or batch.status != "waiting":
        return False
    evidence = accepted(batch.outcome["evidence"], store.outcomes(batch_id=batch.id), by=name or "revs promote")
    store.accept_batch(batch.id, by=name or "revs promote", outcome={"evidence": evidence})
    return True


def declare_new_root(
    settings: Settings, model_uri: str, *, approved_by: str | None, token: str | None = None
) -> dict[str, Any]:
    """Make a base version champion on a human's word that it was trained without what was erased so far.

    Args:
        settings: the installation.
        model_uri: the version.
        approved_by: the human who answers for it; None: the holder of the token.
        token: as of `promote_version`.

    Raises:
        BadInput: no such version, one that a batch made, or nobody answers for it.
        GateRefused: the data that was erased is known to have been in it, or who answers for it may not.
        OperationFailed: the stored files changed, or the store failed.
    """
    registry, store = open_registry(settings), open_store(settings)
    by = required_approver(settings, store, name=approved_by, token=token)
    version = registry.resolve(model_uri)
    registry.require_bytes(version)
    require_on_record(store, version, registry.evidence(version))
    _refuse_known_holder(store, version)
    with store.moving_alias(version.name):
        supersedes = [batch for batch, _ in missing_erasures(registry, store, version)]
        now = serving(registry, store, version.name)
        registry.declare_root(version, instead_of=now, supersedes=supersedes, approved_by=by.name)
        _record(store, version, None, event=NEW_ROOT_DECLARED, by=by, supersedes=supersedes)
    return _result(registry, version, None, report=None) | {"supersedes": supersedes}


def _refuse_what_waited_too_long(batch: Batch, *, days: int) -> None:
    """Refuse a candidate that was measured so many days ago.

    Raises:
        GateRefused: it was.
    """
    if batch.closed_at is not None and datetime.now(UTC) - batch.closed_at > timedelta(days=days):
        raise GateRefused(
            f"the candidate of batch {batch.id} has waited since {batch.closed_at.date()}, for more than {days} days "
            f"(REVS_APPROVAL_DAYS): nothing was promoted; 'revs batches abandon {batch.id}' puts its requests in line "
            "for the next batch, which makes a new one"
        )


def _refuse_what_another_overtook(store: RequestStore, version: ModelVersion, batch: Batch | None) -> None:
    """Refuse a waiting candidate that was made from another version than the one that serves now.

    Raises:
        GateRefused: it was; it lacks what that version erased, and was never compared with it.
    """
    served = last_served(store, version.name)
    if batch is not None and batch.status == "waiting" and served not in (None, batch.source, version.uri):
        raise GateRefused(
            f"{version.uri} was made from {batch.source}, and {served} was made champion since: nothing was promoted; "
            f"'revs batches abandon {batch.id}' puts its requests in line for the next batch, which starts from the "
            "champion"
        )


def _refuse_what_was_decided_since(store: RequestStore, batch: Batch) -> None:
    """Refuse a candidate that was edited for what a human withdrew, refused or dropped while its batch waited.

    Raises:
        BadInput: there is such a request.
    """
    views = {view.id: view for view in store.list(batch_id=batch.id)}
    for outcome in store.outcomes(batch_id=batch.id):
        view = views[outcome.request_id]
        dropped = any(each["number"] == outcome.number for each in view.dropped)
        if outcome.kind == "edited" and (dropped or view.status in ("withdrawn", "rejected")):
            what = f"identifier {outcome.number} of {view.id}, which was dropped" if dropped else (
                f"what {view.id} asked for, which is {view.status}"
            )  # fmt: skip
            raise BadInput(
                f"the candidate of batch {batch.id} was edited for {what} since: nothing was promoted; 'revs batches "
                f"abandon {batch.id}' puts the others in line for the next batch"
            )


def _require_answered_for(
    store: RequestStore, version: ModelVersion, batch: Batch | None, *, by: Approver | None
) -> None:
    """Raise GateRefused where nothing but tags and an alias says that the version may serve, and nobody answers."""
    judged = batch is not None and version_made_by(batch) == version.version
    if not judged and by is None and last_served(store, version.name) != version.uri:
        raise GateRefused(
            f"no batch of this installation made {version.uri}, so no gate judged it here: nothing was promoted; if it "
            f"may serve again, answer for it with 'revs promote {version.uri} --approved-by NAME'"
        )


def _parent(registry: Registry, version: ModelVersion) -> ModelVersion:
    parent = version.tags.get("revs.parent")
    if parent is None:
        raise BadInput(
            f"{version.uri} is a base version that was never edited and measured here: if it was trained without what "
            f"was erased so far, declare it: 'revs promote {version.uri} --new-root --approved-by NAME'"
        )
    return registry.resolve(f"models:/{version.name}/{parent}")


def _batch_of(store: RequestStore, version: ModelVersion) -> Batch | None:
    """The batch of this store that made the version; None where another installation made it."""
    wanted = version.tags.get("revs.batch_id")
    return next((batch for batch in store.batches(version.name) if batch.id == wanted), None)


def _refuse_known_holder(store: RequestStore, version: ModelVersion) -> None:
    """A model that a batch was made from held what that batch erased, and one that a batch made is no new root."""
    for batch in erased_from(version, store.batches(version.name)):
        raise GateRefused(
            f"{version.uri} is the model from which batch {batch.id} erased data, so it still holds them: nothing "
            "was promoted; give a model that was trained without them"
        )
    for batch in store.batches(version.name):
        made = version_made_by(batch)
        if made != version.version and version.weights is not None and made_weights(batch) == version.weights:
            raise GateRefused(
                f"{version.uri} has the weights that batch {batch.id} made, so it is no model trained anew: nothing "
                f"was promoted; promote models:/{version.name}/{made}"
            )


@contextmanager
def _held(store: RequestStore, batch: Batch | None) -> Iterator[None]:
    """Keep every run from the batch meanwhile; an open batch is its run's.

    Raises:
        BadInput: the batch is open.
    """
    if batch is not None and batch.status == "open":
        raise BadInput(
            f"batch {batch.id} is open, and its own run promotes what it made: resume it with 'revs process --model "
            f"{batch.model}'"
        )
    with ExitStack() as held:
        if batch is not None:
            held.callback(store.hold(batch.id).release)
        yield


def _record(
    store: RequestStore, version: ModelVersion, batch: Batch | None, *, event: str, by: Approver | None, **more: Any
) -> None:
    answered = {"approved_by": None} if by is None else by.detail
    detail = {"version": version.uri} | answered | more
    store.record(event, batch_id=None if batch is None else batch.id, detail=detail)


def _result(registry: Registry, version: ModelVersion, batch: Batch | None, *, report: str | None) -> dict[str, Any]:
    return {
        "model": version.uri,
        "champion": registry.champion(version.name).version,
        "batch_id": None if batch is None else batch.id,
        "status": None if batch is None else batch.status,
        "report": report,
    }
