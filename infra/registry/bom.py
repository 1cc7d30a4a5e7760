"""A version's bill of materials in CycloneDX 1.6, of what never changes of it: the same version gives the same bytes.

The library knows no model card yet, so that part is put into what it wrote. Status, alias and approval are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, uuid5

from infra.registry.signatures import Signature
from revs.errors import BadInput

if TYPE_CHECKING:
    from cyclonedx.model import HashType, Property
    from cyclonedx.model.component import Component

_TASK: Final = "text-generation"
_NOT_ON_PYPI: Final = ("revs", "python")


def write_bom(versions: Sequence[Mapping[str, Any]], *, name: str, signature: Signature | None, to: Path) -> None:
    """Write the bill of materials of a version.

    Args:
        versions: the version and its ancestors, newest first, as `tasks.versions.described` tells them.
        name: of the model.
        signature: of the version; None: its files are not listed.
        to: the file, replaced if it is there.

    Raises:
        BadInput: the file cannot be written.
    """
    text = bill_of_materials(versions, name=name, signature=signature)
    try:
        to.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{to} cannot be written ({error.strerror}); name a file in a folder that is there") from None


def bill_of_materials(versions: Sequence[Mapping[str, Any]], *, name: str, signature: Signature | None) -> str:
    """The text of the bill; arguments as of `write_bom`."""
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Pedigree
    from cyclonedx.output.json import JsonV1Dot6

    own = versions[0]
    digest = own["weights"] if signature is None else signature.root
    model = _model(name, own, signature)
    model.pedigree = Pedigree(ancestors=[_model(name, each, None) for each in versions[1:]])
    parts = [*_data(own["datasets"]), *_packages(own["versions"])]
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, f"{own['uri']} {digest}"),
        metadata=BomMetaData(timestamp=datetime.fromisoformat(own["registered"]), component=model),
        components=parts,
    )
    bom.register_dependency(model, parts)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    document["metadata"]["component"]["modelCard"] = _card(own)
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _model(name: str, version: Mapping[str, Any], signature: Signature | None) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    files = {} if signature is None else signature.files
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=version["uri"],
        name=name,
        version=version["version"],
        hashes=_hashes(version["weights"]),
        properties=_properties(_facts(version)),
        components=[
            Component(type=ComponentType.FILE, bom_ref=f"{version['uri']}/{path}", name=path, hashes=_hashes(digest))
            for path, digest in sorted(files.items())
        ],
    )


def _facts(version: Mapping[str, Any]) -> dict[str, str | None]:
    """What CycloneDX has no field for; the digest of the weights is that of the tensors, however they are cut."""
    patch, policy = version["patch"], version["policy"]
    return {
        "revs:hash": "SHA-256 of the tensors by name, not of a file" if version["weights"] else None,
        "revs:batch": version["batch"],
        "revs:signer": version["signer"],
        "revs:parent": version["parent"],
        "revs:code": version["code_commit"],
        "revs:configuration": version["config"],
        "revs:patch": None if patch is None else patch["digest"],
        "revs:patch:tensors": None if patch is None else str(len(patch["tensors"])),
        "revs:requests": str(len(version["requests"])) if version["requests"] else None,
        "revs:policy": None if policy is None else policy["digest"],
        "revs:verdict": version["verdict"],
    }


def _data(datasets: Iterable[Mapping[str, Any]]) -> list[Component]:
    """Data sets under their pseudonyms. Their digests are keyed, so they are no hashes of CycloneDX's kind."""
    from cyclonedx.model.component import Component, ComponentType

    return [
        Component(
            type=ComponentType.DATA,
            bom_ref=f"data/{number}",
            name=str(each["name"]),
            properties=_properties(
                {
                    "revs:role": each["role"],
                    "revs:rows": None if each["rows"] is None else str(each["rows"]),
                    "revs:keyed-digest": each["digest"],
                    "revs:reference": each["reference"],
                }
            ),
        )
        for number, each in enumerate(datasets)
    ]


def _packages(versions: Mapping[str, str]) -> list[Component]:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    return [
        Component(
            type=ComponentType.PLATFORM if name == "python" else ComponentType.LIBRARY,
            bom_ref=f"package/{name}",
            name=name,
            version=number,
            purl=None if name in _NOT_ON_PYPI else PackageURL("pypi", None, name.replace("_", "-"), number),
        )
        for name, number in sorted(versions.items())
    ]


def _card(version: Mapping[str, Any]) -> dict[str, Any]:
    """CycloneDX's model card: what the model is for, the data sets, and each metric on the version and its controls."""
    parameters: dict[str, Any] = {"task": _TASK}
    if version["architecture"] is not None:
        parameters["modelArchitecture"] = version["architecture"]
    parameters["datasets"] = [{"ref": f"data/{number}"} for number in range(len(version["datasets"]))]
    metrics = [
        {"type": metric, "value": repr(value), "slice": part}
        for part, values in sorted(version["metrics"].items())
        for metric, value in sorted(values.items())
        if value is not None
    ]
    return {"modelParameters": parameters, "quantitativeAnalysis": {"performanceMetrics": metrics}}


def _hashes(digest: str | None) -> list[HashType]:
    from cyclonedx.model import HashAlgorithm, HashType

    return [] if digest is None else [HashType(alg=HashAlgorithm.SHA_256, content=digest.rpartition(":")[2])]


def _properties(facts: Mapping[str, str | None]) -> list[Property]:
    from cyclonedx.model import Property

    return [Property(name=name, value=value) for name, value in facts.items() if value is not None]
