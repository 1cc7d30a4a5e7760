"""The changes of several weights, each encoded when somebody asks for it.

Most patches are made, perhaps reverted, and forgotten, and encoding is the dearest part of making one. Until it is
asked for, a change is its two sides, on the CPU: taking it back is a copy, and as exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from revs.model.digest import tensor_digest
from revs.patch.encode import Factors, WeightChange, change_of


@dataclass(frozen=True, slots=True, eq=False)
class _Sides:
    """Both sides of a weight, and the factors of their difference, if known."""

    before: Tensor
    after: Tensor
    factors: Factors | None
    changed: bool


# Of values in general: those who check types at run time would look at one, and have it encoded.
class Changes(Mapping[str, Any]):
    """How each weight changed, a `WeightChange` by name."""

    def __init__(self, known: Mapping[str, WeightChange]) -> None:
        self._found: dict[str, WeightChange | _Sides] = dict(known)

    @classmethod
    def between(
        cls,
        before: Mapping[str, Tensor],
        after: Mapping[str, Tensor],
        factors: Mapping[str, Factors],
        *,
        copied: bool,
    ) -> Changes:
        """From the values `before` to those `after`: same names, shapes and floating dtypes.

        `copied`: nobody else will write to `before`, which is on the CPU.
        """
        changes = cls({})
        for name, old in before.items():
            old = old.detach() if copied else old.detach().to("cpu", copy=True)
            new = after[name].detach().to("cpu", copy=True)
            changes._found[name] = _Sides(old, new, factors.get(name), changed=not _same(old, new))
        return changes

    def __getitem__(self, name: str) -> WeightChange:
        found = self._found[name]
        if isinstance(found, _Sides):
            found = self._found[name] = change_of(found.before, found.after, found.factors)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"Changes({len(self)} weights)"

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of the weights whose values change."""
        return tuple(name for name, found in self._found.items() if found.changed)

    def ends(self) -> dict[str, tuple[str, str]]:
        """Digests before and after, of the weights whose values change."""
        return {name: _ends(found) for name, found in self._found.items() if found.changed}

    def exchange(self, name: str, held: Tensor, verb: str) -> Tensor:
        """The other side of `held`: as `WeightChange.exchange`, without encoding where both sides are there."""
        found = self._found[name]
        if isinstance(found, _Sides):
            present, wanted = (found.before, found.after) if verb == "apply" else (found.after, found.before)
            if _same(held.detach().cpu(), present):
                return wanted
        return self[name].exchange(name, held, verb)


def _ends(found: WeightChange | _Sides) -> tuple[str, str]:
    if isinstance(found, _Sides):
        return tensor_digest(found.before), tensor_digest(found.after)
    return found.base, found.edited


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal to the bit: NaN payloads and the sign of zero count."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    bits = (side.contiguous().flatten().view(torch.uint8) for side in (one, other))
    return bool(torch.equal(*bits))
