"""A patch: the exact change to the weights, in a small form that brings back either side bit for bit.

Each weight is kept as `revs.patch.encode` describes it, with the digests of both its sides, from when that is asked for
(`revs.patch.changes`). Nothing is written to a model before every new value has been reconstructed and has the digest
that was recorded: check, then touch.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from revs.errors import BadInput
from revs.model.digest import tensor_digest
from revs.model.offload import Weights
from revs.patch.changes import Changes
from revs.patch.checkpoint import private_folder, rewrite_checkpoint
from revs.patch.encode import Factors, WeightChange, check_factors, no_such_weight
from revs.patch.lora import write_lora

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_FORMAT = "revs.patch/2"
_TENSORS = ("left", "right", "corrections", "differences")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """What happened to one target token: numbers only, no text and no token id.

    Attributes:
        target: index of the target in the list given to `erase`; of a target given twice, the first.
        place: position of the token in the secret, from 0; length: number of tokens of the secret.
        rank_before, rank_after: in the model's own logits.
        wanted: the rank asked for.
        layers: number of layers that moved it; columns: number of columns changed for it there, over all these layers.
        stopped: "already" (nothing to do), "reached" (at least `low_rank` now), "short" (still below it, as it is or
            after one of the roundings that it had to survive).
        rank_rounded: the lowest rank in the model's own logits after those roundings; None where none was asked for.
    """

    target: int
    place: int
    length: int
    rank_before: int
    rank_after: int
    wanted: int
    layers: int
    columns: int
    stopped: str
    rank_rounded: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Patch:
    """The change of every touched weight. Reveals what was erased: store it as a secret, or not at all.

    Two patches are equal when they change the same weights from the same values to the same values, to the bit;
    method, settings and records do not count.

    Attributes:
        changes: of each weight, by name. Each is encoded when it is first looked at, or the patch saved; until then
            both sides of it are in memory.
        transposed: weights that are stored (in, out), as in a Conv1D; None: not known.
        method, config, records, sweeps, seconds: of the edit.
    """

    changes: Changes
    transposed: tuple[str, ...] | None = None
    method: str
    config: Mapping[str, Any]
    records: tuple[TokenRecord, ...] = ()
    sweeps: int = 0
    seconds: float = 0.0

    @classmethod
    def between(
        cls,
        before: Mapping[str, Tensor],
        after: Mapping[str, Tensor],
        *,
        copied: bool = False,
        factors: Mapping[str, Factors] | None = None,
        transposed: tuple[str, ...] | None = None,
        method: str,
        config: Mapping[str, Any],
        records: tuple[TokenRecord, ...] = (),
        sweeps: int = 0,
        seconds: float = 0.0,
    ) -> Patch:
        """The patch from the values `before` to the values `after`, which are copied.

        Args:
            before: values by the names of the model's parameters; floating dtypes, any device.
            after: the same names, shapes and dtypes.
            copied: `before` is a copy on the CPU already, which nobody will write to: it is kept as it is.
            factors: for some of the weights, left (d, r) and right (r, m) whose product is about after − before. They
                make the patch smaller, and no less exact when they are off.
            transposed: names of those that are stored (in, out), as in a Conv1D, for `to_lora`; None: not known.
            method: key of `revs.METHODS`, kept as it is.
            config: settings of the edit, the same.
            records: one per target token, the same.
            sweeps: passes made, the same.
            seconds: what the edit took, the same.

        Raises:
            BadInput: before and after do not fit each other, or factors do not fit their weight.
        """
        if before.keys() != after.keys():
            odd = sorted(before.keys() ^ after.keys())[0]
            raise BadInput(f"{odd} is given on one side of the patch only; give before and after of the same weights")
        for name, old in before.items():
            if old.shape != after[name].shape or old.dtype != after[name].dtype or not old.dtype.is_floating_point:
                raise BadInput(
                    f"{name} is {tuple(old.shape)}, {old.dtype} before and {tuple(after[name].shape)}, "
                    f"{after[name].dtype} after; give floating-point weights of one shape and dtype"
                )
        known = factors or {}
        for name in known.keys() & before.keys():
            check_factors(tuple(before[name].shape), known[name])
        return cls(
            changes=Changes.between(before, after, known, copied=copied),
            transposed=transposed,
            method=method,
            config=json.loads(json.dumps(dict(config))),  # as a saved patch gives it back
            records=records,
            sweeps=sweeps,
            seconds=seconds,
        )

    def __eq__(self, other: object) -> bool:
        return self.changes.ends() == other.changes.ends() if isinstance(other, Patch) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self.changes.ends().items()))

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weights whose values change."""
        return self.changes.changed

    @property
    def short(self) -> tuple[int, ...]:
        """Numbers of the targets, in the list given to `erase`, of which a target token still ranks too high."""
        return tuple(sorted({record.target for record in self.records if record.stopped == "short"}))

    def summary(self) -> str:
        """What was done, in one line of numbers: nothing in it tells what was erased."""
        ended = Counter(record.stopped for record in self.records)
        ends = ", ".join(f"{ended[end]} {end}" for end in ("reached", "already", "short") if ended[end])
        targets = len({record.target for record in self.records})
        short = f"; short: targets {', '.join(map(str, self.short))}" if self.short else ""
        return (
            f"{self.method}: {len(self.records)} target tokens of {targets} targets ({ends or 'none'}){short}; "
            f"{len(self.weights)} weights changed in {self.sweeps} sweeps, {self.seconds:.1f} s"
        )

    def __repr__(self) -> str:
        return f"<Patch {self.summary()}>"

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors, in memory and in the file."""
        return sum(change.nbytes for change in self.changes.values())

    def apply(self, model: PreTrainedModel) -> None:
        """Set the new values; the model must hold exactly the old ones. Nothing is touched otherwise.

        All new values are in memory at once, beside the model's, until they are set.

        Raises:
            BadInput: another model, or one that holds the new values already.
            OperationFailed: the patch is damaged.
        """
        self._exchange(model, "apply")

    def revert(self, model: PreTrainedModel) -> None:
        """Set the old values, bit for bit; the model must hold exactly the new ones. Otherwise as `apply`."""
        self._exchange(model, "revert")

    def _exchange(self, model: PreTrainedModel, verb: str) -> None:
        weights = Weights(model)
        for name in self.changes:
            if name not in weights:
                raise no_such_weight(name, self.changes[name], verb)
        wanted = {name: self.changes.exchange(name, weights[name], verb) for name in self.changes}
        for name in self.weights:
            weights[name] = wanted[name]

    def to_lora(self, folder: str | Path, *, base: str | Path | None = None, fan_in_fan_out: bool | None = None) -> int:
        """Write the change as a LoRA adapter of PEFT and return its rank: see `revs.patch.lora.write_lora`."""
        return write_lora(self.changes, folder, transposed=self.transposed, base=base, fan_in_fan_out=fan_in_fan_out)

    def to_checkpoint(self, source: str | Path, out: str | Path) -> Path:
        """Write a copy of a checkpoint folder with the change: see `revs.patch.checkpoint.rewrite_checkpoint`."""
        return rewrite_checkpoint(source, self.changes, out)

    def save(self, folder: str | Path) -> Path:
        """Write `patch.safetensors` and `manifest.json` into a new folder, readable by its owner only.

        Raises:
            BadInput: the folder exists and is not empty, or is a file.
        """
        from safetensors.torch import save_file

        folder = private_folder(folder, "patch")
        tensors = {
            f"{part}/{name}": getattr(change, part)
            for name, change in self.changes.items()
            for part in _TENSORS
            if len(getattr(change, part))
        }
        save_file(tensors, folder / "patch.safetensors")
        manifest: dict[str, Any] = {
            "format": _FORMAT,
            "library": version("revs"),
            "transposed": None if self.transposed is None else list(self.transposed),
            "method": self.method,
            "config": dict(self.config),
            "sweeps": self.sweeps,
            "seconds": self.seconds,
            "records": [asdict(record) for record in self.records],
            "weights": {name: _described(change) for name, change in self.changes.items()},
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
        return cls(
            changes=Changes({name: _change(name, about, tensors) for name, about in manifest["weights"].items()}),
            transposed=None if manifest.get("transposed") is None else tuple(manifest["transposed"]),
            method=manifest["method"],
            config=manifest["config"],
            records=tuple(TokenRecord(**record) for record in manifest["records"]),
            sweeps=manifest["sweeps"],
            seconds=manifest["seconds"],
        )


def _described(change: WeightChange) -> dict[str, Any]:
    """A change without its tensors, as JSON has it."""
    about = {part.name: getattr(change, part.name) for part in fields(change) if part.name not in _TENSORS}
    return about | {"dtype": str(change.dtype).removeprefix("torch.")}


def _change(name: str, about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> WeightChange:
    """The inverse of `_described`; empty tensors were not stored."""
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in about.items()}
    nothing = torch.empty(0, dtype=torch.uint8)
    parts = {part: tensors.get(f"{part}/{name}", nothing) for part in _TENSORS}
    return WeightChange(**(values | parts | {"dtype": getattr(torch, about["dtype"])}))


def _manifest_digest(manifest: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return f"sha256:{hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}"
