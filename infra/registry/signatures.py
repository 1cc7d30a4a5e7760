"""Signed versions: what stands beside a version's files, made when it is registered and verified before it is used."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.keys.signer import Signers
from infra.registry import bundles, provenance, records
from infra.registry.publishing import Publication, fetch
from infra.registry.records import ModelVersion
from revs.errors import OperationFailed

if TYPE_CHECKING:
    from mlflow import MlflowClient

DOCUMENTS = (bundles.MANIFEST, bundles.STATEMENT, "evidence.json", "lineage.json", "policy.json")
"""What is stored beside a version's files when it is registered."""
REPORT_LIST = "report.sig"
REPORT = ("report.html", "report.json", "status.json", REPORT_LIST)
"""What is added when its batch is closed."""
_REMEDY = "do not use it: restore it from a backup, or make another version champion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a version's verified signature says."""

    files: Mapping[str, str]  # SHA-256 of each stored file, by its path below the place where the version is stored
    signer: str  # fingerprint
    statement: Mapping[str, Any]

    @property
    def root(self) -> str:
        """One digest for all of the files."""
        return bundles.root_of(self.files)


def sign(publication: Publication, run_id: str, files: Mapping[str, str], signers: Signers) -> dict[str, bytes]:
    """The signed documents of a version, by file name.

    Args:
        publication: what is registered.
        run_id: of the run under which it is stored.
        files: SHA-256 of each file, by path.
        signers: whose key.
    """
    listed = bundles.sign_files(files, name=publication.name, signers=signers)
    statement = provenance.statement(
        name=publication.name,
        key=publication.key,
        run_id=run_id,
        weights=publication.weights,
        tags=publication.all_tags,
        origin=publication.origin,
        files=files,
        documents={**publication.documents, bundles.MANIFEST: listed},
        at=datetime.now(UTC),
    )
    return {bundles.MANIFEST: listed, bundles.STATEMENT: bundles.sign_statement(statement, signers)}


def verify(version: ModelVersion, documents: Mapping[str, bytes], signers: Signers) -> Signature | None:
    """Verify a version's signature, and that name, tags and documents are what was signed; its files are not read.

    Args:
        version: as registered now.
        documents: what is stored beside its files.
        signers: whose signatures count.

    Returns:
        None for a version that bears no signature at all.

    Raises:
        OperationFailed: something does not match; the message names it.
    """
    here = {bundles.MANIFEST, bundles.STATEMENT} & documents.keys()
    tagged = version.tags.get(records.SIGNER)
    if not here and tagged is None:
        return None
    if len(here) < 2:
        gone = ", ".join(sorted({bundles.MANIFEST, bundles.STATEMENT} - here))
        raise OperationFailed(f"the signature of {version.uri} is gone ({gone}), and it was signed: {_REMEDY}")
    try:
        statement, signer = bundles.statement_signed(documents[bundles.STATEMENT], signers)
        files = bundles.files_signed(documents[bundles.MANIFEST], signers)
    except bundles.Unsigned as fault:
        raise OperationFailed(f"the signature of {version.uri} does not hold: {fault}; {_REMEDY}") from None
    if faults := list(provenance.differences(statement, version, documents)):
        raise OperationFailed(f"{version.uri} is not what was signed: {'; '.join(faults)}; {_REMEDY}")
    return Signature(files=files, signer=signer, statement=statement)


def sign_report(files: Mapping[str, bytes], version: Mapping[str, bytes], signers: Signers) -> dict[str, bytes]:
    """What is kept of a closed batch with the version that it made, and the list of it, signed.

    Args:
        files: the report and what belongs to it, by file name.
        version: the documents of the version; its list of files is listed too, so that no other version's report fits.
        signers: whose key.
    """
    return {**files, REPORT_LIST: bundles.sign_files(_listed(files, version), name="report", signers=signers)}


def report_faults(files: Mapping[str, bytes], version: Mapping[str, bytes], signers: Signers) -> list[str]:
    """What of a kept report is not what was signed, in words; nothing where all is.

    Args:
        files: what is kept with the version, by file name, with the signed list.
        version: the documents of the version.
        signers: whose signatures count.
    """
    try:
        signed = bundles.files_signed(files[REPORT_LIST], signers)
    except bundles.Unsigned as fault:
        return [f"the list of its report does not hold: {str(fault).replace(bundles.MANIFEST, REPORT_LIST)}"]
    now = _listed({name: data for name, data in files.items() if name != REPORT_LIST}, version)
    return [
        f"{name} of its report is {'not what was signed' if name in now else 'gone'}"
        for name in sorted(signed.keys() | now.keys())
        if signed.get(name) != now.get(name)
    ]


def _listed(files: Mapping[str, bytes], version: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of each file of a report, and of the version's list of files."""
    own = {name: data for name, data in version.items() if name == bundles.MANIFEST}
    return {name: records.sha256(data).removeprefix("sha256:") for name, data in {**files, **own}.items()}


def inputs_of(client: MlflowClient, run_id: str) -> tuple[tuple[str, str], ...]:
    """Name and whole digest of each data set that MLflow shows as an input of a run; sorted.

    Raises:
        MlflowException: the store failed.
    """
    if not run_id:
        return ()
    inputs = client.get_run(run_id).inputs
    shown = [] if inputs is None else inputs.dataset_inputs
    digests = ({tag.key: tag.value for tag in each.tags}.get(records.DATASET_DIGEST, "") for each in shown)
    return tuple(sorted(zip((each.dataset.name for each in shown), digests, strict=True)))


def documents_of(client: MlflowClient, run_id: str, names: Collection[str] = DOCUMENTS) -> dict[str, bytes]:
    """What is stored with the run of a version under these names, by file name; nothing where there is no run.

    Raises:
        OSError, MlflowException: the store failed.
    """
    from mlflow.artifacts import list_artifacts

    if not run_id:
        return {}
    uri = client.get_run(run_id).info.artifact_uri
    there = {Path(entry.path).name for entry in list_artifacts(artifact_uri=uri, tracking_uri=client.tracking_uri)}
    wanted = there.intersection(names)
    with tempfile.TemporaryDirectory(prefix="revs-signature-") as scratch:
        return {name: fetch(f"{uri}/{name}", client.tracking_uri, Path(scratch)).read_bytes() for name in wanted}
