"""What the editor has to know of a model family: where its parts are, and how they add to the residual stream.

Legend of shape suffixes: X any leading dimensions, N keys, m width of the keys, d hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from revs.errors import BadInput
from revs.model.offload import held, put

_SMALLEST_GAIN = 1e-3  # of the largest: below it a norm after the writers lets nothing through


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Names of the parts of one family.

    Attributes:
        layers: path of the list of decoder layers.
        writers: paths, inside a layer, of the matrices whose outputs are added to the residual stream at its end, each
            an `nn.Linear` or a `Conv1D` (which stores its weight transposed): the MLP's second matrix (FF2), and where
            attention and MLP run side by side, also the attention's output. There, FF2 alone cannot tell two people
            apart in the first layer: it has seen nothing but the current token.
        final_norm: path of the norm in front of the unembedding.
        norm: "rms" (no mean, no bias) or "layer" (mean removed, may have a bias).
        gain_offset: what an RMSNorm of this family adds to its weight: 1 in Gemma, else 0.
        post_norm: path, inside a layer, of an RMSNorm between the writers and the residual stream, if there is one.
        scale: what the writers' output is multiplied with before it is added.
        logit_scale: what the unembedding's output is multiplied with: 1 / `logits_scaling` in Granite, else 1.
        logit_cap: the bound c of the logits, c·tanh(logit / c), in Gemma 2; None: they have none.
    """

    layers: str
    writers: tuple[str, ...]
    final_norm: str
    norm: Literal["rms", "layer"]
    gain_offset: float = 0.0
    post_norm: str | None = None
    scale: float = 1.0
    logit_scale: float = 1.0
    logit_cap: float | None = None

    def decoder_layers(self, model: nn.Module) -> list[nn.Module]:
        return list(model.get_submodule(self.layers).children())

    def linears(self, layer: nn.Module) -> list[nn.Module]:
        """The writers of one layer. Together they are one matrix (d, m) over the concatenated inputs: the key.

        Raises:
            BadInput: one of them is no plain layer, as where the model is quantised, or wrapped for training.
        """
        modules = [layer.get_submodule(path) for path in self.writers]
        for path, module in zip(self.writers, modules, strict=True):
            if not isinstance(module, nn.Linear | Conv1D) or "weight" not in module._parameters:
                raise BadInput(
                    f"{path} is a {type(module).__name__}, not a layer with a plain weight; give the model as its "
                    "checkpoint has it, not quantised, wrapped or reparametrised"
                )
        return modules

    def matrices(self, layer: nn.Module) -> list[Tensor]:
        """The writers' weights, each as (d, its own width), to read only."""
        weights = [held(module) for module in self.linears(layer)]
        return [weight.T if flip else weight for weight, flip in zip(weights, self.transposed(layer), strict=True)]

    def set_matrix(self, layer: nn.Module, writer: int, matrix_dm: Tensor) -> None:
        """Write one writer's weight, given as (d, its own width), back to where the model keeps it."""
        put(self.linears(layer)[writer], "weight", matrix_dm.T if self.transposed(layer)[writer] else matrix_dm)

    def transposed(self, layer: nn.Module) -> list[bool]:
        """Of each writer, whether its weight is stored as (its own width, d)."""
        return [isinstance(module, Conv1D) for module in self.linears(layer)]

    def widths(self, layer: nn.Module) -> list[int]:
        """Widths of the inputs of the writers."""
        shapes = [module.get_parameter("weight").shape for module in self.linears(layer)]
        return [shape[0 if flip else 1] for shape, flip in zip(shapes, self.transposed(layer), strict=True)]

    def key_width(self, layer: nn.Module) -> int:
        """m, the width of the key."""
        return sum(self.widths(layer))

    def weight(self, layer: nn.Module) -> Tensor:
        """A copy of the weights of all writers side by side, (d, m)."""
        first_dm, *others = self.matrices(layer)
        return torch.cat([first_dm, *(matrix_dm.to(first_dm.device) for matrix_dm in others)], dim=1)

    def set_weight(self, layer: nn.Module, weight_dm: Tensor) -> None:
        """Write them back."""
        for writer, part_dm in enumerate(torch.split(weight_dm, self.widths(layer), dim=1)):
            self.set_matrix(layer, writer, part_dm)

    def weight_names(self, layer: int) -> list[str]:
        """Names of the writers' weights of layer number `layer` in the model's state dict."""
        return [f"{self.layers}.{layer}.{path}.weight" for path in self.writers]

    def norm_module(self, model: nn.Module) -> nn.Module:
        return model.get_submodule(self.final_norm)

    def own_logits(self, logits_XV: Tensor) -> Tensor:
        """Turn what the unembedding gives into the model's own logits, of which log-probabilities are made.

        Differentiable. It changes no rank: it is monotonic.
        """
        logits_XV = logits_XV * self.logit_scale if self.logit_scale != 1 else logits_XV
        return logits_XV if self.logit_cap is None else self.logit_cap * (logits_XV / self.logit_cap).tanh()

    def residual_change(self, layer: nn.Module, keys_Xm: Tensor, old_dm: Tensor, change_dm: Tensor) -> Tensor:
        """By how much the layer's output at `keys_Xm` moves when `change_dm` is added to the writers' `old_dm`."""
        if self.post_norm is None:
            return self.scale * (keys_Xm @ change_dm.T)
        norm = layer.get_submodule(self.post_norm)
        moved: Tensor = norm(keys_Xm @ (old_dm + change_dm).T) - norm(keys_Xm @ old_dm.T)
        return self.scale * moved

    def pull_back(self, layer: nn.Module, keys_Nm: Tensor, gradients_Nd: Float[Tensor, "N d"]) -> Float[Tensor, "N d"]:
        """Gradients with respect to the layer's output, one per key, as gradients with respect to the writers' output.

        Of a norm after the writers, y ↦ p∘y/σ, this is its Jacobian at the key's present output: to first order, which
        the sweeps make good.
        """
        gradients_Nd = self.scale * gradients_Nd
        if self.post_norm is None:
            return gradients_Nd
        out_Nd = keys_Nm.double() @ self.weight(layer).to(keys_Nm.device).double().T
        sigma_N1 = (out_Nd.square().mean(-1, keepdim=True) + 1e-12).sqrt()
        unit_Nd = out_Nd / sigma_N1
        scaled_Nd = gradients_Nd * self._post_gain(layer).to(gradients_Nd.device)
        along_N1 = (scaled_Nd * unit_Nd).mean(-1, keepdim=True)
        return (scaled_Nd - along_N1 * unit_Nd) / sigma_N1

    def undo_gain(self, layer: nn.Module, rows_Nd: Float[Tensor, "N d"]) -> Float[Tensor, "N d"]:
        """Rows divided by the gain between the writers' output and the residual stream."""
        if self.post_norm is None:
            return rows_Nd
        gain_d = self._post_gain(layer).to(rows_Nd.device)
        floor = _SMALLEST_GAIN * gain_d.abs().max()
        return rows_Nd / torch.where(gain_d.abs() < floor, floor, gain_d)

    def _post_gain(self, layer: nn.Module) -> Tensor:
        assert self.post_norm is not None
        return held(layer.get_submodule(self.post_norm)).double() + self.gain_offset
