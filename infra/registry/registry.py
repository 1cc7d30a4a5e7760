"""The registry's face: versions in, versions out, and an alias that moves only on evidence."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.registry import records
from infra.registry.checkpoint import checkpoint_in, model_files
from infra.registry.publishing import Publication, discard_unfinished, fetch, publish
from infra.registry.records import CHAMPION, ModelVersion
from infra.registry.service import connect, exclusive, failing_clearly
from infra.registry.weights import weight_digest
from revs.errors import BadInput, GateRefused, OperationFailed

if TYPE_CHECKING:
    from mlflow import MlflowClient

_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))?")
_NOTHING_DONE = "no version was made and the champion is untouched: free space or repair the store, then run again"
_NOTHING_READ = "nothing was changed: check the tracking URI and the artifact store, then run again"


class Registry:
    """Registered models at one tracking URI. Making one costs nothing; the first call connects.

    Args:
        tracking_uri: `sqlite:///file`, or a server's address.
        artifact_uri: where new files go; None leaves it to the server. An existing registry keeps its own place.
        retention_days: how long a superseded version keeps its bytes, unless its evidence names the date.
    """

    weight_digest = staticmethod(weight_digest)

    def __init__(self, tracking_uri: str, artifact_uri: str | None, *, retention_days: int = 30) -> None:
        self.tracking_uri = tracking_uri
        self.artifact_uri = artifact_uri
        self.retention_days = retention_days

    def register_base(
        self, folder: Path, *, name: str, corpus: str, tags: Mapping[str, Any] | None = None
    ) -> ModelVersion:
        """Register a model that nobody edited yet. The same weights under the same name are the same version.

        It becomes champion if the name has none, and it was not superseded before.

        Args:
            folder: as written by `save_pretrained`, weights as safetensors; only the model's own files are copied.
            name: the registered model's name.
            corpus: the training corpus' name or digest, kept as a tag.
            tags: more of the kind; each becomes a tag named `revs.*`.

        Raises:
            BadInput: the folder holds no causal language model with a tokenizer.
            OperationFailed: the disk or the store failed; nothing is left behind.
        """
        files, weights = model_files(folder), weight_digest(folder)
        publication = Publication(
            name=records.checked_name(name),
            key=f"base/{name}/{weights}",
            run_name=f"base {name}",
            files=files,
            weights=weights,
            tags=self._tags(weights, {"corpus": corpus, **(tags or {})}),
        )
        with failing_clearly(f"registering model {name!r}", safe=_NOTHING_DONE), self._lock():
            version = self._publish_once(publication)
            if self._champion(name) is None and version.tags.get(records.STATUS) != "superseded":
                self._client.set_registered_model_alias(name, CHAMPION, version.version)
                self._set_tags(version, {records.STATUS: CHAMPION})
            return self._version(name, version.version)

    def register_candidate(
        self,
        folder: Path,
        *,
        parent: ModelVersion,
        batch_id: str,
        lineage: Mapping[str, Any],
        metrics: Mapping[str, float],
        evidence: Mapping[str, Any],
    ) -> ModelVersion:
        """Register an edited model with all that says where it came from. It gets no alias: see `promote`.

        A second call with the same batch id returns the version of the first, whatever it is given.

        Args:
            folder: the edited checkpoint, as for `register_base`.
            parent: the version that was edited.
            batch_id: what makes the candidate the same one when a crashed batch resumes.
            lineage: `config` (mapping) becomes parameters and a tag, `datasets` (name, role, rows, digest each) become
                inputs, everything else (e.g. `requests`, `code_commit`, `weights_before`, `weights_after`, `seed`) tags
                named `revs.*`. None of it may hold personal data.
            metrics: finite ones become metrics of the run and of the stored model.
            evidence: what `evidence()` gives back; `promote` reads its `gates`.

        Raises:
            BadInput: the folder holds no causal language model, or other weights than lineage or evidence name.
            OperationFailed: the disk or the store failed; nothing is left behind and the champion is untouched.
        """
        files, weights = model_files(folder), weight_digest(folder)
        _require_same_weights(weights, lineage, evidence)
        evidence_bytes = records.canonical_json(evidence, what="the evidence")
        own_tags = {
            records.PARENT: parent.version,
            records.BATCH: records.checked_batch_id(batch_id),
            records.EVIDENCE: records.sha256(evidence_bytes),
        }
        publication = Publication(
            name=parent.name,
            key=f"candidate/{parent.name}/{batch_id}",
            run_name=f"batch {batch_id}",
            files=files,
            weights=weights,
            tags=self._tags(weights, lineage) | own_tags,
            params=records.flat_params(lineage.get("config") or {}) | {"parent": parent.version},
            metrics=records.finite(metrics),
            datasets=tuple(lineage.get("datasets") or ()),
            documents={
                "evidence.json": evidence_bytes,
                "lineage.json": records.canonical_json(lineage, what="the lineage"),
            },
        )
        with failing_clearly(f"registering batch {batch_id}", safe=_NOTHING_DONE), self._lock():
            return self._publish_once(publication)

    def champion(self, name: str) -> ModelVersion:
        """The version that the serving alias points to. BadInput if there is none, naming what exists."""
        with failing_clearly("asking the registry", safe=_NOTHING_READ):
            version = self._champion(name)
            if version is None:
                raise self._unknown(name, f"alias {CHAMPION!r}")
            return version

    def names(self) -> list[str]:
        """Names of the registered models, sorted."""
        with failing_clearly("asking the registry", safe=_NOTHING_READ):
            return sorted(model.name for model in self._client.search_registered_models())

    def resolve(self, uri_or_name: str) -> ModelVersion:
        """Find `models:/name@alias`, `models:/name/3`, or a plain name's champion. BadInput names what exists."""
        text = uri_or_name if uri_or_name.startswith("models:") else f"models:/{uri_or_name}"
        match = _URI.fullmatch(text)
        if match is None or (match["version"] and text != uri_or_name):
            raise BadInput(f"{uri_or_name!r} names no model: write models:/NAME@champion, models:/NAME/3 or NAME")
        name, alias, number = records.checked_name(match["name"]), match["alias"] or CHAMPION, match["version"]
        with failing_clearly("asking the registry", safe=_NOTHING_READ):
            found = self._find(name, alias, number)
            if found is None:
                raise self._unknown(name, f"version {number}" if number else f"alias {alias!r}")
            return found

    def download(self, version: ModelVersion, *, into: Path | None = None) -> Path:
        """Local path of a version's checkpoint folder, its weights checked against their digest at registration.

        Where the store is local this is the stored folder itself: read it, do not write to it.

        Args:
            version: what to fetch.
            into: where to put a copy; needed for stores that are not local, unless a temporary folder will do.

        Raises:
            OperationFailed: the files are gone, or changed after they were registered.
        """
        with failing_clearly(f"reading {version.uri}", safe=_NOTHING_READ):
            folder = checkpoint_in(fetch(self._location(version), self.tracking_uri, into))
            self._require_untouched(version, folder)
            return folder

    def promote(self, version: ModelVersion, *, expected_champion: ModelVersion, retire_on: date | None = None) -> None:
        """Move the champion alias to `version`, if the champion is still the version it was made from. Idempotent.

        The old champion is marked superseded, with the date from which its bytes may go: `retire_on`, else the date in
        the evidence (`model.retire_on`), else today (UTC) plus the registry's retention.

        Raises:
            GateRefused: the version carries no gates, one did not pass, or its evidence compares with another version.
            OperationFailed: the champion moved meanwhile, the stored weights changed, or the store failed.
        """
        evidence = self._require_passed_gates(version, expected_champion)
        day = retire_on or _retirement(evidence) or datetime.now(UTC).date() + timedelta(days=self.retention_days)
        safe = "run again to finish: the alias names one healthy version at every moment"
        with failing_clearly(f"promoting {version.uri}", safe=safe), self._lock():
            current = self._champion(version.name)
            if current is None or current.version not in (version.version, expected_champion.version):
                now = f"version {current.version}" if current else "none"
                raise OperationFailed(
                    f"champion of {version.name!r} is {now}, not version {expected_champion.version} that version "
                    f"{version.version} was made from; nothing was promoted: run the batch again on the champion"
                )
            if current.version != version.version:
                self.download(version)
                self._client.set_registered_model_alias(version.name, CHAMPION, version.version)
            self._mark_superseded(expected_champion, by=version, on=day)
            self._set_tags(version, {records.STATUS: CHAMPION})

    def evidence(self, version: ModelVersion) -> dict[str, Any] | None:
        """The evidence recorded with a version; None for one that was not made by a batch.

        Raises:
            OperationFailed: it is gone, or changed after it was recorded.
        """
        digest = version.tags.get(records.EVIDENCE)
        if digest is None:
            return None
        with failing_clearly(f"reading the evidence of {version.uri}", safe=_NOTHING_READ):
            with tempfile.TemporaryDirectory(prefix="revs-evidence-") as scratch:
                uri = self._client.get_run(version.run_id).info.artifact_uri
                data = fetch(f"{uri}/evidence.json", self.tracking_uri, Path(scratch)).read_bytes()
            if records.sha256(data) != digest:
                raise OperationFailed(
                    f"the evidence of {version.uri} was changed after it was recorded: do not rely on it"
                )
            document: dict[str, Any] = json.loads(data)
            return document

    @cached_property
    def _client(self) -> MlflowClient:
        return connect(self.tracking_uri)

    def _lock(self) -> AbstractContextManager[None]:
        return exclusive(self.tracking_uri)

    def _publish_once(self, publication: Publication) -> ModelVersion:
        client = self._client
        query = f"name = '{publication.name}' and tags.`{records.KEY}` = '{publication.key}'"
        for found in client.search_model_versions(query, max_results=1):
            return self._version(publication.name, str(found.version))
        discard_unfinished(client, publication.key)
        return self._version(publication.name, publish(client, self.artifact_uri, publication))

    def _tags(self, weights: str, lineage: Mapping[str, Any]) -> dict[str, str]:
        return records.lineage_tags(lineage) | {records.WEIGHTS: weights, records.STATUS: "registered"}

    def _set_tags(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_model_version_tag(version.name, version.version, key, value)

    def _mark_superseded(self, old: ModelVersion, *, by: ModelVersion, on: date) -> None:
        tags = {records.STATUS: "superseded", records.SUPERSEDED_BY: by.version}
        if records.RETIRE_ON not in self._version(old.name, old.version).tags:  # a second call must not put it off
            tags[records.RETIRE_ON] = on.isoformat()
        self._set_tags(old, tags)

    def _require_passed_gates(self, version: ModelVersion, expected_champion: ModelVersion) -> Mapping[str, Any]:
        evidence = self.evidence(version) or {}
        gates = evidence.get("gates")
        if not gates:
            raise GateRefused(f"{version.uri} carries no gate results: nothing was promoted; run the gates on it first")
        if failed := [str(gate.get("name")) for gate in gates if gate.get("passed") is not True]:
            raise GateRefused(f"{version.uri} did not pass {', '.join(failed)}: nothing was promoted")
        parent = version.tags.get(records.PARENT)
        if parent != expected_champion.version or version.name != expected_champion.name:
            raise GateRefused(
                f"{version.uri} was made from and compared with version {parent}, not {expected_champion.uri}: "
                "nothing was promoted; promote it against its parent"
            )
        return evidence

    def _require_untouched(self, version: ModelVersion, folder: Path) -> None:
        try:
            same = version.weights in (None, weight_digest(folder))
        except BadInput:
            same = False
        if not same:
            raise OperationFailed(
                f"the weights of {version.uri} changed after they were registered: do not use it; "
                "restore the stored files or register the model again"
            )

    def _location(self, version: ModelVersion) -> str:
        return str(self._client.get_model_version_download_uri(version.name, version.version))

    def _champion(self, name: str) -> ModelVersion | None:
        return self._find(records.checked_name(name), CHAMPION, None)

    def _find(self, name: str, alias: str, number: str | None) -> ModelVersion | None:
        """One version by number or by alias; None if it does not exist."""
        from mlflow.exceptions import MlflowException

        try:
            if number is None:
                number = str(self._client.get_model_version_by_alias(name, alias).version)
            return self._version(name, number)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def _version(self, name: str, number: str) -> ModelVersion:
        found = self._client.get_model_version(name, number)
        return ModelVersion(
            name=found.name,
            version=str(found.version),
            uri=f"models:/{found.name}/{found.version}",
            run_id=found.run_id or "",
            source=found.source or "",
            tags=dict(found.tags),
            aliases=tuple(found.aliases),
        )

    def _unknown(self, name: str, wanted: str) -> BadInput:
        known = self.names()
        if name not in known:
            return BadInput(f"no model {name!r} is registered; registered are: {', '.join(known) or 'none'}")
        versions = sorted(int(v.version) for v in self._client.search_model_versions(f"name = '{name}'"))
        aliases = self._client.get_registered_model(name).aliases
        shown = ", ".join(f"{alias} (version {number})" for alias, number in sorted(aliases.items())) or "none"
        return BadInput(
            f"model {name!r} has no {wanted}; versions: {', '.join(map(str, versions)) or 'none'}; aliases: {shown}"
        )


def _require_same_weights(weights: str, lineage: Mapping[str, Any], evidence: Mapping[str, Any]) -> None:
    """What passed the gates must be what is registered."""
    claims = {"lineage": lineage.get("weights_after"), "evidence": (evidence.get("model") or {}).get("weights_after")}
    for where, claimed in claims.items():
        if claimed not in (None, weights):
            raise BadInput(
                f"the folder's weights are not those of the {where} (weights_after): register the model tested"
            )


def _retirement(evidence: Mapping[str, Any]) -> date | None:
    text = (evidence.get("model") or {}).get("retire_on")
    return date.fromisoformat(text) if text else None
