"""A forward pass in which each layer is edited when it is reached, over more sequences than fit into memory at once.

An edit needs the keys of all its sequences at a layer before it can change that layer, and the layers above must see
the change. What fits into one batch takes one ordinary forward pass. What does not is advanced one layer at a time: the
residual stream of each part waits on the CPU, and a part's forward pass begins with it at the layer in question, while
the layers before are skipped. The pass is Hugging Face's own in both cases, so masks and positions are its own.

After an edit the residual is corrected by what the change does at the keys. Those of all positions wait on the CPU too,
as long as they take no more than `KEPT` bytes; else the edited layer is run again.

Legend of shape suffixes: B batch, T positions, N studied tokens that are chosen, m width of the keys, d hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from revs.model.batch import Batch, pieces
from revs.model.hooks import run

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.model.adapter import Architecture

KEPT = 2**31  # bytes

Correct = Callable[[Tensor, Tensor], Tensor]  # keys (B, T, m), residual after the layer (B, T, d) -> the new residual
Edit = Callable[[int, Tensor, Tensor], Correct | None]  # layer number, keys (N, m), residual (N, d); None: unchanged


def edited_pass(
    model: PreTrainedModel, architecture: Architecture, batch: Batch, edit: Edit, *, rows: int, first: int = 0
) -> None:
    """Run the batch, at most `rows` sequences at a time, and let `edit` change every layer from `first` on.

    `edit` is called once for each layer, with the keys and residuals at the chosen places of the whole batch. It
    changes the layer's weights itself.
    """
    parts = pieces(batch, rows)
    if len(parts) > 1:
        _layer_by_layer(model, architecture, parts, edit, first)
        return
    places = _places(batch)

    def on_layer(layer: int, keys_BTm: Tensor, hidden_BTd: Tensor) -> Tensor | None:
        correct = edit(layer, keys_BTm[places], hidden_BTd[places])
        # Of the last layer nobody reads the output here.
        return None if correct is None or layer == last else correct(keys_BTm, hidden_BTd)

    last = len(architecture.decoder_layers(model)) - 1
    run(model, architecture, batch, on_layer, first=first)


def _places(batch: Batch) -> tuple[Tensor, Tensor]:
    return batch.row_N[batch.chosen_N], batch.position_N[batch.chosen_N]


def _layer_by_layer(
    model: PreTrainedModel, architecture: Architecture, parts: Sequence[Batch], edit: Edit, first: int
) -> None:
    layers = architecture.decoder_layers(model)
    stepper = _Stepper(model, architecture)
    waiting: list[Tensor | None] = [None] * len(parts)  # the residual stream in front of the layer; None: embeddings
    for layer in range(len(layers)):
        after, kept = list(waiting), list(waiting)
        found: list[tuple[Tensor, Tensor]] = []
        positions = sum(part.ids_BT.numel() for part in parts)
        for number, part in enumerate(parts):
            keys_BTm, hidden_BTd = stepper.step(part, layer, waiting[number])
            places = _places(part)
            found.append((keys_BTm[places], hidden_BTd[places]))
            after[number] = hidden_BTd.cpu()
            small = positions * keys_BTm.shape[-1] * keys_BTm.element_size() <= KEPT
            kept[number] = keys_BTm.cpu() if small and layer >= first else None
        keys_Nm, hidden_Nd = (torch.cat(column) for column in zip(*found, strict=True))
        correct = None if layer < first else edit(layer, keys_Nm, hidden_Nd)
        if correct is not None and layer < len(layers) - 1:
            for number, part in enumerate(parts):
                keys, hidden = kept[number], after[number]
                if keys is None or hidden is None:
                    after[number] = stepper.step(part, layer, waiting[number])[1].cpu()
                else:
                    after[number] = correct(keys.to(keys_Nm.device), hidden.to(hidden_Nd.device)).cpu()
        waiting = after


class _Stepper:
    """Runs single layers of a model, through the model's own forward pass."""

    def __init__(self, model: PreTrainedModel, architecture: Architecture) -> None:
        self._model, self._architecture = model, architecture
        self._layers = architecture.decoder_layers(model)
        self._extras: int | None = None  # what a layer of this family gives after its residual; None: no tuple

    def step(self, part: Batch, layer: int, hidden_BTd: Tensor | None) -> tuple[Tensor, Tensor]:
        """Keys and residual of one layer; `hidden_BTd` comes into it, or is None for layer 0."""
        found: list[Tensor] = []

        def keep(_layer: int, keys_BTm: Tensor, out_BTd: Tensor) -> None:
            found.extend((keys_BTm, out_BTd))

        def shape_of_output(_module: nn.Module, _inputs: Any, output: Any) -> None:
            self._extras = len(output) - 1 if isinstance(output, tuple) else None

        handle = self._layers[layer].register_forward_hook(shape_of_output)
        try:
            with self._skipping(layer, hidden_BTd):
                run(self._model, self._architecture, part, keep, first=layer, last=layer)
        finally:
            handle.remove()
        keys_BTm, out_BTd = found
        return keys_BTm, out_BTd

    @contextmanager
    def _skipping(self, layer: int, hidden_BTd: Tensor | None) -> Iterator[None]:
        """While open, the layers before `layer` do nothing but give `hidden_BTd`, in the form of their family."""
        skipped = self._layers[:layer]
        # Whatever stands there already, such as accelerate's wrapper, is put back afterwards.
        own = [vars(module).get("forward") for module in skipped]

        def give(*inputs: Any, **options: Any) -> Any:
            assert hidden_BTd is not None
            before = inputs[0] if inputs else options["hidden_states"]
            given = hidden_BTd.to(before.device)
            return given if self._extras is None else (given, *[None] * self._extras)

        try:
            for module in skipped:
                vars(module)["forward"] = give
            yield
        finally:
            for module, forward in zip(skipped, own, strict=True):
                del vars(module)["forward"]
                if forward is not None:
                    vars(module)["forward"] = forward
