"""What the editor has to know of a model family: where its parts are, and how its final norm works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Names of the parts of one family.

    Attributes:
        layers: path of the list of decoder layers.
        writers: paths, inside a layer, of the matrices whose outputs are added to the residual stream at its end, each
            an `nn.Linear` of shape (d, its own width): the MLP's second matrix (FF2), and where attention and MLP run
            side by side, also the attention's output. There, FF2 alone cannot tell two people apart in the first layer:
            it has seen nothing but the current token.
        final_norm: path of the norm in front of the unembedding.
        norm: "rms" (no mean, no bias) or "layer" (mean removed, may have a bias).
    """

    layers: str
    writers: tuple[str, ...]
    final_norm: str
    norm: Literal["rms", "layer"]

    def decoder_layers(self, model: nn.Module) -> list[nn.Module]:
        return list(model.get_submodule(self.layers).children())

    def linears(self, layer: nn.Module) -> list[nn.Linear]:
        """The writers of one layer. Together they are one matrix (d, m) over the concatenated inputs: the key."""
        modules = [layer.get_submodule(path) for path in self.writers]
        assert all(isinstance(module, nn.Linear) for module in modules)
        return modules  # type: ignore[return-value]

    def key_width(self, layer: nn.Module) -> int:
        """m, the width of the key."""
        return sum(linear.in_features for linear in self.linears(layer))

    def weight(self, layer: nn.Module) -> Tensor:
        """A copy of the weights of all writers side by side, (d, m)."""
        return torch.cat([linear.weight.detach() for linear in self.linears(layer)], dim=1)

    def set_weight(self, layer: nn.Module, weight_dm: Tensor) -> None:
        """Write them back."""
        linears = self.linears(layer)
        with torch.no_grad():
            parts = torch.split(weight_dm, [linear.in_features for linear in linears], dim=1)
            for linear, part in zip(linears, parts, strict=True):
                linear.weight.copy_(part)

    def weight_names(self, layer: int) -> list[str]:
        """Names of the writers' weights of layer number `layer` in the model's state dict."""
        return [f"{self.layers}.{layer}.{path}.weight" for path in self.writers]

    def norm_module(self, model: nn.Module) -> nn.Module:
        return model.get_submodule(self.final_norm)
