"""How much each key entry carries a target token: |∂ log p(token) / ∂ key × key|, from one backward pass.

Legend of shape suffixes: R target tokens (one row each), T positions, m width of the key, d hidden, N target tokens.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from revs.model.batch import TOKENS_AT_ONCE, Batch, rows_within
from revs.model.vocabulary import Unembedding

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.model.adapter import Architecture


def key_saliency(
    model: PreTrainedModel, architecture: Architecture, unembedding: Unembedding, batch: Batch, *, batch_size: int
) -> list[Float[Tensor, "N m"]]:
    """|gradient × key| of every FF2 matrix's key, per target token at the position that predicts it; by layer.

    Every target token gets a row of its own, so the gradient of one never mixes with that of a later one in the same
    text. The model is left as it is: no gradient is stored in any weight.
    """
    chosen = batch.chosen_N.nonzero().flatten()
    # A backward pass holds at once what a forward pass holds of one layer after the other.
    tokens = TOKENS_AT_ONCE // len(architecture.decoder_layers(model))
    at_once = rows_within(batch.ids_BT.shape[1], batch_size, tokens=tokens)
    parts = [_of_rows(model, architecture, unembedding, batch, rows) for rows in torch.split(chosen, at_once)]
    return [torch.cat(layer) for layer in zip(*parts, strict=True)]


def _of_rows(
    model: PreTrainedModel, architecture: Architecture, unembedding: Unembedding, batch: Batch, studied: Tensor
) -> list[Tensor]:
    rows, positions, tokens_R = batch.row_N[studied], batch.position_N[studied], batch.token_N[studied]
    each = torch.arange(len(studied), device=rows.device)
    keys_RTm: list[Tensor] = []
    final_RTd: list[Tensor] = []

    def keep(into: list[Tensor]) -> Any:
        return lambda _module, inputs: into.append(inputs[0])

    with ExitStack() as stack, torch.enable_grad():
        for layer in architecture.decoder_layers(model):
            stack.callback(architecture.linears(layer)[0].register_forward_pre_hook(keep(keys_RTm)).remove)
        stack.callback(architecture.norm_module(model).register_forward_pre_hook(keep(final_RTd)).remove)
        # Gradients flow from the embeddings on, also through a model whose weights ask for none.
        embedded_RTd = model.get_input_embeddings()(batch.ids_BT[rows]).detach().requires_grad_()
        model(inputs_embeds=embedded_RTd, attention_mask=batch.mask_BT[rows], use_cache=False, logits_to_keep=1)
        logits_RV = architecture.own_logits(unembedding.logits(final_RTd[0][each, positions]))
        log_p = logits_RV.log_softmax(-1)[each, tokens_R].sum()
        gradients = torch.autograd.grad(log_p, keys_RTm)
    return [
        (gradient[each, positions] * key[each, positions]).abs().detach().float()
        for gradient, key in zip(gradients, keys_RTm, strict=True)
    ]
