"""Turning a checkpoint folder into a registered version: all of it, or nothing.

The version is created last, when the run, its files and their digest are complete: whatever a crash leaves before that
is a run that no version points to, found again by its key and removed.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.permissions import owner_only
from infra.registry import describing
from infra.registry.checkpoint import WEIGHTS_FOLDER, describe
from infra.registry.files import shown, stored_digests
from infra.registry.records import CORPUS, DATASET_DIGEST, KEY
from infra.registry.service import is_server, local_path
from revs.errors import OperationFailed

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, LoggedModel

EXPERIMENT = "revs"
_PARAMS_AT_ONCE = 100  # MLflow's limit
_DATASET_DIGEST_LENGTH = 36  # MLflow's limit; the whole digest is in the input's tag


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Everything that one version is made of. Values are safe to store: ids, digests, numbers."""

    name: str
    key: str  # identity: publishing the same key twice must not happen
    run_name: str
    files: tuple[Path, ...]
    weights: str  # digest of the weights among `files`
    weight_files: Mapping[str, str]  # SHA-256 of each of the files that hold them
    beside: Mapping[str, str]  # SHA-256 of each of the other `files`
    tags: Mapping[str, str]  # of the version
    description: str = describing.BASE  # Markdown, of the version and of the run
    run_tags: Mapping[str, str] = field(default_factory=dict)
    older_key: str | None = None  # identity as versions had it before the files beside the weights were part of it
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    datasets: tuple[Mapping[str, Any], ...] = ()  # name, role, rows, digest, reference
    documents: Mapping[str, bytes] = field(default_factory=dict)  # file name → content
    origin: Mapping[str, Any] = field(default_factory=dict)  # what is signed of its making: provenance.origin()

    @property
    def all_tags(self) -> dict[str, str]:
        """The tags with which the version is created."""
        return {KEY: self.key, **self.tags}


Sign = Callable[[Publication, str, Mapping[str, str]], Mapping[str, bytes]]
"""Gives the signed documents of a publication, the id of its run, and the digests of its files by path."""


@owner_only()
def publish(client: MlflowClient, artifact_uri: str | None, publication: Publication, sign: Sign | None = None) -> str:
    """Register a checkpoint as a new version, signed by `sign` where it is given, and return the version's number.

    Raises:
        OperationFailed: the disk is too full, or the stored bytes are not those that were handed in.
        OSError, MlflowException: the store failed. In every case nothing is left behind, unless removing it failed too.
    """
    experiment_id = _experiment_id(client, artifact_uri)
    tags = {KEY: publication.key, "mlflow.note.content": publication.description, **publication.run_tags}
    run = client.create_run(experiment_id, run_name=publication.run_name, tags=tags)
    run_id = run.info.run_id
    try:
        _require_space(run.info.artifact_uri, publication.files)
        model = client.create_logged_model(experiment_id, source_run_id=run_id, tags={KEY: publication.key})
        _record(client, run_id, model.model_id, publication)
        _store(client, run_id, model, publication, sign)
        client.set_terminated(run_id, "FINISHED")
        return _create_version(client, run_id, model, publication)
    except BaseException:
        with suppress(Exception):  # the failure that led here is the one to report; leftovers are found by key later
            _discard(client, run_id)
        raise


def discard_unfinished(client: MlflowClient, key: str) -> None:
    """Remove what earlier, killed attempts to publish `key` left behind. Call it only when no version has that key."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return
    for run in client.search_runs([experiment.experiment_id], f"tags.`{KEY}` = '{key}'"):
        _discard(client, run.info.run_id)


def _discard(client: MlflowClient, run_id: str) -> None:
    """Remove a run with its files. The bytes go first, so that a second call finds what a killed one left."""
    if client.search_model_versions(f"run_id = '{run_id}'"):
        return  # a version stands on it: interrupted after the last step, or copied under another name
    run = client.get_run(run_id)
    for model in client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'"):
        _delete_files(model.artifact_location, client.tracking_uri)
        client.delete_logged_model(model.model_id)
    _delete_files(run.info.artifact_uri, client.tracking_uri)
    client.delete_run(run_id)


def attach(client: MlflowClient, run_id: str, documents: Mapping[str, bytes]) -> None:
    """Store documents as artifacts of a run, by their file names; one that is there is replaced."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    # Not client.log_artifact: it remembers for the whole process where a run's files lie, also those of a copied home.
    place = get_artifact_repository(client.get_run(run_id).info.artifact_uri, tracking_uri=client.tracking_uri)
    with tempfile.TemporaryDirectory(prefix="revs-documents-") as scratch:
        for file_name, content in documents.items():
            (Path(scratch) / file_name).write_bytes(content)
            place.log_artifact(str(Path(scratch) / file_name))


def fetch(uri: str, tracking_uri: str, into: Path | None = None) -> Path:
    """Local path of stored files: the files themselves where they are local and `into` is None, else a copy."""
    from mlflow.artifacts import download_artifacts

    if into is not None:
        into.mkdir(parents=True, exist_ok=True)
    return Path(download_artifacts(artifact_uri=uri, dst_path=str(into) if into else None, tracking_uri=tracking_uri))


