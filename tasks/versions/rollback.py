"""Takes a champion back: the version that was champion before serves again."""

from __future__ import annotations

from typing import Any

from infra.registry import ModelVersion, Registry
from infra.requests import RequestStore
from infra.settings import Settings
from revs.errors import BadInput, GateRefused
from tasks.batch.stage import open_registry, open_store
from tasks.versions.approval import required_approver
from tasks.versions.lineage import missing_erasures, require_on_record
from tasks.versions.reasons import checked_reason
from tasks.versions.served import ROLLED_BACK, ever_served, last_served


def roll_back(
    settings: Settings, model_uri: str, *, approved_by: str | None, reason: str | None, token: str | None = None
) -> dict[str, Any]:
    """Make the version that the alias `previous` names champion again, in place of the one that `model_uri` names.

    The two change places: what was taken back is `previous` then, and 'revs promote' brings it back. A second call with
    the same number changes nothing.

    Args:
        settings: the installation.
        model_uri: the champion that is taken back; `models:/NAME/3`, so that another one is not.
        approved_by: the human who answers for it; None: the holder of the token.
        reason: why a version serves that still holds what was erased from the model; None: then it is refused.
        token: the secret of the token of who approves; see `tasks.versions.approval`.

    Raises:
        BadInput: no such version, it is not champion, none was champion before it, or the reason is not usable.
        GateRefused: the version before still holds what was erased, and no reason was given; nothing but tags of the
            registry says that it ever was champion; or who answers for it may not.
        OperationFailed: its files or its records are not what was registered, or the store failed.
    """
    why = None if reason is None else checked_reason(reason)
    registry, store = open_registry(settings), open_store(settings)
    by = required_approver(settings, store, name=approved_by, token=token)
    left = registry.resolve(model_uri)
    with store.moving_alias(left.name):
        champion = registry.champion(left.name)
        if _is_done(store, left, champion):
            return _result(champion, left, ())
        before = _version_before(registry, store, left, champion)
        lacks = _require_to_serve(registry, store, before, why)
        registry.reinstate(before, instead_of=left, approved_by=by.name)
        detail = {"version": before.uri, "instead_of": left.uri, **by.detail, "reason": why, "lacks": [*lacks]}
        store.record(ROLLED_BACK, detail=detail)
        return _result(before, left, lacks)


def _is_done(store: RequestStore, left: ModelVersion, champion: ModelVersion) -> bool:
    """Whether the version was taken back already, for the one that serves now."""
    said = [event.detail for event in store.events(event=ROLLED_BACK)]
    rolled_back = any(each["instead_of"] == left.uri and each["version"] == champion.uri for each in said)
    return rolled_back and champion.version != left.version and last_served(store, left.name) == champion.uri


def _version_before(
    registry: Registry, store: RequestStore, left: ModelVersion, champion: ModelVersion
) -> ModelVersion:
    """The version that serves instead of `left`."""
    before = registry.previous(left.name)
    if champion.version != left.version:
        moved = before is not None and before.version in (champion.version, left.version)
        if moved and last_served(store, left.name) == left.uri:  # cut off behind an alias: the log comes last
            return champion
        raise BadInput(
            f"{left.uri} is not the champion of {left.name!r}, version {champion.version} is: nothing was changed"
        )
    if last_served(store, left.name) not in (None, left.uri):
        raise BadInput(
            f"by the audit log {last_served(store, left.name)} serves, and somebody moved the alias to {left.uri}: "
            "nothing was changed; move it back with 'revs reconcile --restore'"
        )
    if before is None or before.version == left.version:
        raise BadInput(
            f"{left.uri} has no version before it to go back to (the alias 'previous' of {left.name!r} names none): "
            "nothing was changed; to make another version champion, run 'revs promote'"
        )
    return before


def _require_to_serve(
    registry: Registry, store: RequestStore, before: ModelVersion, reason: str | None
) -> tuple[str, ...]:
    """The batches whose erasures the version before lacks; they are refused unless somebody says why it must serve."""
    require_on_record(store, before, registry.evidence(before))
    if not ever_served(store, before):
        raise GateRefused(
            f"the audit log does not say that {before.uri} ever served: nothing was changed; make a version champion "
            "with 'revs promote'"
        )
    lacks = tuple(batch for batch, _ in missing_erasures(registry, store, before))
    if lacks and reason is None:
        raise GateRefused(
            f"{before.uri} still holds what was erased by {', '.join(lacks)}: nothing was changed; if it must serve "
            "all the same, say why, for the record: --force --reason TEXT"
        )
    return lacks


def _result(champion: ModelVersion, left: ModelVersion, lacks: tuple[str, ...]) -> dict[str, Any]:
    return {"model": left.name, "champion": champion.version, "previous": left.version, "lacks": [*lacks]}
