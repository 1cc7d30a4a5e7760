"""Which columns of one FF2 matrix are edited for one token, best first: REVS's own choice and those of its ablations.

A selection is a function from a `Scene` to the column numbers in order of preference; the editor takes as many from
the front as it needs. Where two columns tie, the first of them in the order before goes first.

Legend of shape suffixes: m width of the key, d hidden, C columns; N target tokens, R some of them (one
row each), T positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revs.model.batch import TOKENS_AT_ONCE, Batch, rows_within
from revs.model.vocabulary import Unembedding

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.model.adapter import Architecture

_ROWS = 256  # columns whose logits are held at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a selection may look at: one layer, one token.

    Attributes:
        key_m: the key where the token is predicted.
        weight_dm: the FF2 matrix.
        token: id of the token.
        unembedding: the way from a column to the vocabulary.
        act_filter: how many of the most active columns "rank+activation" looks at.
        saliency_m: |∂ log p(token)/∂ key × key|; asked for by "gradient" alone.
        generator: of "random", on the CPU.
    """

    key_m: Float[Tensor, " m"]
    weight_dm: Float[Tensor, "d m"]
    token: int
    unembedding: Unembedding
    act_filter: int
    saliency_m: Float[Tensor, " m"] | None
    generator: torch.Generator


def by_activation(scene: Scene) -> Int[Tensor, " C"]:
    """The largest |key entry| first: a negative entry writes its column too, with the sign reversed."""
    return scene.key_m.float().abs().argsort(descending=True, stable=True)


def by_rank(scene: Scene) -> Int[Tensor, " C"]:
    """The columns where the token ranks highest first."""
    return _highest_first(scene, torch.arange(len(scene.key_m), device=scene.key_m.device))


def by_rank_among_the_active(scene: Scene) -> Int[Tensor, " C"]:
    """Of the `act_filter` most active columns, those where the token ranks highest first (REVS, section 3)."""
    return _highest_first(scene, by_activation(scene)[: scene.act_filter])


def by_gradient(scene: Scene) -> Int[Tensor, " C"]:
    """The columns that the token's log-probability leans on most first."""
    assert scene.saliency_m is not None
    return scene.saliency_m.argsort(descending=True, stable=True)


def at_random(scene: Scene) -> Int[Tensor, " C"]:
    """Any columns."""
    return torch.randperm(len(scene.key_m), generator=scene.generator).to(scene.key_m.device)


SELECTIONS: Mapping[str, Callable[[Scene], Tensor]] = {
    "rank+activation": by_rank_among_the_active,
    "activation": by_activation,
    "rank": by_rank,
    "gradient": by_gradient,
    "random": at_random,
}


def _highest_first(scene: Scene, columns_C: Tensor) -> Tensor:
    ranks = [
        scene.unembedding.ranks(scene.weight_dm[:, some].T, torch.full_like(some, scene.token))
        for some in torch.split(columns_C, _ROWS)
    ]
    return columns_C[torch.cat(ranks).argsort(stable=True).to(columns_C.device)]


def key_saliency(
    model: PreTrainedModel, architecture: Architecture, unembedding: Unembedding, batch: Batch, *, batch_size: int
) -> list[Float[Tensor, "N m"]]:
    """|∂ log p(token) / ∂ key × key| of every FF2 matrix's key, per target token where it is predicted; by layer.

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
