"""What can be wrong with a registered model: its serving alias, its files, and what they should have forgotten."""

from __future__ import annotations

from collections.abc import Iterator

from infra.registry import ModelVersion, Registry
from infra.registry.records import RETIRED, SUPERSEDED
from infra.requests import RequestStore
from revs.errors import BadInput, OperationFailed
from tasks.versions.guard import moved_alias, promoting
from tasks.versions.lineage import contradictions, lacking, missing_erasures


def problems_of_model(registry: Registry, store: RequestStore, name: str, *, deep: bool) -> Iterator[str]:
    """What is wrong with a model, each with the remedy.

    Args:
        registry: where it is registered.
        store: the installation's request store.
        name: the registered name.
        deep: whether all stored files of the champion are read.
    """
    number, versions = registry.alias(name), registry.versions(name)
    champion = next((version for version in versions if version.version == number), None)
    if champion is None:
        yield _without_champion(name, number, versions)
        return
    if (moved := moved_alias(registry, store, name)) is not None:
        yield moved
    else:
        yield from _unlike_its_tag(champion)
    yield from _erasures(registry, store, champion)
    yield from _files(registry, champion, deep=deep)


def _without_champion(name: str, number: str | None, versions: list[ModelVersion]) -> str:
    what = "there is no champion" if number is None else f"the champion is version {number}, which was deleted"
    if not versions:
        return f"{what} and no version: register the model again with 'revs process --model FOLDER --name {name}'"
    kept = [version for version in versions if version.tags.get("revs.status") != RETIRED] or versions
    best = max(kept, key=lambda version: (version.tags.get("revs.status") == "champion", int(version.version)))
    return f"{what}: no batch can run and nothing is served; make one champion, e.g. with '{promoting(best)}'"


def _unlike_its_tag(champion: ModelVersion) -> Iterator[str]:
    if (status := champion.tags.get("revs.status")) != "champion":
        by = champion.tags.get("revs.superseded_by")
        was = f"superseded by version {by}" if status == SUPERSEDED else "never promoted here"
        back = f"revs promote models:/{champion.name}/{by} --approved-by NAME" if by else promoting(champion)
        yield (
            f"champion is version {champion.version}, which was {was}: the alias was moved by hand; "
            f"set it right with '{back}'"
        )


def _erasures(registry: Registry, store: RequestStore, champion: ModelVersion) -> Iterator[str]:
    if missing := missing_erasures(registry, store, champion):
        yield lacking(champion, missing)
    try:
        denied = contradictions(store, champion, registry.evidence(champion))
    except OperationFailed as error:
        denied = [str(error)]
    if denied:
        yield f"{champion.uri} was changed after it was registered: {'; '.join(denied)}; do not serve it"


def _files(registry: Registry, champion: ModelVersion, *, deep: bool) -> Iterator[str]:
    if missing := registry.missing_files(champion):
        yield (
            f"files of the champion, version {champion.version}, are missing in the store ({', '.join(missing)}): "
            "restore them from a backup, or register the model again"
        )
        return
    try:
        if deep:
            registry.download(champion)
        else:
            registry.verify(champion)
    except (OperationFailed, BadInput) as error:
        yield str(error)
