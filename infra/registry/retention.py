"""Versions whose bytes go: what the registry knows of each, and the steps by which they are deleted and found absent.

The entry of a version stays as a tombstone. Its number, tags, evidence and signature are the lineage of those that were
made from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from infra.registry import removal
from infra.registry.publishing import EXPERIMENT
from infra.registry.reading import Reader
from infra.registry.records import KEY, RETIRED, RETIRED_ON, STATUS, ModelVersion, usable_name
from infra.registry.service import exclusive, failing_clearly, local_path, pages

if TYPE_CHECKING:
    from mlflow.entities import Run

KEPT: Final = frozenset(
    {"evidence.json", "lineage.json", "policy.json", "model.sig", "provenance.json"}
    | {"report.html", "report.json", "status.json"}
)
"""Documents beside a version that outlive its bytes: numbers, digests and signatures, and its report."""
_READ_ONLY = "nothing was deleted: check the tracking URI and the artifact store, then run again"
_AGAIN = "run 'revs retire --apply' again, it goes on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A registered version with where its files lie."""

    version: ModelVersion
    location: str
    registered: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A run of a publication on which no version stands."""

    run_id: str
    key: str
    begun: datetime
    finished: bool


class Retention(Reader):
    """The part of `Registry` by which bytes go. Making one costs nothing; the first call connects."""

    def entries(self) -> list[Entry]:
        """Every version of every registered model, those that were retired too; by name and number."""
        with failing_clearly("asking the registry", safe=_READ_ONLY):
            found = pages(self._client.search_registered_models)
            models = [model for model in found if usable_name(str(model.name))]
            return [entry for model in sorted(models, key=lambda each: str(each.name)) for entry in self._of(model)]

    def leftovers(self, entries: list[Entry]) -> list[Leftover]:
        """The runs of publications on which none of `entries` stands; oldest first."""
        standing = {entry.version.run_id for entry in entries}
        with failing_clearly("asking the registry", safe=_READ_ONLY):
            experiment = self._client.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                return []
            runs = pages(self._client.search_runs, experiment_ids=[experiment.experiment_id])
            found = [_leftover(run) for run in runs if KEY in run.data.tags and run.info.run_id not in standing]
        return sorted(found, key=lambda each: each.begun)

    def has_bytes(self, entry: Entry) -> bool:
        """Whether anything lies where the files of a version were."""
        with failing_clearly(f"looking for the files of {entry.version.uri}", safe=_READ_ONLY):
            return any(True for _ in removal.place(entry.location, self.tracking_uri).left())

    def is_own(self, entry: Entry) -> bool:
        """Whether the files lie where this program put them: anybody can register an entry for any folder."""
        from mlflow.exceptions import MlflowException

        with failing_clearly(f"looking for the run of {entry.version.uri}", safe=_READ_ONLY):
            experiment = self._client.get_experiment_by_name(EXPERIMENT)
            try:
                run = self._client.get_run(entry.version.run_id)
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return False
                raise
            if experiment is None:
                return False
            known = KEY in run.data.tags and run.info.experiment_id == experiment.experiment_id
            return known and entry.location in {model.artifact_location for model in self._models(run)}

    def inodes(self, entry: Entry) -> set[tuple[int, int]]:
        """The files of a version on this machine that have more than one name, by device and inode."""
        root = local_path(entry.location)
        stats = [path.lstat() for path in removal.files_in(root)] if root is not None else []
        return {(each.st_dev, each.st_ino) for each in stats if each.st_nlink > 1}

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Keep every other writer from an embedded registry meanwhile.

        Args:
            what: is retired, for the message of an OperationFailed.
        """
        with failing_clearly(f"retiring {what}", safe=_AGAIN), exclusive(self.tracking_uri):
            yield

    def remove(self, entry: Entry, *, alias: str) -> None:
        """Delete the files of a version, after an alias that may still name it; `left` tells whether they are gone."""
        if alias in entry.version.aliases:
            self._client.delete_registered_model_alias(entry.version.name, alias)
        removal.place(entry.location, self.tracking_uri).remove()
        removal.place(self._run_location(entry.version.run_id), self.tracking_uri).remove(KEPT)

    def left(self, entry: Entry) -> list[str]:
        """What the store still holds of a version, documents of `KEPT` aside."""
        own = removal.place(entry.location, self.tracking_uri).left()
        return [*own, *removal.place(self._run_location(entry.version.run_id), self.tracking_uri).left(KEPT)]

    def looked(self, entry: Entry) -> str:
        """How `left` looks: "file", "s3" (every version of every object) or "listing" (what MLflow lists)."""
        return removal.place(entry.location, self.tracking_uri).looked

    def bury(self, entry: Entry, *, on: date) -> None:
        """Mark a version as retired, its bytes gone since a day."""
        for tag, value in {RETIRED_ON: on.isoformat(), STATUS: RETIRED}.items():
            self._client.set_model_version_tag(entry.version.name, entry.version.version, tag, value)

    def discard(self, leftover: Leftover) -> list[str]:
        """Delete a publication that was never finished, with its run; returns what could not be deleted."""
        run = self._client.get_run(leftover.run_id)
        if self._client.search_model_versions(f"run_id = '{leftover.run_id}'"):
            return []  # a version stands on it since
        models = self._models(run)
        places = [removal.place(uri, self.tracking_uri) for uri in self._places_of(run, models)]
        for each in places:
            each.remove()
        if left := [name for each in places for name in each.left()]:
            return left
        for model in models:
            self._client.delete_logged_model(model.model_id)
        self._client.delete_run(leftover.run_id)
        return []

    def _places_of(self, run: Run, models: list[Any]) -> list[str]:
        return [*(str(model.artifact_location) for model in models), str(run.info.artifact_uri)]

    def _models(self, run: Run) -> list[Any]:
        query = f"source_run_id = '{run.info.run_id}'"
        return list(self._client.search_logged_models([run.info.experiment_id], query))

    def _run_location(self, run_id: str) -> str:
        return str(self._client.get_run(run_id).info.artifact_uri)

    def _of(self, model: Any) -> Iterator[Entry]:
        """The versions of a registered model, oldest first."""
        aliases: dict[str, list[str]] = {}
        for alias, number in model.aliases.items():
            aliases.setdefault(str(number), []).append(str(alias))
        found = pages(self._client.search_model_versions, filter_string=f"name = '{model.name}'")
        for each in sorted(found, key=lambda each: int(each.version)):
            number = str(each.version)
            version = ModelVersion(
                name=each.name,
                version=number,
                uri=f"models:/{each.name}/{number}",
                run_id=each.run_id or "",
                source=each.source or "",
                tags=dict(each.tags),
                aliases=tuple(sorted(aliases.get(number, ()))),
            )
            yield Entry(version=version, location=self._location(version), registered=_moment(each.creation_timestamp))


def _leftover(run: Run) -> Leftover:
    return Leftover(
        run_id=run.info.run_id,
        key=run.data.tags[KEY],
        begun=_moment(run.info.start_time),
        finished=run.info.status == "FINISHED",
    )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
