"""One joint edit under way: sweeps over the layers until every target token ranks low enough after each of them.

In one sweep, after every layer: read the residual at the positions that predict target tokens, compute the exact steps
along q_t to the ranks that bound where each may go (`revs.model.vocabulary`), solve for the change of the matrices that
write the layer's output (`revs.edit.solver`), write it, and pass the corrected residual on, so the layers above already
see the edited ones below. Before the first sweep and after every one, the prompts alone, without their variations, are
read again with the weights as they are stored. The tokens of `revs.edit.constraints` must not fall, in as many sweeps
as the aim says.
Later sweeps move only the targets that are still too high somewhere; the keys of the others, as they were read, enter
C.

Legend of shape suffixes: B batch, T positions, N studied tokens, n those of the prompts as written, m width of the
keys, d hidden, L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from revs.config import EraseConfig
from revs.edit.aim import Aim
from revs.edit.constraints import Protection
from revs.edit.moments import Progress
from revs.edit.passes import Correct, edited_pass
from revs.edit.solver import joint_update
from revs.edit.token_records import ByLayer, standing_by_layer, token_records
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

_HARD = 1e-3  # ε of tokens of text: small enough to keep the bound, large enough for equal keys with opposed bounds
# ε of tokens of others' records, relative to that of the targets: they pull back, and what is to be erased prevails.
# Measured on development models: as hard as text they forced movements that broke perplexity and other records; with 30
# as many records were kept as with 100, at 1.8 times the cost in perplexity (GPT-J, digit by digit, seed 11).
_PULL = 100.0
# ε of what is held in place of the moved tokens, relative to that of the targets. With 1 fewer of others' records were
# kept on a development model.
_HELD = 10.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """The rows of one layer's solve: key, token, gradient of its logit, bounds of its change, ε."""

    keys_Nm: Tensor
    tokens_N: Tensor
    gradients_Nd: Tensor
    lower_N: Tensor
    upper_N: Tensor
    epsilon_N: Tensor

    def holding(self, rows_H: Tensor, tokens_H: Tensor, gradients_Hd: Tensor, *, epsilon: float) -> _Asked:
        """With further rows, at the keys of some of these, where what has the given gradients may not fall."""
        zero_H = self.lower_N.new_zeros(len(rows_H))
        return _Asked(
            torch.cat([self.keys_Nm, self.keys_Nm[rows_H.to(self.keys_Nm.device)]]),
            torch.cat([self.tokens_N, tokens_H]),
            torch.cat([self.gradients_Nd, gradients_Hd]),
            torch.cat([self.lower_N, zero_H]),
            torch.cat([self.upper_N, zero_H + torch.inf]),
            torch.cat([self.epsilon_N, zero_H + epsilon]),
        )


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
        aim: Aim,
        *,
        pad: int,
    ) -> None:
        """`moments`: C of a layer, (m, m), as it is when the layer is edited; `variations`: copy after copy of all."""
        self.model, self.architecture, self.unembedding, self.config = model, architecture, unembedding, config
        self.moments, self.aim = moments, aim
        self._protection = protection  # of all that may be harmed; what a sweep may harm: `self.protection`
        self.targets, self.variations, self.pad = targets, variations, pad
        self.own = collate(targets, pad=pad, device=input_device(model))
        self.layers = architecture.decoder_layers(model)
        self.sweeps = 0
        self._before_N: Tensor | None = None
        self._ranks_Ln = torch.empty(0)
        self._high_Ln = torch.empty(0, dtype=torch.bool)  # what stands too high, as it is or rounded
        self._rounded_Ln: Tensor | None = None
        self.keys_Lnm: list[Tensor] = []
        self._columns_Ln = torch.zeros(len(self.layers), int(self.own.chosen_N.sum()), dtype=torch.int64)
        self._swept = list(range(len(targets)))
        self.batch = self._batch()
        tokens_N = self.batch.token_N[self.batch.chosen_N]
        directions_Nd = unembedding.directions(tokens_N)
        if aim.held_nd is not None:  # what is held moves along directions of its own, under numbers behind all tokens
            tokens_N = torch.cat([tokens_N, unembedding.vocabulary + torch.arange(len(aim.held_nd))])
            directions_Nd = torch.cat([directions_Nd, unembedding.spread(aim.held_nd).float()])
        self._updates = TokenSum(tokens_N, directions_Nd)

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
        """The swept targets, their variations, and what their movement may harm, as long as that is protected."""
        copies = range(0, len(self.variations), len(self.targets))
        varied = [self.variations[copy + number] for copy in copies for number in self._swept]
        self.protection = self._protection.around([self.targets[number] for number in self._swept])
        protected = self.protection.rows if self._protects else ()
        swept = [*(self.targets[number] for number in self._swept), *varied, *protected]
        batch = collate(swept, pad=self.pad, device=input_device(self.model))
        check_ids(self.model, batch.ids_BT)
        return batch

    def _too_high(self) -> list[int]:
        """Numbers of the targets with a token that stands too high after some layer, as it is or rounded."""
        high_n = self._high_Ln[self.config.first_layer :].any(0)
        return sorted(set(self.own.target_N[self.own.chosen_N][high_n].tolist()))

    def _swept_n(self) -> Tensor:
        """Which of the target tokens belong to swept targets."""
        return torch.isin(self.own.target_N[self.own.chosen_N], torch.tensor(self._swept))

    def read(self) -> bool:
        """Read again where the tokens stand, in forward passes; whether one stands too high after any layer."""
        found = self._standing(self.model, self.unembedding)
        self._ranks_Ln, self._high_Ln, self.keys_Lnm = found.rank_LN, self._too_high_Ln(found), found.keys_LNm
        if self._before_N is None:
            self._before_N = self._ranks_Ln[-1]
        elif self.config.survive:
            self._read_rounded()
        return bool(self._too_high())

    def _standing(self, model: PreTrainedModel, unembedding: Unembedding) -> ByLayer:
        return standing_by_layer(
            model, self.architecture, unembedding, self.own, rows=self.config.batch_size,
            others_NS=self.aim.others_nS,
        )  # fmt: skip

    def _too_high_Ln(self, found: ByLayer) -> Tensor:
        own_n = torch.arange(found.rank_LN.shape[1])
        return torch.stack([self.aim.too_high(layer, found.of(layer), own_n) for layer in range(len(self.layers))])

    def _read_rounded(self) -> None:
        """The same on rounded copies; where only they bring a token back, the next sweep aims further."""
        ranks, high = [], []
        for to in self.config.survive:
            other = rounded_copy(self.model, to)
            found = self._standing(other, Unembedding(other, self.architecture))
            ranks.append(found.rank_LN)
            high.append(self._too_high_Ln(found))
        self._rounded_Ln, high_Ln = torch.stack(ranks).amin(0), torch.stack(high).any(0)
        self._high_Ln = self._high_Ln | high_Ln
        if bool(high_Ln.any()):
            self.aim.further()

    def records(self, numbers: Sequence[int]) -> tuple[TokenRecord, ...]:
        """What became of each target token; `numbers` are those of the targets in the caller's list."""
        assert self._before_N is not None
        found = token_records(
            self.own,
            self._before_N,
            self._ranks_Ln[-1],
            self._columns_Ln,
            short_N=self._high_Ln[-1] | self._still_first_n(),
            wanted_N=self.aim.wanted_n,
            rounded_N=None if self._rounded_Ln is None else self._rounded_Ln[-1],
        )
        return tuple(replace(record, target=numbers[record.target]) for record in found)

    def _still_first_n(self) -> Tensor:
        """Tokens of secrets whose every token is still the most likely one, whatever the aim is content with."""
        owner_n = self.own.target_N[self.own.chosen_N]
        highest_T = self._ranks_Ln.new_zeros(len(self.targets)).scatter_reduce(0, owner_n, self._ranks_Ln[-1], "amax")
        return highest_T[owner_n] == 0

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
        asked = self._asked(layer, keys_Nm, hidden_Nd)
        if asked is None:
            return None
        gradients_Nd, directions_Nd = self._at_writers(layer, asked.keys_Nm, asked.gradients_Nd)
        try:
            left_dN, right_Nm = joint_update(
                asked.keys_Nm.float(),
                directions_Nd,
                gradients_Nd @ directions_Nd.T,
                asked.lower_N.to(keys_Nm.device),
                asked.upper_N.to(keys_Nm.device),
                self._moment(layer).to(keys_Nm.device),
                epsilon=asked.epsilon_N.to(keys_Nm.device),
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
        self._updates.add(layer, asked.tokens_N, left_dN, right_Nm)
        return new_dm - old_dm

    def _asked(self, layer: int, keys_Nm: Tensor, hidden_Nd: Tensor) -> _Asked | None:
        """The rows of the layer's solve, or None if nothing moves: targets and variations, what is protected, held."""
        config = self.config
        tokens_N = self.batch.token_N[self.batch.chosen_N]
        moved = len(tokens_N) - (self.protection.count if self._protects else 0)  # the rest must not fall
        swept_n = self._swept_n()
        own = int(swept_n.sum())
        own_N = swept_n.nonzero().flatten().repeat(moved // own)  # the targets stand in front of their variations
        others_NS = None if self.aim.others_nS is None else self.aim.others_nS[own_N]
        standing = self.unembedding.standing(hidden_Nd[:moved], tokens_N[:moved], others_NS)
        high_own_N = self.aim.moves(layer, standing, own_N).cpu()[:own]
        if not bool(high_own_N.any()):  # variations alone move nothing: they are only asked for
            return None
        moved_n = swept_n.clone()
        moved_n[swept_n] = high_own_N
        self._columns_Ln[layer, moved_n] = keys_Nm.shape[1]  # every column shares the movement
        lower_N, upper_N = self.aim.bounds(layer, hidden_Nd[:moved], tokens_N[:moved], standing, own_N, own=own)
        gradients_Nd = self.unembedding.gradients(tokens_N)
        if self._protects:
            least_P = self.protection.bounds(layer, (hidden_Nd[moved:].to(gradients_Nd) * gradients_Nd[moved:]).sum(-1))
            lower_N, upper_N = torch.cat([lower_N, least_P]), torch.cat([upper_N, torch.full_like(least_P, torch.inf)])
        epsilon_N = torch.full_like(lower_N, config.epsilon)
        epsilon_N[moved:] = min(config.epsilon, _HARD)
        epsilon_N[moved : moved + self.protection.kept] = _PULL * config.epsilon
        asked = _Asked(keys_Nm, tokens_N, gradients_Nd, lower_N, upper_N, epsilon_N)
        if self.aim.held_nd is None:
            return asked
        rows_H = self.aim.held_nd.any(1).cpu()[own_N].nonzero().flatten()
        return asked.holding(
            rows_H, self.unembedding.vocabulary + own_N[rows_H], self.aim.held_nd[own_N[rows_H]],
            epsilon=_HELD * config.epsilon,
        )  # fmt: skip

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
        """Whether this sweep holds the protected tokens up."""
        return self.sweeps <= self.aim.protected_sweeps

    def _at_writers(self, layer: int, keys_Nm: Tensor, gradients_Nd: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients at the writers' output, and the directions that move what they are of there.

        Float64, (N, d) each, where the keys are; where the writers add straight to the residual stream the direction
        is q_t.
        """
        module, architecture = self.layers[layer], self.architecture
        gradients_Nd = architecture.pull_back(module, keys_Nm, gradients_Nd.to(keys_Nm.device))
        directions_Nd = self.unembedding.spread(architecture.undo_gain(module, gradients_Nd)).to(keys_Nm.device)
        return gradients_Nd, architecture.undo_gain(module, directions_Nd)
