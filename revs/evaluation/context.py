"""One model under examination: what is asked of it, and what was computed of it, kept once for all who need it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor

from revs.errors import BadInput, Gap, RevsError
from revs.evaluation.decoding import greedily_extracted
from revs.evaluation.ranks import Readings, read
from revs.model.families import context_length
from revs.model.hooks import pad_id
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, tokenise
from revs.targets.variations import perturbed

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class _Missing:
    """What is kept in place of a figure: the reason alone, for an exception would hold on to a model in its frames."""

    reason: str


def _reason(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "memory did not suffice; try a smaller batch_size"
    return f"it failed ({(str(error).splitlines() or [type(error).__name__])[0][:200]})"


_CALLED = {
    "targets": "target", "unseen": "unseen target", "other": "other target", "retain": "retained record",
    "perturbed": "perturbed target",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Examination:
    """Arguments as of `revs.evaluate`. The model must not change while it is examined."""

    model: PreTrainedModel = field(repr=False)
    tokenizer: PreTrainedTokenizerBase = field(repr=False)
    targets: Sequence[Target] = field(repr=False)
    unseen: Sequence[Target] = field(default=(), repr=False)
    other: Sequence[Target] = field(default=(), repr=False)
    retain: Sequence[Target] = field(default=(), repr=False)
    text: Sequence[str] = field(default=(), repr=False)
    unrelated: Sequence[Target] = field(default=(), repr=False)
    other_templates: Sequence[Target] = field(default=(), repr=False)
    original: PreTrainedModel | None = field(default=None, repr=False)
    twin: PreTrainedModel | None = field(default=None, repr=False)
    k: int = 100
    tokens_per_secret: int | None = 2
    token_counts_V: Int[Tensor, " V"] | None = field(default=None, repr=False)
    seed: int = 0
    batch_size: int = 64
    _kept: dict[tuple[str, str], Any] = field(default_factory=dict, init=False, repr=False)

    def of(self, model: PreTrainedModel) -> Examination:
        """The same questions to another model; nothing read so far counts for it."""
        return replace(self, model=model)

    @property
    def context(self) -> int:
        return context_length(self.model)

    @property
    def prompts(self) -> list[Target]:
        """Everything an adversary may ask: edited and unseen prompts."""
        return [*self.targets, *self.unseen]

    def once(self, kind: str, name: str, make: Callable[[], Any], *, refusal_is_gap: bool = False) -> Any:
        """What `make` gives, made once, and if it cannot be, not tried again.

        Raises:
            Gap: it cannot be made. Memory that does not suffice, another failure of the computation, or, with
                `refusal_is_gap`, a BadInput, costs this one figure: those finished before or made later stay.
        """
        if (kind, name) not in self._kept:
            try:
                self._kept[kind, name] = make()
            except Gap as gap:
                self._kept[kind, name] = _Missing(str(gap))
            except RevsError as error:
                if not refusal_is_gap or not isinstance(error, BadInput):
                    raise
                self._kept[kind, name] = _Missing(_reason(error))
            except Exception as error:
                self._kept[kind, name] = _Missing(_reason(error))
        kept = self._kept[kind, name]
        if isinstance(kept, _Missing):
            raise Gap(kept.reason)
        return kept

    def set_of(self, name: str) -> Sequence[Target]:
        """The targets of that name.

        Raises:
            Gap: there are none.
        """
        found = perturbed(self.targets, seed=self.seed) if name == "perturbed" else self._given(name)
        if not found:
            raise Gap(f"no targets were given ({name}=)")
        return found

    def _given(self, name: str) -> Sequence[Target]:
        given = {"targets": self.targets, "unseen": self.unseen, "other": self.other, "retain": self.retain}
        return given[name]

    def tokenised(self, some: Sequence[Target], *, called: str = "target") -> list[TokenisedTarget]:
        return tokenise(
            self.tokenizer, some, tokens_per_secret=self.tokens_per_secret, token_counts_V=self.token_counts_V,
            context=self.context, called=called,
        )  # fmt: skip

    def read(self, some: Sequence[Target], *, called: str = "target", output_only: bool = False) -> Readings:
        """Ranks of the tokens of some targets, after every layer or in the model's own output alone.

        Raises:
            Gap: the logits are not finite.
        """
        pad, tokens = pad_id(self.model, self.tokenizer), self.tokenised(some, called=called)
        found = read(self.model, tokens, pad=pad, batch_size=self.batch_size, output_only=output_only)
        if not found.finite:
            raise Gap("the model's logits hold NaN or infinite values")
        return found

    def readings(self, of: str) -> Readings:
        """Ranks of the tokens of "targets", "unseen", "retain" or "perturbed" (targets), read once."""
        found: Readings = self.once(
            "readings", of, lambda: self.read(self.set_of(of), called=_CALLED[of]), refusal_is_gap=of == "perturbed"
        )
        return found

    def check_targets(self) -> None:
        """Refuse whatever target cannot be tokenised, before anything is computed.

        Raises:
            BadInput: there is one; the message says which.
        """
        for name in ("targets", "unseen", "other", "retain"):
            self.tokenised(self._given(name), called=_CALLED[name])
        self.tokenised(self.unrelated, called="unrelated record")
        self.tokenised(self.other_templates, called="record in another template")

    def check_finite(self) -> None:
        """Refuse a model whose logits are not finite: what it decodes is no sign that a secret is gone.

        Raises:
            Gap: they are not.
        """
        self.readings("targets")

    def extracts(self, some: Sequence[Target], *, called: str = "target") -> tuple[bool, ...]:
        """Of each target, whether greedy decoding generates its secret."""
        self.check_finite()
        tokens = self.tokenised(some, called=called)
        return tuple(greedily_extracted(self.model, self.tokenizer, tokens, batch_size=self.batch_size))

    def extracted(self, of: str) -> tuple[bool, ...]:
        """The same for "targets", "unseen", "other" or "retain", decoded once; empty where there are none."""
        try:
            wanted = self.set_of(of)
        except Gap:
            return ()
        found: tuple[bool, ...] = self.once("extracted", of, lambda: self.extracts(wanted, called=_CALLED[of]))
        return found

    def share_extracted(self, of: str) -> float:
        """Share of them, percent.

        Raises:
            Gap: there are none.
        """
        self.set_of(of)
        extracted = self.extracted(of)
        return 100 * sum(extracted) / len(extracted)
