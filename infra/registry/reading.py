"""Registered versions as they are used: fetched, checked against what was recorded and signed, and handed out."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from infra.keys.signer import Signers, short
from infra.registry import copies, files, provenance, records, signatures
from infra.registry.catalogue import NOTHING_READ, Catalogue
from infra.registry.checkpoint import WEIGHTS_FOLDER
from infra.registry.publishing import fetch
from infra.registry.records import ModelVersion
from infra.registry.service import failing_clearly
from infra.registry.signatures import Signature
from infra.registry.weights import Weights, read_weights
from revs.errors import BadInput, OperationFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What MLflow keeps of a version beside its files and tags."""

    documents: Mapping[str, bytes]  # by file name
    report: Mapping[str, bytes]  # of the batch that made it, by file name; empty until that is closed
    inputs: tuple[tuple[str, str], ...]  # name and digest of each data set that is shown as an input; sorted
    created: datetime


class Reader(Catalogue):
    """Registered models at one tracking URI, to be read. Making one costs nothing; the first call connects.

    Args:
        tracking_uri: `sqlite:///file`, or a server's address.
        signers: whose signatures count; None: no signature is looked at.
        unsigned: what becomes of a version that bears no signature.
    """

    def __init__(
        self, tracking_uri: str, *, signers: Signers | None = None, unsigned: Literal["accept", "refuse"] = "accept"
    ) -> None:
        super().__init__(tracking_uri)
        self.signers = signers
        self.unsigned = unsigned

    def verify(self, version: ModelVersion) -> Signature | None:
        """Verify a version's signature, its tags and its evidence, without reading its files.

        Returns:
            What is signed; None for a version from before signatures, where the installation takes them.

        Raises:
            OperationFailed: something is not what was signed, the signature is gone, or the store cannot be asked.
        """
        if self.signers is None:
            return None
        with failing_clearly(f"verifying {version.uri}", safe=NOTHING_READ):
            documents = signatures.documents_of(self._client, version.run_id)
            signature = signatures.verify(version, documents, self.signers)
            if signature is None:
                self._require_never_signed(version)
            elif (first := self._first_of(version)) != version.version:
                raise OperationFailed(
                    f"{version.uri} is a second entry for what version {first} of {version.name!r} is, made by hand: "
                    "do not use it"
                )
            return signature

    def download(self, version: ModelVersion, *, into: Path | None = None) -> Path:
        """Local path of a version's checkpoint folder, checked against its signature and its digests at registration.

        Where the store is local this is the stored folder itself: read it, do not write to it. A copy that is given no
        place is removed when the process ends.

        Args:
            version: what to fetch.
            into: where to put a copy.

        Raises:
            BadInput: it was retired.
            OperationFailed: the files are gone, or changed after they were registered, or the signature does not hold.
        """
        self.require_bytes(version)
        signature = self.verify(version)
        with failing_clearly(f"reading {version.uri}", safe=NOTHING_READ):
            folder = copies.download(version, self._location(version), self.tracking_uri, into)
            _require_untouched(signature, version, folder)
            return folder

    def checkout(self, version: ModelVersion, into: Path) -> Path:
        """The same, for work of several stages: copied and checked once, and then trusted while nothing changes.

        The signature is verified each time, which reads none of the files.

        Args:
            version: what to fetch.
            into: the batch's own folder: what is put there (a copy where the store is not local, and a note of what was
                checked) is removed together with it.

        Raises:
            BadInput, OperationFailed: as `download`.
        """
        self.require_bytes(version)
        signature = self.verify(version)
        check = partial(_require_untouched, signature)
        signed = None if signature is None else signature.root
        with failing_clearly(f"reading {version.uri}", safe=NOTHING_READ):
            return copies.checkout(version, self._location(version), self.tracking_uri, into, check, signed=signed)

    def tokenizer(self, version: ModelVersion, into: Path) -> Path:
        """A folder with the version's files beside the weights, checked; a local store's own, else copied to `into`.

        Raises:
            BadInput, OperationFailed: as `download`.
        """
        self.require_bytes(version)
        signature = self.verify(version)
        with failing_clearly(f"reading {version.uri}", safe=NOTHING_READ):
            folder = copies.light_copy(self._location(version), self.tracking_uri, into)
            _require_files_untouched(version, folder)
            if signature is not None:
                now = {f"{WEIGHTS_FOLDER}/{name}": digest for name, digest in files.light_digests(folder).items()}
                _require_same(version, _light(signature.files), now)
            return folder

    def recorded(self, version: ModelVersion) -> Recorded:
        """What is stored beside the files of a version, unverified: `verify` says whether it is what was signed.

        Raises:
            OperationFailed: the store cannot be asked.
        """
        with failing_clearly(f"reading the record of {version.uri}", safe=NOTHING_READ):
            created_ms = self._client.get_model_version(version.name, version.version).creation_timestamp
            return Recorded(
                documents=signatures.documents_of(self._client, version.run_id),
                report=signatures.documents_of(self._client, version.run_id, signatures.REPORT),
                inputs=signatures.inputs_of(self._client, version.run_id),
                created=datetime.fromtimestamp(created_ms // 1000, UTC),
            )

    def evidence(self, version: ModelVersion) -> dict[str, Any] | None:
        """The evidence recorded with a version; None for one that was not made by a batch.

        Raises:
            OperationFailed: it is gone, or changed after it was recorded.
        """
        digest = version.tags.get(records.EVIDENCE)
        if digest is None:
            return None
        with failing_clearly(f"reading the evidence of {version.uri}", safe=NOTHING_READ):
            with tempfile.TemporaryDirectory(prefix="revs-evidence-") as scratch:
                uri = self._client.get_run(version.run_id).info.artifact_uri
                data = fetch(f"{uri}/evidence.json", self.tracking_uri, Path(scratch)).read_bytes()
            if records.sha256(data) != digest:
                raise OperationFailed(
                    f"the evidence of {version.uri} was changed after it was recorded: do not rely on it"
                )
            document = records.evidence_of(data)
            if document is None:
                raise OperationFailed(
                    f"the evidence of {version.uri} is none that this program wrote: do not rely on it"
                )
            return document

    def _require_never_signed(self, version: ModelVersion) -> None:
        """Raise OperationFailed where a version without signature had one, or where none without is taken."""
        if (child := self._child_that_saw_it_signed(version)) is not None:
            raise OperationFailed(
                f"the signature of {version.uri} is gone: version {child}, which was made from it, says that it was "
                "signed; do not use it: restore it from a backup, or make another version champion"
            )
        if self.unsigned == "refuse":
            raise OperationFailed(
                f"{version.uri} is not signed, and REVS_UNSIGNED=refuse: register its files again with 'revs process "
                "--model FOLDER', or unset it"
            )

    def _child_that_saw_it_signed(self, version: ModelVersion) -> str | None:
        assert self.signers is not None
        query = f"name = '{version.name}' and tags.`{records.PARENT}` = '{version.version}'"
        for found in self._client.search_model_versions(query):
            child = self._version(version.name, str(found.version))
            try:
                documents = signatures.documents_of(self._client, child.run_id)
                signature = signatures.verify(child, documents, self.signers)
            except OperationFailed:  # it does not hold itself, so it says nothing
                continue
            if signature is not None and provenance.parent_signer(signature.statement) is not None:
                return child.version
        return None

    def _first_of(self, version: ModelVersion) -> str:
        """The oldest version of the model that stands on the same run: an entry made by hand comes later."""
        found = self._client.search_model_versions(f"name = '{version.name}' and run_id = '{version.run_id}'")
        return str(min((int(each.version) for each in found), default=version.version))


def signed_by(signature: Signature | None) -> str:
    """A few words for a finding."""
    return "not signed" if signature is None else f"signed by {short(signature.signer)}"


def _require_untouched(signature: Signature | None, version: ModelVersion, folder: Path) -> None:
    try:
        weights: Weights | None = read_weights(folder)
    except BadInput:
        weights = None
    if signature is not None:
        root = folder.parent if folder.name == WEIGHTS_FOLDER else folder
        known = {} if weights is None else weights.files
        read = {(folder / name).relative_to(root).as_posix(): digest for name, digest in known.items()}
        _require_same(version, signature.files, files.stored_digests(root, read))
    if version.weights is not None and (weights is None or weights.digest != version.weights):
        raise _weights_changed(version, "")
    _require_files_untouched(version, folder)


def _require_files_untouched(version: ModelVersion, folder: Path) -> None:
    recorded = files.from_tag(version.tags.get(records.FILES))
    if recorded is not None and (changed := files.changed_files(recorded, folder)):
        raise _changed(version, changed)


def _light(signed: Mapping[str, str]) -> dict[str, str]:
    """Of the signed files those of the checkpoint that hold no weights."""
    inside = ((name, digest) for name, digest in signed.items() if name.startswith(f"{WEIGHTS_FOLDER}/"))
    return {name: digest for name, digest in inside if not name.endswith(".safetensors")}


def _require_same(version: ModelVersion, signed: Mapping[str, str], now: Mapping[str, str]) -> None:
    if changed := sorted(name for name in signed.keys() | now.keys() if signed.get(name) != now.get(name)):
        raise _changed(version, changed)


def _changed(version: ModelVersion, names: list[str]) -> OperationFailed:
    if all(name.endswith(".safetensors") for name in names):
        return _weights_changed(version, f" ({files.shown(names)})")
    return OperationFailed(
        f"{files.shown(names)} of {version.uri} changed after the version was registered: do not use it; "
        "restore the stored files or register the model again"
    )


def _weights_changed(version: ModelVersion, named: str) -> OperationFailed:
    return OperationFailed(
        f"the weights of {version.uri} changed after they were registered{named}: do not use it; "
        "restore the stored files or register the model again"
    )
