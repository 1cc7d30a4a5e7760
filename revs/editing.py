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

from revs.architectures import Architecture, architecture_of
from revs.config import EraseConfig
from revs.errors import BadInput
from revs.joint import joint_update
from revs.lowrank import TokenSum
from revs.moments import key_moments
from revs.patch import Patch, TokenRecord
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
    context = int(getattr(model.config, "max_position_embeddings", None) or model.config.n_positions)

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
    both = set(targets).intersection(retain)
    if both:
        raise BadInput(f"{len(both)} target(s) are to be erased and retained at once; take them out of one list")
    layers = architecture.decoder_layers(model)
    if config.first_layer >= len(layers):
        raise BadInput(f"first_layer {config.first_layer} leaves nothing to edit: the model has {len(layers)} layers")
    _check_weights(model, architecture)
    return architecture, asdict(config)


def _check_weights(model: PreTrainedModel, architecture: Architecture) -> None:
    for layer in architecture.decoder_layers(model):
        for linear in architecture.linears(layer):
            dtype = linear.weight.dtype
            if not dtype.is_floating_point:
                raise BadInput(
                    f"the model is quantised ({dtype}); edit it in float32 or bfloat16 and quantise the result"
                )
    for name, weight in model.named_parameters():
        if weight.dtype.is_floating_point and not torch.isfinite(weight).all():
            raise BadInput(f"{name} holds NaN or infinite values; load an intact checkpoint")


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
        rank_before_N = self._final_ranks()
        for sweep in range(1, self.config.sweeps + 1):
            if progress is not None:
                progress("sweep", sweep, self.config.sweeps)
            if not self._one_pass():
                break
        return sweep, self._records(rank_before_N, self._final_ranks())

    def _one_pass(self) -> bool:
        moved = False

        def on_layer(layer: int, keys_BTm: Tensor, hidden_BTd: Tensor) -> Tensor | None:
            nonlocal moved
            change_dm = self._layer_update(layer, keys_BTm, hidden_BTd) if layer >= self.config.first_layer else None
            if change_dm is None:
                return None
            moved = True
            return hidden_BTd + keys_BTm @ change_dm.T

        run(self.model, self.architecture, self.batch, on_layer)
        return moved

    def _layer_update(self, layer: int, keys_BTm: Tensor, hidden_BTd: Tensor) -> Tensor | None:
        """Edit one layer; the change as stored, after rounding to the weight's dtype, or None if nothing moves."""
        chosen, config = self.batch.chosen_N, self.config
        rows, positions, tokens_N = self.batch.row_N[chosen], self.batch.position_N[chosen], self.batch.token_N[chosen]
        hidden_Nd, keys_Nm = hidden_BTd[rows, positions], keys_BTm[rows, positions]
        low_N = self.unembedding.ranks(hidden_Nd, tokens_N) < config.low_rank
        if not bool((low_N & self.as_written_N).any()):  # variations alone move nothing: they are only asked for
            return None
        self.moved_LN[layer] |= low_N.cpu()
        logits_NN = self.unembedding.logit_changes(tokens_N)
        lower_N, upper_N = (bound_N * logits_NN.diagonal() for bound_N in self._bounds(hidden_Nd, tokens_N, low_N))
        try:
            left_dN, right_Nm = joint_update(
                keys_Nm.float(),
                self.unembedding.directions(tokens_N),
                logits_NN,
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
        old_dm = self.architecture.weight(self.layers[layer])
        new_dm = (old_dm.double() + left_dN @ right_Nm).to(old_dm.dtype)
        if not torch.isfinite(new_dm).all():
            raise BadInput(
                f"the edit of layer {layer} is not finite in {old_dm.dtype}; raise ridge (now {config.ridge})"
            )
        self.architecture.set_weight(self.layers[layer], new_dm)
        self.updates.add(layer, left_dN, right_Nm)
        return new_dm - old_dm

    def factors(self) -> dict[str, tuple[Tensor, Tensor]]:
        """The sum of all updates of each weight as low-rank factors, by the weight's name."""
        found: dict[str, tuple[Tensor, Tensor]] = {}
        for number, layer in enumerate(self.layers):
            if (total := self.updates.factors(number)) is None:
                continue
            widths = [linear.in_features for linear in self.architecture.linears(layer)]
            rights = torch.split(total[1], widths, dim=1)
            found |= {
                name: (total[0], part)
                for name, part in zip(self.architecture.weight_names(number), rights, strict=True)
            }
        return found

    def _bounds(self, hidden_Nd: Tensor, tokens_N: Tensor, low_N: Tensor) -> tuple[Tensor, Tensor]:
        """Steps along q_t between which each token may move: what ranks too high goes down to `aim_rank`, what ranks
        low enough may rise to `low_rank`, and nothing sinks nearer to the end of the vocabulary than `aim_rank`.
        """
        config, bottom = self.config, self.unembedding.vocabulary - self.config.aim_rank
        aim_N, rise_N, sink_N = self.unembedding.steps_to_ranks(
            hidden_Nd, tokens_N, [config.aim_rank, config.low_rank, bottom]
        )
        upper_N = torch.where(low_N, aim_N, rise_N)
        return torch.minimum(sink_N, upper_N), upper_N

    def _final_ranks(self) -> Tensor:
        chosen = self.batch.chosen_N
        rows, positions = self.batch.row_N[chosen], self.batch.position_N[chosen]
        ranks: list[Tensor] = []

        def read(layer: int, _keys: Tensor, hidden_BTd: Tensor) -> None:
            if layer == len(self.layers) - 1:
                ranks.append(self.unembedding.ranks(hidden_BTd[rows, positions], self.batch.token_N[chosen]).cpu())

        run(self.model, self.architecture, self.batch, read)
        return ranks[0]

    def _records(self, before_N: Tensor, after_N: Tensor) -> tuple[TokenRecord, ...]:
        chosen = self.batch.chosen_N.cpu()
        target_N = self.batch.target_N.cpu()
        first = {t: int((target_N < t).sum()) for t in set(target_N.tolist())}
        length = {t: int((target_N == t).sum()) for t in first}
        records = []
        for column, place in enumerate(chosen.nonzero().flatten().tolist()):
            target, layers = int(target_N[place]), int(self.moved_LN[:, column].sum())
            rank = int(after_N[column])
            stopped = "short" if rank < self.config.low_rank else "reached" if layers else "already"
            records.append(
                TokenRecord(
                    target=target,
                    place=place - first[target],
                    length=length[target],
                    rank_before=int(before_N[column]),
                    rank_after=rank,
                    wanted=self.config.aim_rank,
                    layers=layers,
                    stopped=stopped,
                )
            )
        return tuple(records)
