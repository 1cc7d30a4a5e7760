"""Second moments of the keys (inputs of the edited matrices) over text that the edit should leave alone.

The least-squares edit weighs a change at a key by how often such keys occur elsewhere: C = E[k kᵀ] (as in ROME, Meng et
al. 2022). C is square in the width of the MLP: 0.8 GB a layer at m = 14,336. So no more than `HELD` bytes of it are in
memory at a time; where all layers take more, they are gathered in groups of layers, each group in passes that end
after its last layer, and wait in a temporary folder until their layer is edited. With a cache that folder stays, so
that another setting on the same model need not gather again: on the demo's model that is half of an edit.

Legend: B batch, T positions, m width of the MLP, n target tokens, L layers.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from revs.model.batch import Batch, batched, windows
from revs.model.digest import tensor_digest
from revs.model.families import context_length
from revs.model.hooks import pad_id, run
from revs.model.offload import Weights, device_of, input_device
from revs.targets.tokenize import TokenisedTarget, collate

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.config import EraseConfig
    from revs.model.adapter import Architecture

HELD = 2**31  # bytes
Progress = Callable[[str, int, int], None]  # stage, done, total


class Moments:
    """C of every layer: ordinary text at weight 1, retained records and what was edited before at `retain_weight`."""

    def __init__(self, model: PreTrainedModel, architecture: Architecture, weight: float) -> None:
        layers = architecture.decoder_layers(model)
        self._widths = [architecture.key_width(layer) for layer in layers]
        self._devices, self._weight = [device_of(architecture.linears(layer)[0]) for layer in layers], weight
        self._held: dict[int, Tensor] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._entry: Path | None = None  # of the cache
        self._settled: dict[int, Sequence[Tensor]] = {}

    @classmethod
    def gathered(
        cls,
        model: PreTrainedModel,
        architecture: Architecture,
        tokenizer: PreTrainedTokenizerBase,
        text: Sequence[str],
        retain: Sequence[TokenisedTarget],
        config: EraseConfig,
        cache: Path | None = None,
        progress: Progress | None = None,
    ) -> Moments:
        """Read the text and the retained records in forward passes; without either, C is the identity.

        A text that is longer than the context is read whole, in windows.

        With `cache`, a folder, what was read is kept there, for its owner only, and found again by the digest of all
        that decides it. `progress` is called with ("text", passes done, passes in all).
        """
        moments = cls(model, architecture, config.retain_weight)
        ordinary = [
            TokenisedTarget(ids=ids, start=len(ids) - 1, chosen=())
            for ids in windows(tokenizer, text, context_length(model))
        ]
        if not ordinary and not retain:
            return moments
        pad = pad_id(model, tokenizer)

        def batches(some: Sequence[TokenisedTarget]) -> list[Batch]:
            some = sorted(some, key=lambda target: len(target.ids))  # little padding
            numbers = batched([len(target.ids) for target in some], config.batch_size)
            return [collate([some[n] for n in group], pad=pad, device=input_device(model)) for group in numbers]

        entry = None if cache is None else cache / _digest(model, config, ordinary, retain)
        if entry is None or not entry.is_dir():
            moments._gather(model, architecture, (batches(ordinary), batches(retain)), entry, progress)
        moments._entry = entry
        return moments

    def _gather(
        self,
        model: PreTrainedModel,
        architecture: Architecture,
        parts: tuple[Sequence[Batch], Sequence[Batch]],
        entry: Path | None,
        progress: Progress | None,
    ) -> None:
        """Hold the moments of text and retained records, or put them on disk; into `entry` in one step."""
        groups = self._groups()
        passes, done = len(groups) * sum(map(len, parts)), count(1)
        of_text, of_retained = (partial(_told, batches, progress, done, passes) for batches in parts)
        if entry is not None:
            entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(prefix=".moments-", dir=entry.parent)
        try:
            for group in groups:
                text_L = key_moments(model, architecture, of_text(), layers=group)
                retained_L = key_moments(model, architecture, of_retained(), layers=group, only_secrets=True)
                for layer, text_mm, retained_mm in zip(group, text_L, retained_L, strict=True):
                    self._keep(layer, text_mm.add_(retained_mm, alpha=self._weight))
            if entry is not None and self._folder is not None:
                Path(self._folder.name).rename(entry)
        except BaseException:
            self.close()
            raise
        if entry is not None:
            self.close()

    def of(self, layer: int) -> Float[Tensor, "m m"]:
        """C of one layer, float32, where the layer computes."""
        moment_mm = self._gathered(layer)
        count = sum(len(keys_Lnm[layer]) for keys_Lnm in self._settled.values())
        for keys_Lnm in self._settled.values():
            keys_nm = keys_Lnm[layer].to(moment_mm)
            moment_mm = moment_mm + self._weight / count * (keys_nm.T @ keys_nm)
        return moment_mm

    def protect(self, group: int, keys_Lnm: Sequence[Tensor]) -> None:
        """Leave alone what is settled: the keys, by layer, of a group of targets; a group replaces its earlier keys."""
        self._settled[group] = keys_Lnm

    def close(self) -> None:
        """Remove the temporary folder, if there is one; the cache stays."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _groups(self) -> list[range]:
        """Runs of layers whose moments fit into `HELD` together: two sets of them, of text and of retained records."""
        layers = len(self._widths)
        size = max(1, HELD // (2 * 4 * max(self._widths) ** 2))
        return [range(start, min(start + size, layers)) for start in range(0, layers, size)]

    def _keep(self, layer: int, moment_mm: Tensor) -> None:
        if self._folder is None and len(self._groups()) == 1:
            self._held[layer] = moment_mm
            return
        from safetensors.torch import save_file

        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="moments-")
        save_file({"moment": moment_mm.cpu()}, self._file(layer))

    def _gathered(self, layer: int) -> Tensor:
        if layer in self._held:
            return self._held[layer]
        if self._folder is None and self._entry is None:
            return torch.eye(self._widths[layer], device=self._devices[layer])
        from safetensors.torch import load_file

        return load_file(self._file(layer))["moment"].to(self._devices[layer])

    def _file(self, layer: int) -> Path:
        folder = self._entry if self._folder is None else Path(self._folder.name)
        assert folder is not None
        return folder / f"{layer}.safetensors"


