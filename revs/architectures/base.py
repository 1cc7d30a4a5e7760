"""What the editor has to know of a model family: where its parts are, and how its final norm works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Names of the parts of one family.

    Attributes:
        layers: path of the list of decoder layers.
        mlp_out: path, inside a layer, of the MLP's second matrix (FF2), an `nn.Linear` of shape (d, m).
        final_norm: path of the norm in front of the unembedding.
        norm: "rms" (no mean, no bias) or "layer" (mean removed, may have a bias).
    """

    layers: str
    mlp_out: str
    final_norm: str
    norm: Literal["rms", "layer"]

    def decoder_layers(self, model: nn.Module) -> list[nn.Module]:
        return list(model.get_submodule(self.layers).children())

    def ff2(self, layer: nn.Module) -> nn.Linear:
        module = layer.get_submodule(self.mlp_out)
        assert isinstance(module, nn.Linear)
        return module

    def ff2_name(self, layer: int) -> str:
        """Name of the FF2 weight of layer number `layer` in the model's state dict."""
        return f"{self.layers}.{layer}.{self.mlp_out}.weight"

    def norm_module(self, model: nn.Module) -> nn.Module:
        return model.get_submodule(self.final_norm)
