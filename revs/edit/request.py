"""One call of `revs.erase` as every method gets it: what is asked, and what all methods do around their edit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from jaxtyping import Int
from torch import Tensor

from revs.config import EraseConfig
from revs.edit.moments import Progress
from revs.model.adapter import Architecture
from revs.model.families import architecture_of, context_length
from revs.model.offload import Weights
from revs.targets.preflight import check_request
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, tokenise

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

C = TypeVar("C", bound=EraseConfig)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Request:
    """What is asked of a method; the attributes are the arguments of `revs.erase`, read once."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    targets: Sequence[Target]
    config: EraseConfig
    text: Sequence[str] = ()
    retain: Sequence[Target] = ()
    token_counts_V: Int[Tensor, " V"] | None = None
    progress: Progress | None = None
    cache: Path | None = None

    @property
    def architecture(self) -> Architecture:
        return architecture_of(self.model)

    def settings(self, kind: type[C]) -> C:
        """The settings as those of a method; a plain `EraseConfig` means the method's defaults where it has its own."""
        if isinstance(self.config, kind):
            return self.config
        given = {field.name: (getattr(self.config, field.name), field.default) for field in fields(EraseConfig)}
        return kind(**{name: value for name, (value, default) in given.items() if value != default})

    @property
    def tokens_per_secret(self) -> int | None:
        """How many tokens of a secret are edited; None: all."""
        return None if self.config.method == "revs-reference" else self.config.tokens_per_secret

    def check(self) -> None:
        """Refuse what no method can do, before a weight is touched: see `revs.targets.preflight.check_request`."""
        check_request(self.model, self.architecture, self.targets, self.retain, first_layer=self.config.first_layer)

    def tokenised(
        self, some: Sequence[Target], *, called: str = "target", context: int | None = None
    ) -> list[TokenisedTarget]:
        """Tokenise as the settings ask; `context`: the most tokens, if not as many as the model can read."""
        return tokenise(
            self.tokenizer, some, tokens_per_secret=self.tokens_per_secret, token_counts_V=self.token_counts_V,
            context=context_length(self.model) if context is None else context, called=called,
        )  # fmt: skip

    def distinct(self) -> dict[TokenisedTarget, int]:
        """The targets without repetitions, each with its number in the caller's list: of the first where several."""
        first: dict[TokenisedTarget, int] = {}
        for number, target in enumerate(self.tokenised(self.targets)):
            first.setdefault(target, number)
        return first


@contextmanager
def restored_on_failure(weights: Weights) -> Iterator[dict[str, Tensor]]:
    """The weights as they are now, on the CPU; they are put back if the block does not come to its end."""
    before = {name: weight.cpu().clone() for name, weight in weights.items()}
    try:
        yield before
    except BaseException:
        for name, weight in before.items():
            weights[name] = weight
        raise