def _told(batches: Sequence[Batch], progress: Progress | None, done: Iterator[int], passes: int) -> Iterator[Batch]:
    """The batches; whoever asks for the next is done with the one before."""
    for batch in batches:
        yield batch
        if progress is not None:
            progress("text", next(done), passes)


def _digest(
    model: PreTrainedModel, config: EraseConfig, text: Sequence[TokenisedTarget], retain: Sequence[TokenisedTarget]
) -> str:
    """Of everything that decides the moments, to the bit: 64 hex digits."""
    settings = {key: value for key, value in model.config.to_dict().items() if not key.startswith("_")}
    about = [
        [version("revs"), version("torch"), version("transformers"), input_device(model).type],
        [config.retain_weight, config.batch_size, model.config._attn_implementation, settings],
        [target.ids for target in text],
        [(target.ids, target.start) for target in retain],
        [(name, tensor_digest(weight)) for name, weight in Weights(model).items()],
    ]
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()


def key_moments(
    model: PreTrainedModel,
    architecture: Architecture,
    batches: Iterable[Batch],
    *,
    layers: range | None = None,
    only_secrets: bool = False,
) -> list[Tensor]:
    """E[k kᵀ] of `layers` (all by default), float32 (m, m), over all unpadded positions; zeros when there are none.

    With `only_secrets`, over the positions that predict a token of a secret: what a retained record needs.
    """
    modules = architecture.decoder_layers(model)
    layers = layers if layers is not None else range(len(modules))
    widths = {layer: architecture.key_width(modules[layer]) for layer in layers}
    devices = {layer: device_of(architecture.linears(modules[layer])[0]) for layer in layers}
    sums = {layer: torch.zeros(m, m, device=devices[layer]) for layer, m in widths.items()}
    positions = 0

    for batch in batches:
        present_BT = batch.mask_BT.bool()
        if only_secrets:
            present_BT = torch.zeros(present_BT.shape, dtype=torch.bool)
            present_BT[batch.row_N, batch.position_N] = True
        positions += int(present_BT.sum())

        def add(layer: int, keys_BTm: Tensor, _hidden: Tensor, present_BT: Tensor = present_BT) -> None:
            if layer in sums:
                keys_Nm = keys_BTm[present_BT.to(keys_BTm.device)].to(sums[layer])
                sums[layer].addmm_(keys_Nm.T, keys_Nm)

        run(model, architecture, batch, add, last=layers[-1])
    return [total / max(positions, 1) for total in sums.values()]
