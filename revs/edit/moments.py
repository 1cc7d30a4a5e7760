"""Second moments of the keys (inputs of the edited matrices) over text that the edit should leave alone.

The least-squares edit weighs a change at a key by how often such keys occur elsewhere: C = E[k kᵀ] (as in ROME, Meng et
al. 2022). Ordinary text is read in random order until there is enough of it (`revs.edit.text_moments`), retained
records whole.

C is square in the width of the MLP: 0.8 GB a layer at m = 14,336. So no more than `HELD` bytes of it are in memory at a
time; where all layers take more, they are gathered in groups of layers, each group in passes that end after its last
layer, and wait in a temporary folder until their layer is edited.

Legend: B batch, T positions, m width of the MLP, n target tokens, L layers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from revs.edit.text_moments import Progress, TextMoments, add_keys, batches_of
from revs.model.hooks import pad_id
from revs.model.offload import device_of
from revs.targets.tokenize import TokenisedTarget

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.config import EraseConfig
    from revs.model.adapter import Architecture

HELD = 2**31  # bytes

__all__ = ["HELD", "Moments", "Progress"]


class Moments:
    """C of every layer: ordinary text at weight 1, retained records and what was edited before at `retain_weight`."""

    def __init__(self, model: PreTrainedModel, architecture: Architecture, weight: float) -> None:
        layers = architecture.decoder_layers(model)
        self._widths = [architecture.key_width(layer) for layer in layers]
        self._devices, self._weight = [device_of(architecture.linears(layer)[0]) for layer in layers], weight
        self._held: dict[int, Tensor] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
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

        Args:
            model: is not changed.
            architecture: of the model.
            tokenizer: of the model.
            text: ordinary text; what is longer than the context is read in windows.
            retain: records that must keep working: the places that predict their secrets count.
            config: `retain_weight`, `batch_size`, and the `seed` of the order in which text is read.
            cache: a folder in which the moments of the text are kept, and found again: see `TextMoments`.
            progress: called with ("text", passes done, passes in all, if all of the text were read).
        """
        moments = cls(model, architecture, config.retain_weight)
        of_text = TextMoments(model, architecture, tokenizer, text, config, cache)
        if not of_text.windows and not retain:
            return moments
        records = batches_of(model, retain, pad=pad_id(model, tokenizer), rows=config.batch_size)
        groups = moments._groups()
        of_text.tell(progress, passes=len(groups), also=len(groups) * len(records))
        try:
            for group in groups:
                moment_Lmm = of_text.of(group)
                places = sum(len(record.secret_ids) for record in retain)
                for batch in records:
                    alpha = config.retain_weight / places
                    add_keys(model, architecture, batch, moment_Lmm, alpha=alpha, only_secrets=True)
                    of_text.told()
                for layer, moment_mm in moment_Lmm.items():
                    moments._keep(layer, moment_mm)
        except BaseException:
            moments.close()
            raise
        finally:
            of_text.close()
        return moments

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
        """Remove the temporary folder, if there is one."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _groups(self) -> list[range]:
        """Runs of layers whose moments fit into `HELD` together."""
        layers = len(self._widths)
        size = max(1, HELD // (4 * max(self._widths) ** 2))
        return [range(start, min(start + size, layers)) for start in range(0, layers, size)]

    def _keep(self, layer: int, moment_mm: Tensor) -> None:
        if len(self._groups()) == 1:
            self._held[layer] = moment_mm
            return
        from safetensors.torch import save_file

        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="moments-")
        save_file({"moment": moment_mm.cpu()}, self._file(layer))

    def _gathered(self, layer: int) -> Tensor:
        if layer in self._held:
            return self._held[layer]
        if self._folder is None:
            return torch.eye(self._widths[layer], device=self._devices[layer])
        from safetensors.torch import load_file

        return load_file(self._file(layer))["moment"].to(self._devices[layer])

    def _file(self, layer: int) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / f"{layer}.safetensors"
