"""Signed documents: the list of a version's files as an OpenSSF model-signing bundle, and a statement about it (DSSE).

`model_signing` digests a folder and signs the result. Here the digests are known already, from a reading that is made
anyway; its hashing configuration is replaced by one that hands them over, and no file is read again. Both libraries
take long to import, so only these functions import them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from infra.keys.signer import Signers, short
from infra.registry.files import IGNORED
from infra.registry.records import canonical_json

if TYPE_CHECKING:
    from model_signing.hashing import Config as Hashing

MANIFEST: Final = "model.sig"  # the list of files, signed
STATEMENT: Final = "provenance.json"  # what is claimed of them, signed
IN_TOTO: Final = "application/vnd.in-toto+json"
_FILES_LISTED: Final = "https://model_signing/signature/v1.0"


class Unsigned(ValueError):
    """A document is not signed by anybody who is accepted; the text says why."""


def sign_files(files: Mapping[str, str], *, name: str, signers: Signers) -> bytes:
    """Sign a list of files.

    Args:
        files: SHA-256 as 64 hex digits, by path relative to the folder.
        name: what the list calls the folder.
        signers: whose key.
    """
    from model_signing.signing import Config

    signers.private_key()  # it is made here, and what is wrong with it is said in our words
    with tempfile.TemporaryDirectory(prefix="revs-sign-") as scratch:
        folder, signature = Path(scratch) / name, Path(scratch) / MANIFEST
        config = Config()
        config.set_hashing_config(_handing_over(files)).use_elliptic_key_signer(private_key=signers.own)
        config.sign(folder, signature)
        return signature.read_bytes()


def files_signed(bundle: bytes, signers: Signers) -> dict[str, str]:
    """The list of files in a bundle, after verifying its signature.

    Raises:
        Unsigned: it is damaged, or signed by nobody who is accepted.
    """
    from cryptography.exceptions import InvalidSignature
    from model_signing.verifying import Config

    files, signer = _listed(bundle)
    key = _key(signer, signers)
    with tempfile.TemporaryDirectory(prefix="revs-verify-") as scratch:
        public, signature = Path(scratch) / "signer.pub", Path(scratch) / MANIFEST
        public.write_bytes(key)
        signature.write_bytes(bundle)
        config = Config()
        config.use_elliptic_key_verifier(public_key=public).set_hashing_config(_handing_over(files))
        try:
            config.verify(Path(scratch), signature)
        except (InvalidSignature, ValueError, KeyError, TypeError, AttributeError):
            raise Unsigned(f"{MANIFEST} is not what was signed") from None
    return files


def root_of(files: Mapping[str, str]) -> str:
    """The digest that model-signing gives a list of files as a whole, as 64 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(PurePosixPath(name) for name in files):
        digest.update(bytes.fromhex(files[str(path)]))
    return digest.hexdigest()


def sign_statement(statement: Mapping[str, Any], signers: Signers) -> bytes:
    """Sign an in-toto statement: a DSSE envelope in canonical JSON, so that no byte of it can be another."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner, SSlibKey

    private = signers.private_key()
    public = SSlibKey.from_crypto(private.public_key(), keyid=signers.fingerprint())
    envelope = Envelope(canonical_json(statement, what="the provenance"), IN_TOTO, {})
    envelope.sign(CryptoSigner(private, public))
    return canonical_json(envelope.to_dict(), what="the provenance")


def statement_signed(data: bytes, signers: Signers) -> tuple[dict[str, Any], str]:
    """The statement in an envelope and the fingerprint of who signed it, after verifying the signature.

    Raises:
        Unsigned: it is damaged, or signed by nobody who is accepted.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import Error
    from securesystemslib.signer import SSlibKey

    try:
        envelope = Envelope.from_dict(json.loads(data))
        (signer,) = envelope.signatures
        whole = canonical_json(envelope.to_dict(), what="it") == data and envelope.payload_type == IN_TOTO
    except (Error, ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise Unsigned(f"{STATEMENT} is damaged")
    pem = _key(signer, signers)
    key = SSlibKey.from_crypto(load_pem_public_key(pem), keyid=signer)
    try:
        envelope.verify([key], threshold=1)
    except Error:
        raise Unsigned(f"{STATEMENT} is not what was signed") from None
    statement: dict[str, Any] = json.loads(envelope.payload)
    return statement, signer


def _key(signer: str, signers: Signers) -> bytes:
    accepted = signers.accepted()
    if signer not in accepted:
        raise Unsigned(
            f"its signer {short(signer)} is not known here (known: {', '.join(map(short, accepted)) or 'none'}; if it "
            "is yours, name its public key file in REVS_TRUSTED_SIGNERS)"
        )
    return accepted[signer]


def _listed(bundle: bytes) -> tuple[dict[str, str], str]:
    """The files that a bundle lists and the fingerprint that it names, unverified."""
    try:
        document = json.loads(bundle)
        signer = str(document["verificationMaterial"]["publicKey"]["hint"])
        payload = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
        resources = payload["predicate"]["resources"]
        files = {str(each["name"]): bytes.fromhex(each["digest"]).hex() for each in resources}
        usable = payload["predicateType"] == _FILES_LISTED and len(files) == len(resources)
    except (ValueError, KeyError, TypeError, AttributeError):
        usable = False
    if not usable:
        raise Unsigned(f"{MANIFEST} is damaged")
    return files, signer


def _handing_over(files: Mapping[str, str]) -> Hashing:
    """A hashing configuration of model-signing that has digested already."""
    from model_signing import hashing
    from model_signing._hashing.hashing import Digest  # the type of every digest; there is no public name for it
    from model_signing.manifest import Manifest, SerializationType

    kind = SerializationType.from_args(
        {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [IGNORED]}
    )
    items = [kind.new_item(name, Digest("sha256", bytes.fromhex(digest))) for name, digest in files.items()]

    class HandingOver(hashing.Config):
        def hash(self, model_path: hashing.PathLike, *, files_to_hash: object = None) -> Manifest:
            return Manifest(Path(str(model_path)).name, items, kind)

    return HandingOver()  # type: ignore[no-untyped-call]  # model_signing gives its constructor no annotations
