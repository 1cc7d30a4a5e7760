"""A patch: the exact change to the weights, with the old values kept, so that undoing copies and never subtracts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from revs.digest import tensor_digest
from revs.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_FORMAT = "revs.patch/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """What happened to one target token: numbers only, no text and no token id.

    Attributes:
        target: index of the target in the list given to `erase`; of a target given twice, the first.
        place: position of the token in the secret, from 0; length: number of tokens of the secret.
        rank_before, rank_after: in the model's own logits.
        wanted: the rank asked for.
        layers: number of layers that moved it.
        stopped: "already" (nothing to do), "reached" (at least `low_rank` now), "short" (still below it).
    """

    target: int
    place: int
    length: int
    rank_before: int
    rank_after: int
    wanted: int
    layers: int
    stopped: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """The old and new values of every touched weight. Reveals what was erased: store it as a secret, or not at all."""

    before: Mapping[str, Tensor] = field(repr=False)
    after: Mapping[str, Tensor] = field(repr=False)
    method: str
    config: Mapping[str, Any]
    records: tuple[TokenRecord, ...] = ()
    sweeps: int = 0
    seconds: float = 0.0

    def apply(self, model: PreTrainedModel) -> None:
        """Set the new values; the model must hold exactly the old ones. Nothing is touched otherwise."""
        self._exchange(model, self.before, self.after, "apply")

    def revert(self, model: PreTrainedModel) -> None:
        """Set the old values, bit for bit; the model must hold exactly the new ones. Nothing is touched otherwise."""
        self._exchange(model, self.after, self.before, "revert")

    def _exchange(
        self, model: PreTrainedModel, present: Mapping[str, Tensor], wanted: Mapping[str, Tensor], verb: str
    ) -> None:
        parameters = dict(model.named_parameters())
        for name, expected in present.items():
            held = parameters.get(name)
            if held is None or held.shape != expected.shape or held.dtype != expected.dtype:
                raise BadInput(
                    f"cannot {verb} this patch: the model has no weight {name} of shape {tuple(expected.shape)} "
                    f"and {expected.dtype}; use the model it was made on"
                )
            if not torch.equal(held.detach().cpu(), expected):
                raise BadInput(
                    f"cannot {verb} this patch: the model's {name} has digest {tensor_digest(held)[:19]}…, the patch "
                    f"expects {tensor_digest(expected)[:19]}…; use the model it was made on"
                )
        with torch.no_grad():
            for name, value in wanted.items():
                parameters[name].copy_(value)

    def save(self, folder: str | Path) -> Path:
        """Write `patch.safetensors` and `manifest.json` into a new folder, readable by its owner only.

        Raises:
            BadInput: the folder exists and is not empty, or is a file.
        """
        from safetensors.torch import save_file

        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BadInput(f"{folder} is not an empty folder; save the patch into a new one")
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)  # mkdir's mode is lost on a folder that existed
        tensors = {f"before/{k}": v for k, v in self.before.items()} | {f"after/{k}": v for k, v in self.after.items()}
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "patch.safetensors")
        manifest: dict[str, Any] = {
            "format": _FORMAT,
            "library": version("revs"),
            "method": self.method,
            "config": dict(self.config),
            "sweeps": self.sweeps,
            "seconds": self.seconds,
            "records": [asdict(record) for record in self.records],
            "digests": {name: tensor_digest(tensor) for name, tensor in tensors.items()},
        }
        manifest["digest"] = _manifest_digest(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Patch:
        """Read a saved patch and check it against its digests, which catch damage, not a forger who renews them.

        Raises:
            BadInput: no patch there, another format, or a file that was cut or changed.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = Path(folder)
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            tensors = load_file(folder / "patch.safetensors")
        except (OSError, ValueError, SafetensorError) as error:
            raise BadInput(
                f"{folder} holds no readable patch ({type(error).__name__}); give the folder Patch.save wrote"
            ) from None
        found = manifest.get("format") if isinstance(manifest, dict) else None
        if found != _FORMAT:
            raise BadInput(f"{folder} is of format {found!r}; this version reads {_FORMAT!r}")
        if manifest.get("digest") != _manifest_digest(manifest):
            raise BadInput(f"{folder}: manifest.json is not as Patch.save wrote it; take an unchanged copy")
        if manifest["digests"] != {name: tensor_digest(tensor) for name, tensor in tensors.items()}:
            raise BadInput(f"{folder}: patch.safetensors is not what its manifest describes; take an unchanged copy")
        parts = {
            side: {k.removeprefix(side): v for k, v in tensors.items() if k.startswith(side)}
            for side in ("before/", "after/")
        }
        return cls(
            before=parts["before/"],
            after=parts["after/"],
            method=manifest["method"],
            config=manifest["config"],
            records=tuple(TokenRecord(**record) for record in manifest["records"]),
            sweeps=manifest["sweeps"],
            seconds=manifest["seconds"],
        )


def _manifest_digest(manifest: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return f"sha256:{hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}"
