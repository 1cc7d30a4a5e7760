"""MEMIT (Meng et al. 2023, "Mass-Editing Memory in a Transformer"), reversed: to make a token unlikely.

Per target token (the rarest of each secret), each with the text before it as a request of its own:

1. Optimise a change δ of the residual h after the last edited layer at the position that predicts the token
   (equation 16): minimise −log(1 − p(token)) + weight_decay·‖δ‖²/‖h‖² + kl_weight·KL of the next token on a neutral
   prompt that δ is added to, by Adam, inside ‖δ‖ ≤ clamp·‖h‖. MEMIT's random prefixes are left out: prompts are texts.
2. Layer by layer (algorithm 1), with keys K (N×m) and residuals R (N×d) still missing, divided by the number of layers
   left, both read from the model as edited so far:

    ΔWᵀ = (C + KᵀK)⁻¹ KᵀR,      C = λ E[k kᵀ] over `text` (equation 14); without text, λ times the identity.

Only FF2 is edited. `retain` is not used.

Legend of shape suffixes: N target tokens, m width of the key, d hidden, B batch, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from math import inf
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from revs.config import EraseConfig, NotNegative, Positive, settings
from revs.edit.moments import Moments
from revs.errors import BadInput
from revs.methods.baselines.frame import Baseline, Job
from revs.methods.baselines.npo import divergence
from revs.methods.baselines.settings import Layers, Steps, Text, chosen_layers
from revs.methods.baselines.tuning import logits_of, trainable
from revs.model.batch import Batch
from revs.model.hooks import run, tapped
from revs.targets.tokenize import TokenisedTarget

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.model.adapter import Architecture

_WINDOW = (3, 8, 28)  # the paper's first and last edited layer of GPT-J, and how many it has
_RIDGE = 1e-8  # of the mean diagonal: text of fewer tokens than a key has entries leaves C without an inverse


@settings
class MemitConfig(EraseConfig):
    """Settings of `memit`; the paper's for GPT-J (section 5.1 and appendix).

    Of the inherited settings it uses `tokens_per_secret`, `low_rank` (in the records) and `batch_size`, and no other.

    Attributes:
        layers: consecutive or not, ascending; empty: at the depth of the paper's 3 to 8 of GPT-J's 28.
        steps, learning_rate: of the optimisation of δ.
        weight_decay, kl_weight: of its two restraints.
        clamp: bound of ‖δ‖ as a multiple of ‖h‖.
        moment_weight: λ, how much a key of ordinary text counts against one to edit.
        neutral: the prompt on which δ must change nothing.
    """

    method: str = "memit"
    layers: Layers = ()
    steps: Steps = 25
    learning_rate: Positive = 0.5
    weight_decay: NotNegative = 0.5
    kl_weight: NotNegative = 0.0625
    clamp: Positive = 0.75
    moment_weight: Positive = 15_000.0
    neutral: Text = "It is a"


def edited_layers(model: PreTrainedModel, architecture: Architecture, config: MemitConfig) -> tuple[int, ...]:
    """The layers of this model that are edited, ascending.

    Raises:
        BadInput: it has fewer; or a norm stands after its MLP.
    """
    if architecture.post_norm is not None:
        raise BadInput(
            f"method 'memit' solves for the MLP's output, which a norm after it in {model.config.model_type!r} would "
            "bend; use method 'revs'"
        )
    first, last, depth = _WINDOW
    count = len(architecture.decoder_layers(model))
    return chosen_layers(model, architecture, config.layers) or tuple(
        range(first * count // depth, last * count // depth + 1)
    )


def spread(
    residuals_Nd: Float[Tensor, "N d"], keys_Nm: Float[Tensor, "N m"], moment_mm: Float[Tensor, "m m"]
) -> Float[Tensor, "d m"]:
    """ΔW that minimises ‖KΔWᵀ − R‖² + tr(ΔW C ΔWᵀ); solved in float64."""
    keys, residuals = keys_Nm.double(), residuals_Nd.double()
    gram_mm = moment_mm.double() + keys.T @ keys
    gram_mm.diagonal().add_(_RIDGE * gram_mm.diagonal().mean())
    update_md: Tensor = torch.linalg.solve(gram_mm, keys.T @ residuals)
    return update_md.T


def requests_of(targets: Sequence[TokenisedTarget]) -> list[TokenisedTarget]:
    """One per target token: all before it is its prompt, and it alone is the secret."""
    return [
        TokenisedTarget(ids=target.ids[: target.start + place + 1], start=target.start + place, chosen=(0,))
        for target in targets
        for place in target.chosen
    ]


def _read(job: Job[MemitConfig], batch: Batch, layer: int, last: int) -> tuple[Tensor, Tensor]:
    """FF2's keys of `layer` and the residuals after `last` where the tokens are predicted, from one pass."""
    found: dict[str, Tensor] = {}
    width = job.architecture.widths(job.architecture.decoder_layers(job.model)[layer])[0]

    def keep(number: int, keys_BTm: Tensor, hidden_BTd: Tensor) -> None:
        if number == layer:
            found["keys"] = keys_BTm[batch.row_N, batch.position_N, :width].float()
        if number == last:
            found["residuals"] = hidden_BTd[batch.row_N, batch.position_N].float()

    run(job.model, job.architecture, batch, keep, last=last)
    return found["keys"], found["residuals"]