def _experiment_id(client: MlflowClient, artifact_uri: str | None) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        with suppress(MlflowException):  # another process made it meanwhile; if not, the next line says so
            client.create_experiment(EXPERIMENT, artifact_location=artifact_uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None or experiment.lifecycle_stage != "active":
        raise OperationFailed(f"MLflow experiment {EXPERIMENT!r} cannot be used: restore it if it was deleted")
    _require_shared(client.tracking_uri, experiment.artifact_location, artifact_uri)
    return str(experiment.experiment_id)


def _require_shared(tracking_uri: str, location: str, artifact_uri: str | None) -> None:
    """Refuse a folder of whoever calls as the place of a server's files, unless the settings name it as shared."""
    place, shared = local_path(location), local_path(artifact_uri)
    if place is None or not is_server(tracking_uri) or (shared is not None and place.is_relative_to(shared)):
        return
    raise OperationFailed(
        f"the MLflow server keeps the files of experiment {EXPERIMENT!r} at {location}, where every client looks on "
        "its own disk: start the server with --artifacts-destination and rename the experiment, or, if all machines "
        "share that folder, name it in REVS_ARTIFACT_ROOT"
    )


def _require_space(artifact_uri: str, files: Iterable[Path]) -> None:
    place = local_path(artifact_uri)
    if place is None:
        return
    while not place.exists():
        place = place.parent
    needed, free = sum(path.stat().st_size for path in files), shutil.disk_usage(place).free
    if free < needed:
        raise OperationFailed(
            f"no space left to register: {needed / 1e6:.1f} MB needed, {free / 1e6:.1f} MB free at {place}; "
            "no version was made and the champion is untouched: free space, then run again"
        )


def _record(client: MlflowClient, run_id: str, model_id: str, publication: Publication) -> None:
    """Parameters, metrics and inputs of the run; the metrics also on the stored model."""
    from mlflow.entities import LoggedModelOutput, Metric, Param

    if publication.datasets:
        client.log_inputs(run_id, datasets=[_dataset_input(entry) for entry in publication.datasets])
    now_ms = time.time_ns() // 1_000_000
    metrics = [
        Metric(name, value, now_ms, 0, model_id=model_id, **_measured_on(name, publication.datasets))
        for name, value in publication.metrics.items()
    ]
    params = [Param(name, value) for name, value in publication.params.items()]
    client.log_batch(run_id, metrics=metrics)
    for start in range(0, len(params), _PARAMS_AT_ONCE):
        client.log_batch(run_id, params=params[start : start + _PARAMS_AT_ONCE])
    client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])


def _measured_on(metric: str, datasets: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The data set behind a metric, as MLflow links them: text for the perplexity, the corpus for all others."""
    of_text = "perplexity" in metric
    for entry in datasets:
        if (entry.get("role") != CORPUS) is of_text:
            return {"dataset_name": str(entry["name"]), "dataset_digest": _short(str(entry["digest"]))}
    return {}


def _short(digest: str) -> str:
    return digest.rpartition(":")[2][:_DATASET_DIGEST_LENGTH]


def _dataset_input(entry: Mapping[str, Any]) -> DatasetInput:
    """A dataset by name and our own digest: MLflow's covers only the beginning of the rows."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    digest, role = str(entry["digest"]), str(entry.get("role", "text"))
    dataset = Dataset(
        name=str(entry["name"]),
        digest=_short(digest),
        source_type="code",
        source=describing.dataset_source(entry),
        profile=f'{{"num_rows": {int(entry["rows"])}}}' if "rows" in entry else None,
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", role), InputTag(DATASET_DIGEST, digest)])


def _store(client: MlflowClient, run_id: str, model: LoggedModel, publication: Publication, sign: Sign | None) -> None:
    """Upload files and documents, and read back that what is stored is what was meant, and signed."""
    with tempfile.TemporaryDirectory(prefix="revs-register-") as scratch:
        folder = Path(scratch)
        built = describe(publication.files, folder, name=publication.name, run_id=run_id, model_id=model.model_id)
        card = describing.card(publication.name, publication.description)
        (built / "model_card.md").write_text(card, encoding="utf-8")
        meant = stored_digests(built, {f"{WEIGHTS_FOLDER}/{name}": d for name, d in publication.weight_files.items()})
        signed = sign(publication, run_id, meant) if sign is not None else {}
        client.log_model_artifacts(model.model_id, str(built))
        attach(client, run_id, {**publication.documents, **signed})
        copy = None if local_path(model.artifact_location) else folder / "stored"
        stored = fetch(model.artifact_location, client.tracking_uri, copy)
        found = stored_digests(stored, {})
        if differing := sorted(name for name in meant.keys() | found.keys() if meant.get(name) != found.get(name)):
            raise OperationFailed(
                f"the stored {shown(differing)} of {publication.name!r} differ from those handed in; no version was "
                "made and the champion is untouched: check the disk, let nothing write to the folder, then run again"
            )
    client.finalize_logged_model(model.model_id, "READY")


def _create_version(client: MlflowClient, run_id: str, model: LoggedModel, publication: Publication) -> str:
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):  # it exists already; if it could not be made, the next call says why
        client.create_registered_model(publication.name, description=describing.MODEL)
    version = client.create_model_version(
        publication.name,
        source=model.artifact_location,  # "models:/m-…" would be looked up at the process-wide tracking URI
        run_id=run_id,
        tags=publication.all_tags,
        description=publication.description,
        model_id=model.model_id,
    )
    return str(version.version)


def _delete_files(uri: str, tracking_uri: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(uri, tracking_uri=tracking_uri)
    repository.delete_artifacts()
