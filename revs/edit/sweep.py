"""One joint edit under way: sweeps over the layers until every target token ranks low enough after each of them.

In one sweep, after every layer: read the residual at the positions that predict target tokens, compute the exact steps
along q_t to the ranks that bound where each may go (`revs.model.vocabulary`), solve for the change of the matrices that
write the layer's output (`revs.edit.solver`), write it, and pass the corrected residual on, so the layers above already
see the edited ones below. Before the first sweep and after every one, the prompts alone, without their variations, are
read again with the weights as they are stored. In the first sweep the tokens of `revs.edit.constraints` must not fall.
Later sweeps move only the targets that are still too high somewhere; the keys of the others, as they were read, enter
C.

Legend of shape suffixes: B batch, T positions, N studied tokens, n those of the prompts as written, m width of the
keys, d hidden, L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from revs.config import EraseConfig
from revs.edit.constraints import Protection
from revs.edit.moments import Progress
from revs.edit.passes import Correct, edited_pass
from revs.edit.solver import joint_update
from revs.edit.token_records import ranks_by_layer, token_records
from revs.errors import BadInput
from revs.model.adapter import Architecture
from revs.model.batch import Batch
from revs.model.hooks import check_ids
from revs.model.offload import input_device
from revs.model.quantize import rounded_copy
from revs.model.vocabulary import Unembedding
from revs.patch.factors import TokenSum
from revs.patch.patch import TokenRecord
from revs.targets.tokenize import TokenisedTarget, collate

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_WIDER = 1.5
_ENOUGH = 1.3  # of `low_rank`: with 1.1, other targets' movements brought some back over it, for another sweep
_HARD = 1e-3  # ε of protected tokens: small enough to keep the bound, large enough for equal keys with opposed bounds


class JointEdit:
    """The edit of some targets, together with variations of their prompts."""

    def __init__(
        self,
        model: PreTrainedModel,
        architecture: Architecture,
        unembedding: Unembedding,
        config: EraseConfig,
        moments: Callable[[int], Tensor],
        targets: Sequence[TokenisedTarget],
        variations: Sequence[TokenisedTarget],
        protection: Protection,
        *,
        pad: int,
    ) -> None:
        """`moments`: C of a layer, (m, m), as it is when the layer is edited; `variations`: copy after copy of all."""
        self.model, self.architecture, self.unembedding, self.config = model, architecture, unembedding, config
        self.moments, self.protection = moments, protection
        self.targets, self.variations, self.pad = targets, variations, pad
        self.own = collate(targets, pad=pad, device=input_device(model))
        self.layers = architecture.decoder_layers(model)
        self.sweeps = 0
        self._before_N: Tensor | None = None
        self._ranks_Ln = torch.empty(0)
        self._rounded_Ln: Tensor | None = None
        self._margin = 1.0  # by which ranks are raised so that rounding does not bring a token back
        self.keys_Lnm: list[Tensor] = []
        self._columns_Ln = torch.zeros(len(self.layers), int(self.own.chosen_N.sum()), dtype=torch.int64)
        self._swept = list(range(len(targets)))
        self.batch = self._batch()
        tokens_N = self.batch.token_N[self.batch.chosen_N]
        self._updates = TokenSum(tokens_N, unembedding.directions(tokens_N))

    def settle(self, progress: Progress | None) -> bool:
        """Sweep until every target token ranks low enough or the sweeps are used up; whether anything moved."""
        first = self.sweeps
        while self.read() and self.sweeps < self.config.sweeps:
            self.sweeps += 1
            if progress is not None:
                progress("sweep", self.sweeps, self.config.sweeps)
            self._swept = list(range(len(self.targets))) if self.sweeps == 1 else self._too_high()
            self.batch = self._batch()
            edited_pass(
                self.model, self.architecture, self.batch, self._on_layer,
                rows=self.config.batch_size, first=self.config.first_layer,
            )  # fmt: skip
        return self.sweeps > first

    def _batch(self) -> Batch:
        """The swept targets, their variations, and in the first sweep what is protected."""
        copies = range(0, len(self.variations), len(self.targets))
        varied = [self.variations[copy + number] for copy in copies for number in self._swept]
        protected = self.protection.rows if self._protects else ()
        swept = [*(self.targets[number] for number in self._swept), *varied, *protected]
        batch = collate(swept, pad=self.pad, device=input_device(self.model))
        check_ids(self.model, batch.ids_BT)
        return batch

    def _too_high(self) -> list[int]:
        """Numbers of the targets with a token that ranks above `low_rank` after some layer, rounded or not."""
        lowest_Ln = self._ranks_Ln if self._rounded_Ln is None else torch.minimum(self._ranks_Ln, self._rounded_Ln)
        high_n = (lowest_Ln[self.config.first_layer :] < self.config.low_rank).any(0)
        return sorted(set(self.own.target_N[self.own.chosen_N][high_n].tolist()))

    def _swept_n(self) -> Tensor:
        """Which of the target tokens belong to swept targets."""
        return torch.isin(self.own.target_N[self.own.chosen_N], torch.tensor(self._swept))

    def read(self) -> bool:
        """Read the ranks again, in forward passes; whether a target token is too high after any layer."""
        self._ranks_Ln, self.keys_Lnm = ranks_by_layer(
            self.model, self.architecture, self.unembedding, self.own, rows=self.config.batch_size
        )
        if self._before_N is None:
            self._before_N = self._ranks_Ln[-1]
        elif self.config.survive:
            self._read_rounded()
        return bool(self._too_high())

    def _read_rounded(self) -> None:
        """The same on rounded copies; where only they bring a token back, the next sweep aims further."""
        parts = []
        for to in self.config.survive:
            other = rounded_copy(self.model, to)
            unembedding = Unembedding(other, self.architecture)
            ranks_Ln, _ = ranks_by_layer(other, self.architecture, unembedding, self.own, rows=self.config.batch_size)
            parts.append(ranks_Ln)
        self._rounded_Ln = torch.stack(parts).amin(0)
        low = self.config.low_rank
        if bool((self._rounded_Ln < low).any()):
            self._margin *= _WIDER

    def _rank(self, asked: int) -> int:
        """A rank that the settings ask for, with the margin for rounding; never beyond the middle of the vocabulary."""
        return max(asked, min(round(asked * self._margin), self.unembedding.vocabulary // 2))

    def records(self, numbers: Sequence[int]) -> tuple[TokenRecord, ...]:
        """What became of each target token; `numbers` are those of the targets in the caller's list."""
        assert self._before_N is not None
        found = token_records(
            self.own,
            self._before_N,
            self._ranks_Ln[-1],
            self._columns_Ln,
            low_rank=self.config.low_rank,
            wanted=self._aim(len(self.layers) - 1),
            rounded_N=None if self._rounded_Ln is None else self._rounded_Ln[-1],
        )
        return tuple(replace(record, target=numbers[record.target]) for record in found)

    def factors(self) -> dict[str, tuple[Tensor, Tensor]]:
        """The sum of all updates of each weight as low-rank factors, by the weight's name."""
        found: dict[str, tuple[Tensor, Tensor]] = {}
        for number, layer in enumerate(self.layers):
            if (total := self._updates.factors(number)) is None:
                continue
            left, rights = total[0], torch.split(total[1], self.architecture.widths(layer), dim=1)
            for name, part, transposed in zip(
                self.architecture.weight_names(number), rights, self.architecture.transposed(layer), strict=True
            ):
                found[name] = (part.T, left.T) if transposed else (left, part)
        return found

    def _on_layer(self, layer: int, keys_Nm: Tensor, hidden_Nd: Tensor) -> Correct | None:
        """Edit one layer; what its change does to the residual, or None if nothing moves."""
        old_dm = self.architecture.weight(self.layers[layer]).to(hidden_Nd.device)
        change_dm = self._layer_update(layer, keys_Nm, hidden_Nd, old_dm)
        if change_dm is None:
            return None
        module, found_dm = self.layers[layer], change_dm
        return lambda keys_BTm, hidden_BTd: (
            hidden_BTd + self.architecture.residual_change(module, keys_BTm, old_dm, found_dm)
        )

    def _layer_update(self, layer: int, keys_Nm: Tensor, hidden_Nd: Tensor, old_dm: Tensor) -> Tensor | None:
        """Edit one layer; the change as stored, after rounding to the weight's dtype, or None if nothing moves."""
        config = self.config
        tokens_N = self.batch.token_N[self.batch.chosen_N]
        moved = len(tokens_N) - (self.protection.count if self._protects else 0)  # the rest must not fall
        low_N = self.unembedding.ranks(hidden_Nd[:moved], tokens_N[:moved]).cpu() < self._rank(config.low_rank)
        swept_n = self._swept_n()
        low_own_N = low_N[: int(swept_n.sum())]  # the targets stand in front of their variations
        if not bool(low_own_N.any()):  # variations alone move nothing: they are only asked for
            return None
        moved_n = swept_n.clone()
        moved_n[swept_n] = low_own_N
        self._columns_Ln[layer, moved_n] = keys_Nm.shape[1]  # every column shares the movement
        lower_N, upper_N = self._bounds(layer, hidden_Nd[:moved], tokens_N[:moved], low_N, own=len(low_own_N))
        if self._protects:
            gradients_Pd = self.unembedding.gradients(tokens_N[moved:])
            least_P = self.protection.bounds(layer, (hidden_Nd[moved:].to(gradients_Pd) * gradients_Pd).sum(-1))
            lower_N, upper_N = torch.cat([lower_N, least_P]), torch.cat([upper_N, torch.full_like(least_P, torch.inf)])
        epsilon_N = torch.full_like(lower_N, config.epsilon)
        epsilon_N[moved:] = min(config.epsilon, _HARD)
        gradients_Nd, directions_Nd = self._at_writers(layer, keys_Nm, tokens_N)
        try:
            left_dN, right_Nm = joint_update(
                keys_Nm.float(),
                directions_Nd,
                gradients_Nd @ directions_Nd.T,
                lower_N.to(keys_Nm.device),
                upper_N.to(keys_Nm.device),
                self._moment(layer).to(keys_Nm.device),
                epsilon=epsilon_N.to(keys_Nm.device),
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
        self._updates.add(layer, tokens_N, left_dN, right_Nm)
        return new_dm - old_dm

    def _moment(self, layer: int) -> Tensor:
        """C, with the keys of the targets that this sweep does not move."""
        moment_mm = self.moments(layer)
        settled_n = ~self._swept_n()
        if not bool(settled_n.any()):
            return moment_mm
        keys_nm = self.keys_Lnm[layer][settled_n].to(moment_mm)
        return moment_mm + self.config.retain_weight / len(keys_nm) * (keys_nm.T @ keys_nm)

    @property
    def _protects(self) -> bool:
        """Whether this sweep holds the protected tokens up: only the first does; later ones put erasing first."""
        return self.sweeps <= 1

    def _at_writers(self, layer: int, keys_Nm: Tensor, tokens_N: Tensor) -> tuple[Tensor, Tensor]:
        """Of each key's token: the gradient of its logit at the writers' output, and the direction that moves it there.

        Float64, (N, d) each, where the keys are; where the writers add straight to the residual stream the direction
        is q_t.
        """
        module, architecture = self.layers[layer], self.architecture
        gradients_Nd = self.unembedding.gradients(tokens_N).to(keys_Nm.device)
        gradients_Nd = architecture.pull_back(module, keys_Nm, gradients_Nd)
        directions_Nd = self.unembedding.spread(architecture.undo_gain(module, gradients_Nd)).to(keys_Nm.device)
        return gradients_Nd, architecture.undo_gain(module, directions_Nd)

    def _aim(self, layer: int) -> int:
        """The rank to which a layer moves what ranks too high after it."""
        config = self.config
        if layer == len(self.layers) - 1:
            return max(config.aim_rank, round(config.output_share * self.unembedding.vocabulary))
        if layer == config.first_layer:
            return config.aim_rank
        return min(config.aim_rank, round(_ENOUGH * config.low_rank))

    def _bounds(
        self, layer: int, hidden_Nd: Tensor, tokens_N: Tensor, low_N: Tensor, *, own: int
    ) -> tuple[Tensor, Tensor]:
        """Changes of logits between which each token may move: what ranks too high goes down to the layer's rank, and
        what ranks low enough may rise to `low_rank`. The first `own` are those of the prompts as written: they sink no
        nearer to the end of the vocabulary than `aim_rank`. Variations may: nobody asks where they end.
        """
        unembedding, low, end = self.unembedding, self._rank(self.config.low_rank), self._rank(self.config.aim_rank)
        upper_N = torch.zeros(len(tokens_N), dtype=torch.float64, device=unembedding.device)
        for rank, some_N in ((self._rank(self._aim(layer)), low_N), (low, ~low_N)):
            upper_N[some_N] = unembedding.steps_to_ranks(hidden_Nd[some_N], tokens_N[some_N], [rank])[0]
        (sink_n,) = unembedding.steps_to_ranks(hidden_Nd[:own], tokens_N[:own], [unembedding.vocabulary - end])
        gradients_Nd = unembedding.gradients(tokens_N)
        change_N = (gradients_Nd * unembedding.spread(gradients_Nd)).sum(-1)  # of each token's logit, by a step of 1
        upper_N *= change_N
        lower_N = torch.full_like(upper_N, -torch.inf)
        lower_N[:own] = torch.minimum(sink_n * change_N[:own], upper_N[:own])
        return lower_N, upper_N
