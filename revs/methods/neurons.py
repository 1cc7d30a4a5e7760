"""REVS as published: edit few columns of each layer's FF2 matrix, chosen per token (Ashuach et al. 2025, section 3).

For a layer and a target token, in the order of `revs.methods.selection`: put the token at the wanted rank in one column
after the other until it ranks low enough in the residual stream after the layer and in the MLP's output, or
`max_columns` columns are edited. A column moves by the exact step along q_t (`revs.model.vocabulary`) instead of the
paper's trial steps, and all layers are edited in one forward pass, each seeing the corrected residual of those below,
instead of one pass per token and layer. So layers run outside and tokens inside, where the paper has it the other way
round. In a narrow dtype a column is rounded after the step; what counts towards the residual is the column as stored.

Two weaknesses are kept, for this is the method to compare with: a column with a negative key entry is edited like any
other, though it then raises the token at this key; and a column that two tokens share is moved twice, the second time
without regard to the first. Only FF2 is edited, also where attention runs beside it.

Legend of shape suffixes: B batch, T positions, N target tokens, C columns, m width of the key, d hidden, L layers.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from revs.config import NeuronsConfig
from revs.edit.passes import Correct, edited_pass
from revs.edit.request import Request, restored_on_failure
from revs.edit.token_records import ranks_by_layer, token_records
from revs.errors import BadInput
from revs.methods.selection import SELECTIONS, Scene, key_saliency
from revs.model.adapter import Architecture
from revs.model.batch import Batch
from revs.model.hooks import pad_id
from revs.model.offload import Weights, held, input_device, stored_transposed
from revs.model.vocabulary import Unembedding
from revs.patch.patch import Patch, TokenRecord
from revs.targets.tokenize import collate

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.edit.moments import Progress

_COLUMNS = 32  # whose steps are solved at once


def erase_neurons(request: Request) -> Patch:
    """The `revs-neurons` method: see `revs.erase`.

    Like the paper it protects nothing: `text` and `cache` are not used, and `retain` only checked against `targets`.
    """
    started = time.perf_counter()
    model, architecture, settings = request.model, request.architecture, request.settings(NeuronsConfig)
    if architecture.post_norm is not None:
        raise BadInput(
            f"method 'revs-neurons' steps along columns, which a norm after the MLP of {model.config.model_type!r} "
            "would bend; use method 'revs'"
        )
    request.check()
    first = request.distinct()
    layers = range(settings.first_layer, len(architecture.decoder_layers(model))) if first else ()
    weights = Weights(model, (architecture.weight_names(layer)[0] for layer in layers))
    records: tuple[TokenRecord, ...] = ()
    with restored_on_failure(weights) as before:
        if first:
            batch = collate([*first], pad=pad_id(model, request.tokenizer), device=input_device(model))
            records = _Edit(model, architecture, settings, batch).run(request.progress)
        return Patch.between(
            before, weights, copied=True, transposed=stored_transposed(model, weights), method=settings.method,
            config=asdict(settings),
            records=tuple(replace(record, target=list(first.values())[record.target]) for record in records),
            sweeps=1 if first else 0, seconds=time.perf_counter() - started,
        )  # fmt: skip


class _Edit:
    """One edit under way: the batch, and how many columns each token changed at each layer."""

    def __init__(self, model: PreTrainedModel, architecture: Architecture, config: NeuronsConfig, batch: Batch) -> None:
        self.model, self.architecture, self.config, self.batch = model, architecture, config, batch
        self.unembedding = Unembedding(model, architecture)
        self.layers = architecture.decoder_layers(model)
        self.column_rank = max(1, self._absolute(config.column_rank))
        self.residual_rank = max(1, self._absolute(config.residual_rank))
        self.mlp_rank = self._absolute(config.mlp_rank)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.saliency_LNm: list[Tensor] | None = None
        if config.selection == "gradient":
            self.saliency_LNm = key_saliency(model, architecture, self.unembedding, batch, batch_size=config.batch_size)
        self.columns_LN = torch.zeros(len(self.layers), int(batch.chosen_N.sum()), dtype=torch.int64)

    def _absolute(self, share: float) -> int:
        return min(round(share * self.unembedding.vocabulary), self.unembedding.vocabulary - 1)

    def run(self, progress: Progress | None) -> tuple[TokenRecord, ...]:
        """Edit every layer in one forward pass; returns what became of each token."""

        def on_layer(layer: int, keys_Nm: Tensor, hidden_Nd: Tensor) -> Correct | None:
            if progress is not None:
                progress("layer", layer + 1, len(self.layers))
            width = self.architecture.widths(self.layers[layer])[0]  # FF2's part of the key is the first
            found_dm = self._layer_update(layer, keys_Nm[:, :width], hidden_Nd)
            if found_dm is None:
                return None
            return lambda keys_BTm, hidden_BTd: (
                hidden_BTd + self.architecture.scale * (keys_BTm[..., :width] @ found_dm.T)
            )

        def ranks_N() -> Tensor:
            return ranks_by_layer(self.model, self.architecture, self.unembedding, self.batch, rows=rows)[0][-1]

        rows = self.config.batch_size
        before_N = ranks_N()
        edited_pass(self.model, self.architecture, self.batch, on_layer, rows=rows, first=self.config.first_layer)
        after_N = ranks_N()
        return token_records(
            self.batch,
            before_N,
            after_N,
            self.columns_LN,
            short_N=after_N < self.residual_rank,
            wanted_N=torch.full_like(after_N, self.residual_rank),
        )

    def _layer_update(self, layer: int, keys_Nm: Tensor, hidden_Nd: Tensor) -> Tensor | None:
        """Edit one layer, token after token; the change as stored, or None if nothing moves."""
        tokens = self.batch.token_N[self.batch.chosen_N].tolist()
        linear = self.architecture.linears(self.layers[layer])[0]
        bias_d = None if getattr(linear, "bias", None) is None else held(linear, "bias")
        old_dm = self.architecture.matrices(self.layers[layer])[0].to(hidden_Nd.device)
        new_dm = old_dm.clone()
        for number, (key_m, hidden_d, token) in enumerate(zip(keys_Nm, hidden_Nd, tokens, strict=True)):
            saliency_m = None if self.saliency_LNm is None else self.saliency_LNm[layer][number]
            scene = Scene(
                key_m=key_m,
                weight_dm=new_dm,
                token=token,
                unembedding=self.unembedding,
                act_filter=self.config.act_filter,
                saliency_m=saliency_m,
                generator=self.generator,
            )
            residual_d = hidden_d.float() + self.architecture.scale * ((new_dm - old_dm).float() @ key_m.float())
            self.columns_LN[layer, number] = self._demote(scene, residual_d, bias_d)
        if torch.equal(new_dm, old_dm):
            return None
        if not torch.isfinite(new_dm).all():
            raise BadInput(f"the edit of layer {layer} is not finite in {old_dm.dtype}; edit the model in float32")
        change_dm = new_dm - old_dm
        self.architecture.set_matrix(self.layers[layer], 0, new_dm)
        return change_dm

    def _demote(self, scene: Scene, residual_d: Tensor, bias_d: Tensor | None) -> int:
        """Edit columns of `scene.weight_dm` in place until the token is low enough; how many columns changed."""
        output_d = scene.weight_dm.float() @ scene.key_m.float()
        if bias_d is not None:
            output_d = output_d + bias_d.to(output_d)
        if bool(self._low_enough(residual_d[None], output_d[None], scene.token)[0]):
            return 0
        changed = 0
        order_C = SELECTIONS[self.config.selection](scene)[: self.config.max_columns]
        for columns_C in torch.split(order_C, _COLUMNS):
            old_dC = scene.weight_dm[:, columns_C]
            new_dC = self._with_token_at_rank(old_dC, scene.token)
            # What the weights will hold, so that rounding to their dtype counts. Row n: the first n + 1 columns edited.
            moves_Cd = ((new_dC - old_dC).float() * scene.key_m[columns_C].float()).T.cumsum(0)
            scale = self.architecture.scale
            enough_C = self._low_enough(residual_d + scale * moves_Cd, output_d + moves_Cd, scene.token)
            used = int(enough_C.int().argmax()) + 1 if bool(enough_C.any()) else len(columns_C)
            scene.weight_dm[:, columns_C[:used]] = new_dC[:, :used]
            changed += int((new_dC[:, :used] != old_dC[:, :used]).any(0).sum())
            if bool(enough_C.any()):
                break
            residual_d, output_d = residual_d + scale * moves_Cd[-1], output_d + moves_Cd[-1]
        return changed

    def _with_token_at_rank(self, columns_dC: Tensor, token: int) -> Tensor:
        """The columns with the token at `column_rank`; unchanged where it is there or beyond, or no step brings it."""
        rows_Cd = columns_dC.T.float()
        tokens_C = torch.full((len(rows_Cd),), token, device=rows_Cd.device)
        step_C = self.unembedding.step_to_rank(rows_Cd, tokens_C, wanted=self.column_rank).step_N
        moves_Cd = step_C.double()[:, None] * self.unembedding.directions(tokens_C[:1]).double()
        moved_Cd = rows_Cd.double() + moves_Cd.to(rows_Cd.device)
        return moved_Cd.T.to(columns_dC.dtype)

    def _low_enough(self, residual_Cd: Tensor, output_Cd: Tensor, token: int) -> Tensor:
        tokens_C = torch.full((len(residual_Cd),), token, device=residual_Cd.device)
        return (self.unembedding.ranks(residual_Cd, tokens_C) >= self.residual_rank) & (
            self.unembedding.ranks(output_Cd, tokens_C) >= self.mlp_rank
        )