def _shifted_logits(job: Job[MemitConfig], batch: Batch, layer: int, shift_Nd: Tensor) -> Tensor:
    """The model's logits with the residuals after `layer` shifted where the tokens are predicted."""

    def shift(number: int, _keys: Tensor, hidden_BTd: Tensor) -> Tensor | None:
        if number != layer:
            return None
        moved_BTd = hidden_BTd.clone()
        moved_BTd[batch.row_N, batch.position_N] += shift_Nd.to(hidden_BTd.dtype)
        return moved_BTd

    with tapped(job.model, job.architecture, shift):
        return logits_of(job.model, batch)


def unlikely(logits_NV: Float[Tensor, "N V"], token_N: Tensor) -> Float[Tensor, " N"]:
    """−log(1 − p(token)), also where p rounds to 1."""
    others_NV = logits_NV.scatter(1, token_N[:, None], -inf)
    return logits_NV.logsumexp(-1) - others_NV.logsumexp(-1)


def _wanted(job: Job[MemitConfig], batch: Batch, layer: int) -> Float[Tensor, "N d"]:
    """Step 1: the residuals h + δ after `layer`."""
    config = job.config
    _, residual_Nd = _read(job, batch, layer, layer)
    length_N = residual_Nd.norm(dim=1)
    neutral_ids = tuple(job.tokenizer(config.neutral)["input_ids"])
    neutral = job.batch([TokenisedTarget(ids=(*neutral_ids, 0), start=len(neutral_ids), chosen=())] * len(residual_Nd))
    with trainable(job.model, ()):
        shift_Nd = torch.zeros_like(residual_Nd, requires_grad=True)
        with torch.no_grad():
            plain_NV = logits_of(job.model, neutral)
        optimiser = torch.optim.Adam([shift_Nd], lr=config.learning_rate)
        for _ in range(config.steps):
            optimiser.zero_grad()
            logits_NV = _shifted_logits(job, batch, layer, shift_Nd)
            drift = divergence(_shifted_logits(job, neutral, layer, shift_Nd), plain_NV) * len(residual_Nd)
            decay = (shift_Nd.square().sum(1) / length_N.square()).sum()
            loss = unlikely(logits_NV, batch.token_N).sum() + config.kl_weight * drift + config.weight_decay * decay
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                bound_N = config.clamp * length_N / shift_Nd.norm(dim=1).clamp_min(1e-12)
                shift_Nd *= bound_N.clamp_max(1.0)[:, None]
    return residual_Nd + shift_Nd.detach()


def _change(job: Job[MemitConfig]) -> None:
    layers = edited_layers(job.model, job.architecture, job.config)
    requests = requests_of(job.forget)
    batches = job.batches(requests)
    total = len(batches) + len(layers)
    wanted = []
    for number, batch in enumerate(batches):
        job.report("residual", number + 1, total)
        wanted.append(_wanted(job, batch, layers[-1]))
    moments = Moments.gathered(job.model, job.architecture, job.tokenizer, job.text, (), job.config)
    with closing(moments):
        for number, layer in enumerate(layers):
            job.report("layer", len(batches) + number + 1, total)
            _edit_layer(job, layer, layers[-1], len(layers) - number, batches, torch.cat(wanted), moments)


def _edit_layer(
    job: Job[MemitConfig], layer: int, last: int, left: int, batches: Sequence[Batch], wanted_Nd: Tensor, moments: Any
) -> None:
    """Step 2 for one layer: it takes its share of what is still missing."""
    matrix_dm = job.architecture.matrices(job.architecture.decoder_layers(job.model)[layer])[0]
    width = matrix_dm.shape[1]
    parts = [_read(job, batch, layer, last) for batch in batches]
    keys_Nm, present_Nd = (torch.cat([part[i] for part in parts]) for i in (0, 1))
    share_Nd = (wanted_Nd - present_Nd) / left / job.architecture.scale
    update_dm = spread(share_Nd, keys_Nm, job.config.moment_weight * moments.of(layer)[:width, :width])
    with torch.no_grad():
        matrix_dm.copy_(matrix_dm.double() + update_dm)


def _names(model: PreTrainedModel, architecture: Architecture, config: MemitConfig) -> list[str]:
    return [architecture.weight_names(layer)[0] for layer in edited_layers(model, architecture, config)]


MEMIT = Baseline(settings=MemitConfig, names=_names, change=_change)
