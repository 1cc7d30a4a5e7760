"""`revs process`: the whole job on a model and corpus of one's own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.common import Home, Json, answer, console, emit, settings_of, showing_stages
from flows.cli.requests import hand_in, refuse_if_nothing_came_in, show_rejected

if TYPE_CHECKING:
    from infra.registry import Registry
    from infra.settings import Settings
    from tasks.batch.results import Processed


def process(
    model: Annotated[str, typer.Option(help="Checkpoint folder, registered name, or models:/ URI of the champion.")],
    requests: Annotated[str | None, typer.Option(help="Request file, JSON Lines or CSV; else what waits.")] = None,
    corpus: Annotated[
        str | None, typer.Option(help="Training corpus: .txt, .jsonl, .parquet, a folder, or an address such as s3://…")
    ] = None,
    held_out: Annotated[str | None, typer.Option(help="Held-out text for the perplexity gate.")] = None,
    name: Annotated[str | None, typer.Option(help="Name to register a folder under; default: the folder's.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Process deletion requests: find, probe, edit, attack, gate, register, promote, report.

    Example: revs process --model ./my-model --requests requests.jsonl --corpus corpus.parquet
    """
    settings = settings_of(home)
    registered = _registered(settings, model, corpus, held_out, name)
    if requests is not None:
        intake = hand_in(settings, requests, registered)
        if not as_json:
            show_rejected(intake)
        refuse_if_nothing_came_in(intake, requests)
    from flows.process import process_deletion_requests

    # Prefect keeps what a flow is called with: a reference, not a path.
    reference = _on_record(settings, corpus) if corpus else None
    with showing_stages(quiet=as_json):
        done = process_deletion_requests(registered, reference)
    if done is None:
        nothing = "no request waits for this model; 'revs requests list' shows all of them"
        answer({"batch_id": None, "status": "nothing to do"}, nothing, as_json=as_json)
    elif as_json:
        emit(asdict(done))
    else:
        show_processed(done)
        if done.handed_on:
            console().print(
                f"{done.completed} requests completed, {done.handed_on} wait for a human: 'revs requests list --status "
                "failed' shows why",
                style="yellow",
            )


def show_processed(done: Processed) -> None:
    """A line for each batch of a run."""
    for batch in done.batches or (done,):
        console().print(f"batch {batch.batch_id} {batch.status}; report: {batch.report}")


def _on_record(settings: Settings, address: str) -> str:
    """The reference under which the request store keeps a path or an address."""
    from infra.corpus import absolute
    from tasks.batch.stage import open_store

    return open_store(settings).keep_address(absolute(address))


def _registered(settings: Settings, model: str, corpus: str | None, held_out: str | None, name: str | None) -> str:
    """The registered name of what the user pointed at; a folder is checked and registered first."""
    from infra.corpus import Corpus
    from infra.registry import open_registry
    from revs.errors import BadInput
    from revs.model.load import check_folder
    from tasks.versions.registering import register_model

    registry = open_registry(settings)
    for path in filter(None, (corpus, held_out)):
        Corpus.open(path)
    if not Path(model).exists():
        version = registry.resolve(model)
        if "champion" not in version.aliases:
            raise BadInput(
                f"{version.uri} is not the champion; a batch edits what is served: give the name {version.name!r}"
            )
        return version.name
    if name is None:
        _refuse_ambiguous(registry, model)
    if corpus is None:
        raise BadInput(f"{model} is a folder, so its training corpus is not on record; name it with --corpus")
    check_folder(model)
    tags = {"held_out": _on_record(settings, held_out)} if held_out else {}
    own_name = name or Path(model).resolve().name
    version = register_model(settings, Path(model), name=own_name, corpus=_on_record(settings, corpus), tags=tags)
    champion = registry.champion(own_name)
    if champion.version != version.version and not version.was_champion:
        raise BadInput(
            f"{model} is registered as {version.uri}, but the champion of {own_name!r} is version {champion.version}: "
            "if it was trained without what was erased so far, run "
            f"'revs promote {version.uri} --new-root --approved-by NAME'; else register it under another --name"
        )
    return own_name


def _refuse_ambiguous(registry: Registry, model: str) -> None:
    """Raise BadInput where a bare name is a folder here and another model in the registry."""
    from revs.errors import BadInput

    bare = Path(model).name == model
    weights = {version.weights for version in registry.versions(model)} if bare else set()
    if weights and _weights_in(Path(model)) not in weights:
        raise BadInput(
            f"{model!r} is a folder here and another model in the registry; write ./{model} for the folder, or "
            f"models:/{model}@champion for the registered one"
        )


def _weights_in(folder: Path) -> str | None:
    """Digest of the weights in a folder; None where it holds no model."""
    from infra.registry.weights import weight_digest
    from revs.errors import BadInput

    try:
        return weight_digest(folder)
    except BadInput:
        return None
