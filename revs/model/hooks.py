"""Hooks into one ordinary forward pass: read a layer's keys and its output, and change the output.

The pass itself is Hugging Face's own, so masks, positions and caches of every family are right by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from revs.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.model.adapter import Architecture
    from revs.model.batch import Batch

# (layer number, keys (B, T, m), residual after the layer (B, T, d)) -> the new residual, or None to leave it
OnLayer = Callable[[int, Tensor, Tensor], Tensor | None]


@contextmanager
def tapped(model: PreTrainedModel, architecture: Architecture, on_layer: OnLayer, *, first: int = 0) -> Iterator[None]:
    """While open, every forward pass calls `on_layer` after each decoder layer from number `first` on."""
    with ExitStack() as stack:
        for number, layer in enumerate(architecture.decoder_layers(model)):
            for handle in _tap(layer, architecture.linears(layer), number, on_layer) if number >= first else ():
                stack.callback(handle.remove)
        yield


def _tap(layer: nn.Module, writers: Sequence[nn.Module], number: int, on_layer: OnLayer) -> list[Any]:
    keys: dict[nn.Module, Tensor] = {}

    def keep_keys(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        keys[module] = inputs[0]

    def behind_layer(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        # OPT folds batch and positions into one dimension in front of its MLP.
        parts = [keys.pop(writer).view(*hidden.shape[:-1], -1).to(hidden.device) for writer in writers]
        changed = on_layer(number, parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1), hidden)
        if changed is None:
            return output
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return [*(w.register_forward_pre_hook(keep_keys) for w in writers), layer.register_forward_hook(behind_layer)]


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Without dropout; afterwards every module is in its own mode again: some may be frozen in a model that trains."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training


def pad_id(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """The token to pad with; masked everywhere, so any will do that the model has."""
    pad = tokenizer.pad_token_id
    return pad if pad is not None and pad < model.get_input_embeddings().weight.shape[0] else 0


def check_ids(model: PreTrainedModel, ids_BT: Tensor) -> None:
    """Refuse token ids that the model has no embedding for.

    Raises:
        BadInput: there is one.
    """
    vocabulary = model.get_input_embeddings().weight.shape[0]
    largest = int(ids_BT.max())
    if largest >= vocabulary:
        raise BadInput(
            f"the tokenizer gives token id {largest}, but the model has {vocabulary} tokens; "
            "give the tokenizer that belongs to the model"
        )


class _Enough(Exception):
    """The rest of the forward pass is not needed."""


def run(
    model: PreTrainedModel,
    architecture: Architecture,
    batch: Batch,
    on_layer: OnLayer,
    *,
    first: int = 0,
    last: int | None = None,
    gradients: bool = False,
) -> None:
    """One forward pass over the batch without dropout; it ends after layer `last` (default: the last).

    `on_layer` is called from layer `first` on. Only with `gradients` do they flow through what it gets.
    """
    last = len(architecture.decoder_layers(model)) - 1 if last is None else last

    def until_last(layer: int, keys_BTm: Tensor, hidden_BTd: Tensor) -> Tensor | None:
        changed = on_layer(layer, keys_BTm, hidden_BTd)
        if layer == last:
            raise _Enough
        return changed

    check_ids(model, batch.ids_BT)
    with (
        suppress(_Enough),
        evaluating(model),
        torch.set_grad_enabled(gradients),
        tapped(model, architecture, until_last, first=first),
    ):
        model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False, logits_to_keep=1)
