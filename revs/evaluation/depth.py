"""Unlearning Depth Score: how deep in the layers a secret can still be recovered (Lee, Kim, Jo, arXiv 2605.24614).

Three models: the original, which knows the secrets; the twin, which never saw them; the edited one. At each layer in
turn, the output of the original's layer is replaced by another model's, at the positions that predict the tokens of the
secret, and the original goes on from there. Where it then no longer predicts them, the other model's layer did not hold
what they need. With s the mean log-probability of a secret's tokens, and layer l patched,

    drop(source, l) = s(original) − s(original, patched with source after l)       equations 1 and 3
    K = {l : drop(twin, l) > 0.05 nats}                    the layers that encode the secret, equation 2
    UDS = Σ_K min(max(drop(edited, l), 0), drop(twin, l)) / Σ_K drop(twin, l)      equations 4 and 5

and the mean over those secrets that have such layers (equation 6): 0 for the original itself, 1 for the twin.

Positions, threshold and the mean per secret are those of the authors' code. One thing differs: it takes the hidden
states that Transformers returns, of which the last is normalised already, and puts it in place of one that is not. Here
the last layer's own output is patched.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from revs.errors import Gap
from revs.evaluation import measures
from revs.evaluation.context import Examination
from revs.evaluation.teacher_forcing import logits_at, read_out
from revs.model.batch import Batch, batched
from revs.model.families import architecture_of
from revs.model.hooks import pad_id, run, tapped
from revs.model.offload import input_device
from revs.targets.tokenize import collate

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def uds(examination: Examination, *, of: str) -> float:
    """Unlearning Depth Score of "targets" or "unseen", 0 to 1; 1 is wanted.

    Raises:
        Gap: there are no such targets, a model is missing or of another shape, or no layer encodes a secret.
    """
    found: float = examination.once("depth", of, lambda: _uds(examination, of), refusal_is_gap=True)
    return found


def _uds(examination: Examination, of: str) -> float:
    original, twin = examination.original, examination.twin
    if twin is None:
        raise Gap("give a model that never saw the secrets (twin=)")
    if original is None:
        raise Gap("the unedited model was not given (original=)")
    examination.check_finite()
    _same_shape(original, twin, examination.model)
    drops = [
        (_drops(original, batch, twin), _drops(original, batch, examination.model))
        for batch in _batches(examination, of)
    ]
    of_twin_LT, of_edited_LT = (torch.cat(part, dim=1) for part in zip(*drops, strict=True))
    return measures.unlearning_depth(of_edited_LT, of_twin_LT)


def _same_shape(*models: PreTrainedModel) -> None:
    shapes = {
        (len(architecture_of(model).decoder_layers(model)), *model.get_output_embeddings().weight.shape)
        for model in models
    }
    if len(shapes) > 1:
        raise Gap("original, twin and model differ in layers, width or vocabulary")


def _batches(examination: Examination, of: str) -> Iterator[Batch]:
    targets = examination.tokenised(examination.set_of(of))
    pad, device = pad_id(examination.model, examination.tokenizer), input_device(examination.model)
    for numbers in batched([len(target.ids) for target in targets], examination.batch_size):
        yield collate([targets[number] for number in numbers], pad=pad, device=device)


def _drops(original: PreTrainedModel, batch: Batch, source: PreTrainedModel) -> Float[Tensor, "L T"]:
    """What the mean log-probability of each secret's tokens loses by the source's output after each layer, nats."""
    kept: list[Tensor] = []

    def keep(_layer: int, _keys: Tensor, hidden_BTd: Tensor) -> None:
        kept.append(hidden_BTd[batch.row_N, batch.position_N])

    run(source, architecture_of(source), batch, keep)
    whole_T = _log_probabilities(original, batch, None, 0)
    return torch.stack([whole_T - _log_probabilities(original, batch, hidden, at) for at, hidden in enumerate(kept)])


def _log_probabilities(
    model: PreTrainedModel, batch: Batch, hidden_Nd: Float[Tensor, "N d"] | None, at: int
) -> Float[Tensor, " T"]:
    """Mean over each secret's tokens, with these hidden states in place of the model's after layer `at`, if any."""

    def patch(layer: int, _keys: Tensor, hidden_BTd: Tensor) -> Tensor | None:
        if layer != at or hidden_Nd is None:
            return None
        patched_BTd = hidden_BTd.clone()
        patched_BTd[batch.row_N, batch.position_N] = hidden_Nd.to(hidden_BTd)
        return patched_BTd

    with tapped(model, architecture_of(model), patch, first=at):
        logits_NV = logits_at(model, batch.ids_BT, batch.mask_BT, batch.row_N, batch.position_N)
    nll_N, _, _ = read_out(logits_NV, batch.token_N)
    count_T = torch.bincount(batch.target_N)
    return -torch.zeros(len(count_T), dtype=nll_N.dtype).index_add(0, batch.target_N, nll_N) / count_T
