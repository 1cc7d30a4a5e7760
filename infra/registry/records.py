"""What a model version carries: the record handed out, its tags' names, and lineage turned into MLflow's shapes."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import rfc8785

from revs.errors import BadInput

CHAMPION: Final = "champion"  # the alias, and the status
PREVIOUS: Final = "previous"  # the alias of what was champion before
SUPERSEDED: Final = "superseded"
ROLLED_BACK: Final = "rolled back"
RETIRED: Final = "retired"

# Tags of a model version (and, the first two, of the run and the stored files it came from).
KEY: Final = "revs.key"  # what the version is, once and for all: the handle of idempotence
STATUS: Final = "revs.status"  # registered | champion | superseded | rolled back | retired
WEIGHTS: Final = "revs.weights"  # digest of the stored weights
EVIDENCE: Final = "revs.evidence"  # SHA-256 of evidence.json
PARENT: Final = "revs.parent"  # version number that was edited
BATCH: Final = "revs.batch_id"
RETIRE_ON: Final = "revs.retire_on"  # ISO date from which the bytes may be deleted
SUPERSEDED_BY: Final = "revs.superseded_by"
RETIRED_ON: Final = "revs.retired_on"  # ISO date since which the bytes are gone
FILES: Final = "revs.files"  # SHA-256 of each file beside the weights, as JSON
SIGNER: Final = "revs.signer"  # fingerprint of the key that signed the version
APPROVED_BY: Final = "revs.approved_by"  # who promoted on insufficient evidence, or declared a new root
NEW_ROOT: Final = "revs.new_root"  # batches whose erasures its training data lacks by itself
DATASET_DIGEST: Final = "revs.digest"  # of an input of the run: the whole digest, which MLflow's own field cuts
CORPUS: Final = "corpus"  # the role of the data set that the requests are sought in
NO_RUN: Final[Mapping[str, str]] = MappingProxyType({})
FOR_THE_NEXT: Final = ("corpus", "held_out", "control")  # what a batch reads of the version that it edits
_RESERVED = frozenset(
    {KEY, STATUS, WEIGHTS, EVIDENCE, PARENT, BATCH, RETIRE_ON, SUPERSEDED_BY, FILES, SIGNER, APPROVED_BY, NEW_ROOT}
    | {RETIRED_ON}
)

_TAG_LIMIT = 5_000  # characters; the smallest limit among the stores MLflow knows
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_. -]{0,98}[A-Za-z0-9_.-])?")
_PERSON = re.compile(r"[^\W_][^\x00-\x1f\x7f]{0,99}")  # whatever names a token of the service among them
_BATCH_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One registered version. `version` is the number as text; `source` is where its files lie."""

    name: str
    version: str
    uri: str
    run_id: str
    source: str
    tags: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def weights(self) -> str | None:
        """Digest of the weights as registered; None for a version that another tool registered."""
        return self.tags.get(WEIGHTS)

    @property
    def was_champion(self) -> bool:
        """Whether it is champion or was, as its tag says: anybody who can write to the registry can set that."""
        return self.tags.get(STATUS) in (CHAMPION, SUPERSEDED, ROLLED_BACK)

    @property
    def approver(self) -> str | None:
        """Who answers for it although evidence is insufficient, or declared it a new root; None where nobody does."""
        return self.tags.get(APPROVED_BY)


def usable_name(name: str) -> bool:
    """Whether a model name is safe in a URI and in a registry query; others are of models that others registered."""
    return _NAME.fullmatch(name) is not None


def checked_name(name: str) -> str:
    """A model name that is safe in a URI and in a registry query."""
    if not usable_name(name):
        raise BadInput(f"model name {name!r} is not usable: letters, digits, '_', '-', '.' and spaces, at most 100")
    return name


def checked_batch_id(batch_id: str) -> str:
    """A batch id that is safe in a registry query."""
    if not _BATCH_ID.fullmatch(batch_id):
        raise BadInput("the batch id is not usable: letters, digits, '_', '-' and '.', at most 100")
    return batch_id


def checked_person(name: str) -> str:
    """The name of a human who answers for a decision, on one line.

    Raises:
        BadInput: it is empty, too long, or holds control characters.
    """
    if not _PERSON.fullmatch(name.strip()):
        raise BadInput(
            "the name of who approves is not usable: give 1 to 100 characters, e.g. --approved-by 'A. Officer'"
        )
    return name.strip()


def canonical_json(document: Mapping[str, Any], *, what: str) -> bytes:
    """RFC 8785 bytes of a document, so that its digest means something.

    Raises:
        BadInput: it holds NaN, an infinity, an integer beyond 2^53 or something that JSON does not know.
    """
    try:
        return bytes(rfc8785.dumps(dict(document)))
    except rfc8785.CanonicalizationError as error:
        kind = type(error).__name__  # the message may quote the value
        raise BadInput(
            f"{what} cannot be written as canonical JSON ({kind}): use finite numbers, text, lists"
        ) from None


def sha256(data: bytes) -> str:
    """`"sha256:"` and 64 hex digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def lineage_tags(lineage: Mapping[str, Any]) -> dict[str, str]:
    """Lineage as `revs.*` tags: lists joined by commas, mappings as JSON, what is too long as its digest.

    `datasets` are left out: they become inputs of the run. The whole of it is in the run's lineage.json.
    """
    tags = {f"revs.{key}": _text(value) for key, value in lineage.items() if key != "datasets" and value is not None}
    if taken := sorted(_RESERVED & tags.keys()):
        raise BadInput(f"lineage may not set {', '.join(taken)}: the registry writes it")
    return tags


def _text(value: object) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, Sequence) and all(isinstance(item, str) for item in value):
        text = ",".join(value)
    else:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= _TAG_LIMIT else f"{sha256(text.encode())} (too long for a tag: see lineage.json)"


def run_tags(run: Mapping[str, str], lineage: Mapping[str, Any]) -> dict[str, str]:
    """Tags of the MLflow run: the Prefect run that made it, and the commit under the name by which MLflow shows it."""
    tags = {
        "prefect.flow_run_id": run.get("id"),
        "prefect.flow_run_url": run.get("page"),
        "mlflow.source.git.commit": lineage.get("code_commit"),
    }
    return {name: str(value) for name, value in tags.items() if value}


def flat_params(config: Mapping[str, Any], prefix: str = "config") -> dict[str, str]:
    """A nested configuration as MLflow parameters: `config.keys.ridge` → `"0.1"`."""
    params: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            params |= flat_params(value, f"{prefix}.{key}")
        else:
            params[f"{prefix}.{key}"] = _text(value)
    return params


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that MLflow's stores and charts can hold; the others stand in the evidence as failed gates."""
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def evidence_of(data: bytes) -> dict[str, Any] | None:
    """Read the evidence of a batch; None where it is no evidence, as a version that was made by hand may have it."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    parts = dict.fromkeys(("model", "scores", "edit", "policy", "batch"), dict)
    lists = dict.fromkeys(("gates", "datasets", "requests"), list)
    if not isinstance(document, dict) or any(
        not isinstance(document.get(name) or kind(), kind) for name, kind in {**parts, **lists}.items()
    ):
        return None
    scored = (document.get("scores") or {}).values()
    return document if all(isinstance(each or {}, dict) for each in scored) else None
