"""Which columns of one FF2 matrix are edited for one token, best first: REVS's own choice and those of its ablations.

A selection is a function from a `Scene` to the column numbers in order of preference; the editor takes as many from
the front as it needs. Where two columns tie, the first of them in the order before goes first.

Legend of shape suffixes: m width of the key, d hidden, C columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revs.model.vocabulary import Unembedding

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
    """The largest |key entry| first: a negative entry writes its column too, turned round."""
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
