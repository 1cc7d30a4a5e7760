"""Erase: move the target tokens down in the vocabulary at every layer, inside ordinary forward passes.

In one pass, behind every layer: read the residual at the positions that predict target tokens, compute the exact steps
along q_t to the ranks that bound where each may go (`revs.unembedding`), solve for the change of the matrices that
write the layer's output (`revs.joint`), write it, and pass the corrected residual on, so the layers above already see
the edited ones below.

Legend of shape suffixes: B batch, T positions, N studied tokens, m width of the keys, d hidden, V vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from revs.architectures import Architecture, architecture_of, context_length
from revs.config import EraseConfig
from revs.errors import BadInput
from revs.joint import joint_update
from revs.lowrank import TokenSum
from revs.moments import key_moments
from revs.patch import Patch, TokenRecord
from revs.preflight import check_request
from revs.records import final_ranks, token_records
from revs.taps import run
from revs.targets import Batch, Target, TokenisedTarget, collate, tokenise
from revs.unembedding import Unembedding
from revs.variations import perturbed

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Progress = Callable[[str, int, int], None]  # stage, done, total


def erase(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    targets: Sequence[Target],
    *,
    config: EraseConfig | None = None,
    text: Sequence[str] = (),
    retain: Sequence[Target] = (),
    token_counts_V: Int[Tensor, " V"] | None = None,
    progress: Progress | None = None,
) -> Patch:
    """Erase `targets` from `model`, in place, with the method `config.method`.

    Args:
        model: a causal LM of a supported family, on any one device, in its own dtype.
        tokenizer: its tokenizer; must give offsets (a "fast" tokenizer).
        targets: what to erase. An empty list changes nothing.
        config: settings; None means the defaults.
        text: ordinary text the edit should leave alone.
        retain: targets that must keep working.
        token_counts_V: counts of token ids over the training corpus, for choosing the rarest; None: by token id.
        progress: called with (stage, done, total).

    Returns:
        The patch: `patch.revert(model)` restores the old weights bit for bit.

    Raises:
        BadInput: before any weight is touched: unknown method or family, bad targets, a rank outside the vocabulary.
    """
    from revs.methods import METHODS

    config = config or EraseConfig()
    if config.method not in METHODS:
        raise BadInput(f"method {config.method!r} is unknown; known methods: {', '.join(sorted(METHODS))}")
    return METHODS[config.method](model, tokenizer, targets, config, text, retain, token_counts_V, progress)


def erase_jointly(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    targets: Sequence[Target],
    config: EraseConfig,
    text: Sequence[str],
    retain: Sequence[Target],
    token_counts_V: Int[Tensor, " V"] | None,
    progress: Progress | None,
) -> Patch:
    """The `revs` method; arguments as in `erase`."""
    started = time.perf_counter()
    architecture, settings = _check(model, targets, config, retain)
    context = context_length(model)

    def prepared(some: Sequence[Target]) -> list[TokenisedTarget]:
        return tokenise(
            tokenizer, some, tokens_per_secret=config.tokens_per_secret, token_counts_V=token_counts_V, context=context
        )

    first: dict[TokenisedTarget, int] = {}
    for number, target in enumerate(prepared(targets)):
        first.setdefault(target, number)
    if not first:
        return Patch.between({}, {}, method=config.method, config=settings)
    # Another stream of random characters than the perturbation attack draws: it must not be met with its own prompts.
    varied = [
        variation
        for copy in range(config.variations)
        for variation in prepared(perturbed(list(dict.fromkeys(targets)), seed=f"variation {copy} of {config.seed}"))
    ]
    moments = _moments(model, architecture, tokenizer, text, prepared(retain), config, context)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    batch = collate([*first, *varied], pad=pad, device=model.device)
    edit = _Edit(model, architecture, config, moments, batch, as_written=len(first))
    weights = {name: model.get_parameter(name) for name in edit.names}
    before = {name: weight.detach().cpu().clone() for name, weight in weights.items()}
    try:
        sweeps, records = edit.sweep(progress)
    except BaseException:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(before[name])
        raise
    return Patch.between(
        before,
        weights,
        factors=edit.factors(),
        method=config.method,
        config=settings,
        records=tuple(
            replace(record, target=list(first.values())[record.target])
            for record in records
            if record.target < len(first)
        ),
        sweeps=sweeps,
        seconds=time.perf_counter() - started,
    )


def _check(
    model: PreTrainedModel, targets: Sequence[Target], config: EraseConfig, retain: Sequence[Target]
) -> tuple[Architecture, Mapping[str, object]]:
    architecture = architecture_of(model)
    vocabulary = model.get_output_embeddings().weight.shape[0]
    if 2 * config.aim_rank > vocabulary:
        raise BadInput(
            f"aim_rank {config.aim_rank} is more than half of this vocabulary of {vocabulary} tokens; "
            "choose a smaller one"
        )
    check_request(model, architecture, targets, retain, first_layer=config.first_layer)
    return architecture, asdict(config)


def _moments(
    model: PreTrainedModel,
    architecture: Architecture,
    tokenizer: PreTrainedTokenizerBase,
    text: Sequence[str],
    retain: Sequence[TokenisedTarget],
    config: EraseConfig,
    context: int,
) -> list[Tensor]:
    """C of every layer: ordinary text, plus the retained records with their weight; without either, the identity."""
    ids = tokenizer(list(text), truncation=True, max_length=context)["input_ids"] if text else []
    ordinary = [TokenisedTarget(ids=tuple(i), start=len(i) - 1, chosen=()) for i in ids if len(i) > 1]
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0

    def batches(some: Sequence[TokenisedTarget]) -> list[Batch]:
        some = sorted(some, key=lambda target: len(target.ids))  # little padding
        size = config.batch_size
        return [collate(some[i : i + size], pad=pad, device=model.device) for i in range(0, len(some), size)]

    if not ordinary and not retain:
        widths = map(architecture.key_width, architecture.decoder_layers(model))
        return [torch.eye(width, device=model.device) for width in widths]
    text_part = key_moments(model, architecture, batches(ordinary))

    retain_part = key_moments(model, architecture, batches(retain), only_secrets=True)
    return [t_mm + config.retain_weight * r_mm for t_mm, r_mm in zip(text_part, retain_part, strict=True)]


class _Edit:
    """One joint edit under way: the batch, the moments, and which tokens moved at which layers."""

    def __init__(
        self,
        model: PreTrainedModel,
        architecture: Architecture,
        config: EraseConfig,
        moments: list[Tensor],
        batch: Batch,
        *,
        as_written: int,
    ) -> None:
        """`as_written`: how many of the batch's first targets are the caller's; those behind them are variations."""
        self.model, self.architecture, self.config = model, architecture, config
        self.moments, self.batch = moments, batch
        self.unembedding = Unembedding(model, architecture)
        self.layers = architecture.decoder_layers(model)
        edited = range(config.first_layer, len(self.layers))
        self.names = [name for layer in edited for name in architecture.weight_names(layer)]
        self.as_written_N = batch.target_N[batch.chosen_N] < as_written
        self.moved_LN = torch.zeros(len(self.layers), int(batch.chosen_N.sum()), dtype=torch.bool)
        tokens_N = batch.token_N[batch.chosen_N]
        self.updates = TokenSum(tokens_N, self.unembedding.directions(tokens_N))

    def sweep(self, progress: Progress | None) -> tuple[int, tuple[TokenRecord, ...]]:
        """Sweep until no target of the caller moves or the sweeps are used up; returns their number and the records."""
        rank_before_N = final_ranks(self.model, self.architecture, self.unembedding, self.batch)
        for sweep in range(1, self.config.sweeps + 1):
            if progress is not None:
                progress("sweep", sweep, self.config.sweeps)
            if not self._one_pass():
                break
        rank_after_N = final_ranks(self.model, self.architecture, self.unembedding, self.batch)
        return sweep, token_records(
            self.batch,
            rank_before_N,
            rank_after_N,
            self.moved_LN,
            low_rank=self.config.low_rank,
            wanted=self.config.aim_rank,
        )

    def _one_pass(self) -> bool:
        moved = False

        def on_layer(layer: int, keys_BTm: Tensor, hidden_BTd: Tensor) -> Tensor | None:
            nonlocal moved
            if layer < self.config.first_layer:
                return None
            old_dm = self.architecture.weight(self.layers[layer])
            change_dm = self._layer_update(layer, keys_BTm, hidden_BTd, old_dm)
            if change_dm is None:
                return None
            moved = True
            return hidden_BTd + self.architecture.residual_change(self.layers[layer], keys_BTm, old_dm, change_dm)

        run(self.model, self.architecture, self.batch, on_layer)
        return moved

    def _layer_update(self, layer: int, keys_BTm: Tensor, hidden_BTd: Tensor, old_dm: Tensor) -> Tensor | None:
        """Edit one layer; the change as stored, after rounding to the weight's dtype, or None if nothing moves."""
        chosen, config = self.batch.chosen_N, self.config
        rows, positions, tokens_N = self.batch.row_N[chosen], self.batch.position_N[chosen], self.batch.token_N[chosen]
        hidden_Nd, keys_Nm = hidden_BTd[rows, positions], keys_BTm[rows, positions]
        low_N = self.unembedding.ranks(hidden_Nd, tokens_N) < config.low_rank
        if not bool((low_N & self.as_written_N).any()):  # variations alone move nothing: they are only asked for
            return None
        self.moved_LN[layer] |= low_N.cpu()
        lower_N, upper_N = self._bounds(hidden_Nd, tokens_N, low_N)
        gradients_Nd, directions_Nd = self._at_writers(layer, keys_Nm, tokens_N)
        try:
            left_dN, right_Nm = joint_update(
                keys_Nm.float(),
                directions_Nd,
                gradients_Nd @ directions_Nd.T,
                lower_N,
                upper_N,
                self.moments[layer],
                epsilon=config.epsilon,
                ridge=config.ridge,
            )
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # public, but missing in torch's stub
            raise BadInput(
                f"the key moments of layer {layer} have no stable inverse; raise ridge (now {config.ridge})"
            ) from None
        new_dm = (old_dm.double() + left_dN @ right_Nm).to(old_dm.dtype)
        if not torch.isfinite(new_dm).all():
            raise BadInput(
                f"the edit of layer {layer} is not finite in {old_dm.dtype}; raise ridge (now {config.ridge})"
            )
        self.architecture.set_weight(self.layers[layer], new_dm)
        self.updates.add(layer, left_dN, right_Nm)
        return new_dm - old_dm

    def _at_writers(self, layer: int, keys_Nm: Tensor, tokens_N: Tensor) -> tuple[Tensor, Tensor]:
        """Of each key's token: the gradient of its logit at the writers' output, and the direction that moves it there.

        Float64, (N, d) each; where the writers add straight to the residual stream the direction is q_t.
        """
        module, architecture = self.layers[layer], self.architecture
        gradients_Nd = architecture.pull_back(module, keys_Nm, self.unembedding.gradients(tokens_N))
        directions_Nd = self.unembedding.spread(architecture.undo_gain(module, gradients_Nd))
        return gradients_Nd, architecture.undo_gain(module, directions_Nd)

    def factors(self) -> dict[str, tuple[Tensor, Tensor]]:
        """The sum of all updates of each weight as low-rank factors, by the weight's name."""
        found: dict[str, tuple[Tensor, Tensor]] = {}
        for number, layer in enumerate(self.layers):
            if (total := self.updates.factors(number)) is None:
                continue
            left, rights = total[0], torch.split(total[1], self.architecture.widths(layer), dim=1)
            for name, part, turned in zip(
                self.architecture.weight_names(number), rights, self.architecture.transposed(layer), strict=True
            ):
                found[name] = (part.T, left.T) if turned else (left, part)
        return found

    def _bounds(self, hidden_Nd: Tensor, tokens_N: Tensor, low_N: Tensor) -> tuple[Tensor, Tensor]:
        """Changes of logits between which each token may move: what ranks too high goes down to `aim_rank`, what ranks
        low enough may rise to `low_rank`, and nothing sinks nearer to the end of the vocabulary than `aim_rank`.
        """
        config, bottom = self.config, self.unembedding.vocabulary - self.config.aim_rank
        steps_RN = self.unembedding.steps_to_ranks(hidden_Nd, tokens_N, [config.aim_rank, config.low_rank, bottom])
        gradients_Nd = self.unembedding.gradients(tokens_N)
        aim_N, rise_N, sink_N = steps_RN * (gradients_Nd * self.unembedding.spread(gradients_Nd)).sum(-1)
        upper_N = torch.where(low_N, aim_N, rise_N)
        return torch.minimum(sink_N, upper_N), upper_N
