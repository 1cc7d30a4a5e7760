"""Erase: the one call behind which all methods stand."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from jaxtyping import Int
from torch import Tensor

from revs.config import EraseConfig, NeuronsConfig, ReferenceConfig
from revs.edit.moments import Progress
from revs.edit.request import Request
from revs.errors import BadInput, RevsWarning
from revs.methods.baselines import BASELINES
from revs.methods.neurons import erase_neurons
from revs.methods.ranks import erase_to_ranks
from revs.methods.reference import erase_to_reference
from revs.patch.patch import Patch
from revs.targets.preflight import targets_given, texts_given
from revs.targets.target import Target

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Every way to erase, under the names of the comparison tables.
METHODS: dict[str, Callable[[Request], Patch]] = {
    "revs": erase_to_ranks,
    "revs-reference": erase_to_reference,
    "revs-neurons": erase_neurons,
    **BASELINES,
}

# The class of each method's settings; a plain `EraseConfig(method=…)` means their defaults.
CONFIGS: dict[str, type[EraseConfig]] = {
    "revs": EraseConfig,
    "revs-reference": ReferenceConfig,
    "revs-neurons": NeuronsConfig,
    **{name: baseline.settings for name, baseline in BASELINES.items()},
}


def erase(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    targets: Iterable[Target],
    *,
    config: EraseConfig | None = None,
    text: Iterable[str] = (),
    retain: Iterable[Target] = (),
    token_counts_V: Int[Tensor, " V"] | None = None,
    progress: Progress | None = None,
    cache: str | Path | None = None,
) -> Patch:
    """Erase `targets` from `model`, in place, with the method `config.method`.

    Args:
        model: a causal LM of a supported family in its own dtype: on one device, spread over several, or offloaded by
            accelerate. Edited weights of one that is offloaded to disk are kept in memory; its files stay as they are.
        tokenizer: its tokenizer; must give offsets (a "fast" tokenizer).
        targets: what to erase. An empty list changes nothing.
        config: settings; None means the defaults.
        text: ordinary text the edit should leave alone.
        retain: targets that must keep working.
        token_counts_V: counts of token ids over the training corpus, for choosing the rarest; None: by token id.
        progress: called with (stage, done, total); stages are "text" while text and retained records are read, and
            "sweep", or what else the method has.
        cache: a folder in which the methods `revs` and `revs-reference` keep the moments that they gather from `text`,
            for the next call on the same weights or on edited ones, as long as they still fit
            (`revs.edit.text_moments`). It reveals as much about the text as activations do.

    Returns:
        The patch: `patch.revert(model)` restores the old weights bit for bit.

    Raises:
        BadInput: before any weight is touched: unknown method or family, bad targets, a rank outside the vocabulary,
            a single text where texts are asked for.

    Warns:
        RevsWarning: a target ended "short": one of its target tokens is still more likely than `low_rank` allows.
    """
    config = EraseConfig() if config is None else config
    if not isinstance(config, EraseConfig):
        raise BadInput(f"config is a {type(config).__name__}; give a revs.EraseConfig")
    if config.method not in METHODS:
        raise BadInput(f"method {config.method!r} is unknown; known methods: {', '.join(sorted(METHODS))}")
    targets, retain = targets_given(targets, "targets"), targets_given(retain, "retain")
    if cache is not None and (not isinstance(cache, str | Path) or not str(cache) or "\0" in str(cache)):
        raise BadInput(f"cache is {cache!r}; give the path of a folder")
    text, cache = texts_given(text, "text"), None if cache is None else Path(cache).expanduser()
    patch = METHODS[config.method](
        Request(
            model=model, tokenizer=tokenizer, targets=targets, config=config, text=text, retain=retain,
            token_counts_V=token_counts_V, progress=progress, cache=cache,
        )
    )  # fmt: skip
    if short := patch.short:
        warnings.warn(
            f"erase left {len(short)} target(s) with a token more likely than was asked for, so the secret may still "
            f"be within reach: numbers {', '.join(map(str, short[:10]))}{', …' if len(short) > 10 else ''} of the list "
            "(from 0); see patch.summary() and patch.records, and give more sweeps or a smaller epsilon",
            RevsWarning,
            stacklevel=2,
        )
    return patch
