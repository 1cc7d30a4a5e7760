"""What is computed once of a vocabulary: the Gram matrix of a model's head, and a row of logits for each token.

Legend of shape suffixes: V vocabulary, d hidden, N rows, U new tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

_KEPT = 2**28  # bytes of rows
_GRAMS: WeakKeyDictionary[nn.Module, tuple[str, Tensor]] = WeakKeyDictionary()


def gram_of(head: nn.Module, digest: str, make: Callable[[], Tensor]) -> Tensor:
    """The Gram matrix that belongs to a head and to the digest of all that decides it; kept as long as the head lives.

    By value, for a weight can be written to without its identity or its version showing it.
    """
    kept = _GRAMS.get(head)
    if kept is None or kept[0] != digest:
        kept = _GRAMS[head] = (digest, make())
    return kept[1]


class TokenRows:
    """A row of logits for each token, computed when it is first asked for; those that do not fit, each time."""

    def __init__(self) -> None:
        self._rows: dict[int, Tensor] = {}

    def of(
        self, tokens_N: Int[Tensor, " N"], make: Callable[[Int[Tensor, " U"]], Float[Tensor, "U V"]]
    ) -> Float[Tensor, "N V"]:
        """The row of each token; `make` gives those of some of `tokens_N`, by their places there."""
        tokens = tokens_N.tolist()
        if not tokens:
            return make(torch.tensor([], dtype=torch.int64))
        places = {token: place for place, token in enumerate(tokens) if token not in self._rows}
        if not places:
            return torch.stack([self._rows[token] for token in tokens])
        new_UV = make(torch.tensor(list(places.values())))
        found = self._rows | dict(zip(places, new_UV, strict=True))
        room = max(0, _KEPT // (new_UV[0].numel() * new_UV.element_size()) - len(self._rows))
        # A row of its own memory: a view would keep all of them.
        self._rows.update((token, found[token].clone()) for token in list(places)[:room])
        return torch.stack([found[token] for token in tokens])
