"""The change from a version's parent to it as a LoRA adapter, for those who serve adapters on a base that stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.registry.records import PARENT
from infra.settings import Settings
from revs.errors import BadInput
from tasks.batch.stage import open_registry, open_store
from tasks.versions.lineage import require_on_record


def export_adapter(settings: Settings, model_uri: str, folder: Path) -> dict[str, Any]:
    """Write the difference between a version and the one it was made from as an adapter of PEFT.

    Args:
        settings: the installation.
        model_uri: a version that a batch made.
        folder: new, or empty.

    Returns:
        `model`, `base` (its parent), `folder`, `rank` (the largest).

    Raises:
        BadInput: no such version, nobody edited it, or the folder is not empty or cannot be made.
        OperationFailed: one of the two is not what was registered, or its bytes are gone.
    """
    import torch

    import revs
    from revs.model.offload import stored_transposed
    from revs.patch.checkpoint import private_folder
    from revs.patch.patch import Patch

    registry, store = open_registry(settings), open_store(settings)
    version = registry.resolve(model_uri)
    if (number := version.tags.get(PARENT)) is None:
        raise BadInput(f"{version.uri} is a base version: there is no edit to write as an adapter")
    parent = registry.resolve(f"models:/{version.name}/{number}")
    for each in (version, parent):
        require_on_record(store, each, registry.evidence(each))
    private_folder(folder, "adapter")  # a folder that cannot be used is told before two models are read
    base = registry.download(parent)
    model, edited = (revs.load(place, dtype="auto")[0] for place in (base, registry.download(version)))
    before, after = ({name: each.detach() for name, each in of.named_parameters()} for of in (model, edited))
    changed = [name for name, weight in before.items() if not torch.equal(weight, after[name])]
    patch = Patch.between(
        {name: before[name] for name in changed}, {name: after[name] for name in changed}, copied=True,
        transposed=stored_transposed(model, changed), method="difference", config={},
    )  # fmt: skip
    rank = patch.to_lora(folder, base=base)
    return {"model": version.uri, "base": parent.uri, "folder": str(folder), "rank": rank}
