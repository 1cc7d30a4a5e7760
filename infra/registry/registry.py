"""The registry's face: versions in, versions out, and an alias that moves only on evidence."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from infra.gates.policy import GatePolicy
from infra.keys.signer import Signers
from infra.registry import copies, describing, files, lineage, promotion, provenance, records, signatures
from infra.registry.checkpoint import model_files
from infra.registry.moved import follow
from infra.registry.publishing import EXPERIMENT, Publication, Sign, attach, discard_unfinished, publish
from infra.registry.records import CHAMPION, ModelVersion
from infra.registry.retention import Retention
from infra.registry.service import connect, exclusive, failing_clearly
from infra.registry.weights import read_weights, require_same_weights
from revs.errors import BadInput, OperationFailed

if TYPE_CHECKING:
    from mlflow import MlflowClient

_NOTHING_DONE = "no version was made and the champion is untouched: free space or repair the store, then run again"


class Registry(Retention):
    """Registered models at one tracking URI. Making one costs nothing; the first call connects.

    Args:
        tracking_uri: `sqlite:///file`, or a server's address.
        artifact_uri: where new files go; None leaves it to the server. An existing registry keeps its own place.
        retention_days: how long a superseded version keeps its bytes, unless its evidence names the date.
        policy: what a recorded policy must be as strict as; None: `GatePolicy.of` the method on record and the file.
        policy_file: of the installation's own policy; read when something is promoted.
        signers: who signs what is registered, and whose signatures count; None: nothing is signed or verified.
        unsigned: what becomes of a version that bears no signature.
    """

    def __init__(
        self,
        tracking_uri: str,
        artifact_uri: str | None,
        *,
        retention_days: int = 30,
        policy: GatePolicy | None = None,
        signers: Signers | None = None,
        unsigned: Literal["accept", "refuse"] = "accept",
        policy_file: Path | None = None,
    ) -> None:
        super().__init__(tracking_uri, signers=signers, unsigned=unsigned)
        self.artifact_uri = artifact_uri
        self.retention_days = retention_days
        self.policy = policy
        self.policy_file = policy_file

    @cached_property
    def _client(self) -> MlflowClient:
        follow(self.tracking_uri, self.artifact_uri, experiment=EXPERIMENT)
        return connect(self.tracking_uri)

    def register_base(
        self,
        folder: Path,
        *,
        name: str,
        corpus: str,
        tags: Mapping[str, Any] | None = None,
        lineage: Mapping[str, Any] | None = None,
        may_serve: bool = True,
    ) -> ModelVersion:
        """Register a model that nobody edited yet. The same files under the same name are the same version.

        It becomes champion if the name has none, or if the champion is a base of the same weights, of which only other
        files were mended; and it was not superseded before.

        Args:
            folder: as written by `save_pretrained`, weights as safetensors; only the model's own files are copied.
            name: the registered model's name.
            corpus: the training corpus' name or digest, kept as a tag.
            tags: more of the kind; each becomes a tag named `revs.*`.
            lineage: kept in the run's lineage.json: `code_commit` and `versions` of what registers it.
            may_serve: whether it may become champion; who asks knows what the log says of the model.

        Raises:
            BadInput: the folder holds no causal language model with a tokenizer.
            OperationFailed: the disk or the store failed; nothing is left behind.
        """
        model, read, beside = model_files(folder), read_weights(folder), files.file_digests(folder)
        weights = read.digest
        identity = records.sha256(f"{weights} {files.as_tag(beside)}".encode())
        publication = Publication(
            name=records.checked_name(name),
            key=f"base/{name}/{identity}",
            older_key=f"base/{name}/{weights}",
            run_name=f"base {name}",
            files=model,
            weights=weights,
            weight_files=read.files,
            beside=beside,
            tags=self._tags(weights, beside, {"corpus": corpus, **(tags or {})}),
            run_tags=records.run_tags({}, lineage or {}),
            origin=provenance.origin(lineage=lineage or {}, evidence={}),
            documents={"lineage.json": records.canonical_json(lineage, what="the lineage")} if lineage else {},
        )
        with failing_clearly(f"registering model {name!r}", safe=_NOTHING_DONE), exclusive(self.tracking_uri):
            version = self._publish_once(publication)
            self.require_bytes(version)
            champion = self._champion(name)
            fresh = version.tags.get(records.STATUS) != records.SUPERSEDED
            if may_serve and fresh and _makes_way(champion, version):
                self._make_champion(version, instead_of=champion, supersedes=champion, on=self._retirement({}))
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
        run: Mapping[str, str] = records.NO_RUN,
    ) -> ModelVersion:
        """Register an edited model with all that says where it came from. It gets no alias: see `promote`.

        A second call with the same batch id returns the version of the first, whatever it is given.

        Args:
            folder: the edited checkpoint, as for `register_base`.
            parent: the version that was edited.
            batch_id: what makes the candidate the same one when a crashed batch resumes.
            lineage: kept in the run's lineage.json. `config` (mapping) becomes parameters, `datasets` (name, role,
                rows, digest, reference each) inputs, what the next batch reads tags; `patch` is what
                `changed_tensors` returned. None of it may hold personal data.
            metrics: finite ones become metrics of the run and of the stored model.
            evidence: what `evidence()` gives back; `promote` reads its `scores`, `policy` and `gates`.
            run: `id` of the Prefect run that made it, and its `page` where people can open it.

        Raises:
            BadInput: the folder holds no causal language model, or other weights than lineage or evidence name.
            OperationFailed: the disk or the store failed; nothing is left behind and the champion is untouched.
        """
        model, read, beside = model_files(folder), read_weights(folder), files.file_digests(folder)
        weights = read.digest
        require_same_weights(weights, lineage, evidence)
        evidence_bytes = records.canonical_json(evidence, what="the evidence")
        own_tags = {
            records.PARENT: parent.version,
            records.BATCH: records.checked_batch_id(batch_id),
            records.EVIDENCE: records.sha256(evidence_bytes),
        }
        kept = {key: lineage[key] for key in records.FOR_THE_NEXT if key in lineage}
        publication = Publication(
            name=parent.name,
            key=f"candidate/{parent.name}/{batch_id}",
            run_name=f"batch {batch_id}",
            files=model,
            weights=weights,
            weight_files=read.files,
            beside=beside,
            tags=self._tags(weights, beside, kept) | own_tags,
            description=describing.candidate(parent.version, batch_id, evidence, run),
            run_tags=records.run_tags(run, lineage),
            params=records.flat_params(lineage.get("config") or {}) | {"parent": parent.version},
            metrics=describing.comparable(evidence) | records.finite(metrics),
            datasets=tuple(lineage.get("datasets") or ()),
            origin=provenance.origin(lineage=lineage, evidence=evidence, parent=parent),
            documents={
                "evidence.json": evidence_bytes,
                "lineage.json": records.canonical_json(lineage, what="the lineage"),
                "policy.json": records.canonical_json(evidence.get("policy") or {}, what="the policy"),
            },
        )
        with failing_clearly(f"registering batch {batch_id}", safe=_NOTHING_DONE), exclusive(self.tracking_uri):
            return self._publish_once(publication)

    def promote(
        self,
        version: ModelVersion,
        *,
        expected_champion: ModelVersion,
        retire_on: date | None = None,
        approved_by: str | None = None,
    ) -> None:
        """Move the champion alias to `version`, if the champion is still the version it was made from. Idempotent.

        The gates are judged again, from the recorded scores by the recorded policy. The old champion is marked
        superseded, with the date from which its bytes may go: `retire_on`, else the date in the evidence
        (`model.retire_on`), else today (UTC) plus the registry's retention.

        Args:
            version: the candidate.
            expected_champion: the version it was made from and compared with.
            retire_on: see above.
            approved_by: the human who answers for a promotion on insufficient evidence; kept as a tag.

        Raises:
            GateRefused: a gate did not pass, evidence is insufficient and nobody approved, the record contradicts
                itself, or it compares with another version.
            OperationFailed: the champion moved meanwhile, the stored files changed, or the store failed.
        """
        by = None if approved_by is None else records.checked_person(approved_by)
        evidence = self.evidence(version) or {}
        policy = self.policy or GatePolicy.of((evidence.get("edit") or {}).get("method"), self.policy_file)
        report = promotion.judge_evidence(version, evidence, policy)
        promotion.require_promotable(version, report, approved_by=by)
        promotion.require_parent(version, expected_champion)
        safe = "run again to finish: the alias names one healthy version at every moment"
        with failing_clearly(f"promoting {version.uri}", safe=safe), exclusive(self.tracking_uri):
            current = self._champion(version.name)
            if current is None or current.version not in (version.version, expected_champion.version):
                now = f"version {current.version}" if current else "none"
                raise OperationFailed(
                    f"champion of {version.name!r} is {now}, not version {expected_champion.version} that version "
                    f"{version.version} was made from; nothing was promoted: run the batch again on the champion"
                )
            self.download(version)  # also where the alias names it already: somebody may have moved that
            on = retire_on or self._retirement(evidence)
            self._make_champion(version, instead_of=expected_champion, supersedes=expected_champion, on=on)
            self._note_promotion(version, by)

    def reinstate(
        self, version: ModelVersion, *, instead_of: ModelVersion | None, approved_by: str | None = None
    ) -> None:
        """Make a version champion again that was promoted before, whatever the alias points to now. Idempotent.

        That it was, whether it lacks an erasure, and whether somebody has to answer for it, is the caller's question.
        Who did is kept as a tag.

        Args:
            version: which.
            instead_of: the version that served until now, `previous` from now on; None leaves that alias as it is.
            approved_by: the human who answers for it.

        Raises:
            BadInput: the name is not usable.
            OperationFailed: the stored files changed, or the store failed.
        """
        by = None if approved_by is None else records.checked_person(approved_by)
        self.require_bytes(version)
        ancestors = {found.version for found in self.ancestry(version)}
        with failing_clearly(f"promoting {version.uri}", safe="run again to finish"), exclusive(self.tracking_uri):
            self.download(version)
            older = instead_of if instead_of is not None and instead_of.version in ancestors else None
            self._make_champion(version, instead_of=instead_of, supersedes=older, on=self._retirement({}))
            if instead_of is not None and older is None and instead_of.tags.get(records.STATUS) == CHAMPION:
                self._set_tags(instead_of, {records.STATUS: records.ROLLED_BACK})  # it may come again
            self._note_promotion(version, by)

    def declare_root(
        self, version: ModelVersion, *, instead_of: ModelVersion | None, supersedes: Sequence[str], approved_by: str
    ) -> None:
        """Make a base version champion on a human's word that its training data lacks what was erased. Idempotent.

        Args:
            version: a version that was registered as a base, e.g. after training anew.
            instead_of: the version that served until now.
            supersedes: ids of the batches whose erasures it does not need.
            approved_by: who answers for that; kept as a tag.

        Raises:
            BadInput: the version was made by a batch, or the name is not usable.
            OperationFailed: the stored files changed, or the store failed.
        """
        by = records.checked_person(approved_by)
        if records.PARENT in version.tags:
            raise BadInput(
                f"{version.uri} was made from version {version.tags[records.PARENT]}: only a version that was "
                "registered as a base can be a new root"
            )
        with failing_clearly(f"promoting {version.uri}", safe="run again to finish"), exclusive(self.tracking_uri):
            self.download(version)
            before = lineage.superseded_batches(self._version(version.name, version.version).tags)
            batches = list(dict.fromkeys([*sorted(before), *supersedes]))
            self._set_tags(version, lineage.root_tags(batches))
            self._note_promotion(version, by)
            self._make_champion(version, instead_of=instead_of, supersedes=instead_of, on=self._retirement({}))

    def attach_report(self, version: ModelVersion, documents: Mapping[str, bytes]) -> str | None:
        """Store the report of the batch that made a version with its run, signed; its evidence stays.

        Returns:
            SHA-256 of the signed list of what was stored; None where nothing is signed.
        """
        with failing_clearly(f"storing the report of {version.uri}", safe="the version is not affected"):
            if self.signers is not None:
                own = signatures.documents_of(self._client, version.run_id)
                documents = signatures.sign_report(documents, own, self.signers)
            attach(self._client, version.run_id, documents)
            signed = documents.get(signatures.REPORT_LIST)
            return None if signed is None else records.sha256(signed)

    def _publish_once(self, publication: Publication) -> ModelVersion:
        client = self._client
        query = f"name = '{publication.name}' and tags.`{records.KEY}` = '{publication.key}'"
        for found in client.search_model_versions(query):
            version = self._version(publication.name, str(found.version))
            if self._is(version, publication):
                return version
        if (older := self._registered_before(publication)) is not None:
            return older
        discard_unfinished(client, publication.key)
        return self._version(publication.name, publish(client, self.artifact_uri, publication, self._signing()))

    def _is(self, version: ModelVersion, publication: Publication) -> bool:
        """Whether a version with the key of a publication is the one of an earlier call: anybody can set that tag.

        Raises:
            OperationFailed: it bears a signature that does not hold.
        """
        if self.unsigned == "refuse" and records.SIGNER not in version.tags:
            return False
        if self.signers is None or self.verify(version) is not None:
            return True
        base = publication.origin.get("parent") is None  # from before signatures; what a batch makes is signed
        return base and version.weights == publication.weights

    def _registered_before(self, publication: Publication) -> ModelVersion | None:
        """The version of the same files whose identity was that of its weights alone, as older programs had it."""
        if publication.older_key is None:
            return None
        query = f"name = '{publication.name}' and tags.`{records.KEY}` = '{publication.older_key}'"
        for found in self._client.search_model_versions(query, max_results=1):
            version = self._version(publication.name, str(found.version))
            self.require_bytes(version)
            with tempfile.TemporaryDirectory(prefix="revs-compare-") as scratch:
                stored = copies.light_copy(self._location(version), self.tracking_uri, Path(scratch))
                return version if not files.changed_files(publication.beside, stored) else None
        return None

    def _tags(self, weights: str, beside: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, str]:
        own = {records.WEIGHTS: weights, records.FILES: files.as_tag(beside), records.STATUS: "registered"}
        if self.signers is not None:
            own[records.SIGNER] = self.signers.fingerprint()
        return records.lineage_tags(given) | own

    def _signing(self) -> Sign | None:
        return None if self.signers is None else partial(signatures.sign, signers=self.signers)

    def _retirement(self, evidence: Mapping[str, Any]) -> date:
        text = (evidence.get("model") or {}).get("retire_on")
        return date.fromisoformat(text) if text else datetime.now(UTC).date() + timedelta(days=self.retention_days)

    def _make_champion(
        self, version: ModelVersion, *, instead_of: ModelVersion | None, supersedes: ModelVersion | None, on: date
    ) -> None:
        """Move the aliases first, then the tags: cut off between them, a second call finishes."""
        if CHAMPION not in self._version(version.name, version.version).aliases:
            self._client.set_registered_model_alias(version.name, CHAMPION, version.version)
        if instead_of is not None and instead_of.version != version.version:
            self._client.set_registered_model_alias(version.name, records.PREVIOUS, instead_of.version)
        if supersedes is not None and supersedes.version != version.version:
            self._mark_superseded(supersedes, by=version, on=on)
        for key in (records.RETIRE_ON, records.SUPERSEDED_BY):  # of one that comes back
            if key in version.tags:
                self._client.delete_model_version_tag(version.name, version.version, key)
        self._set_tags(version, {records.STATUS: CHAMPION})

    def _note_promotion(self, version: ModelVersion, by: str | None) -> None:
        """Say in the version's description that it became champion, and who answers for that, which is a tag too."""
        self._set_tags(version, {} if by is None else {records.APPROVED_BY: by})
        said = self._client.get_model_version(version.name, version.version).description or ""
        if (line := describing.promoted(by)) not in said:
            self._client.update_model_version(version.name, version.version, f"{said}\n{line}\n")

    def _set_tags(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_model_version_tag(version.name, version.version, key, value)

    def _mark_superseded(self, old: ModelVersion, *, by: ModelVersion, on: date) -> None:
        tags = {records.STATUS: records.SUPERSEDED, records.SUPERSEDED_BY: by.version}
        if records.RETIRE_ON not in self._version(old.name, old.version).tags:  # a second call must not put it off
            tags[records.RETIRE_ON] = on.isoformat()
        self._set_tags(old, tags)


def _makes_way(champion: ModelVersion | None, version: ModelVersion) -> bool:
    """Whether a base becomes champion: there is none, or it is a base of the same weights."""
    if champion is None or champion.version == version.version:
        return True
    return records.PARENT not in champion.tags and champion.weights == version.weights
