"""Second moments of the keys over ordinary text: as much of it as it takes, and again only when they no longer fit.

About ten tokens for each dimension of a key are enough (FastMEMIT, 2506.04226), wherever they come from; a text of one
kind after the other needs more. So windows of the text are read in random order, in two halves that take turns, until
there are `TOKENS` for each dimension and the halves agree; or all of it, if there is less. Halves agree when the mean
squares of the single neurons differ by no more than `AGREE` of their sum, on average over the neurons of a layer, in
every layer.

An edit changes the matrices that write the layers' outputs, and little of the keys. So with a cache the moments of a
text serve again, also on an edited model: an entry is found by the digest of the weights that no edit changes, of the
text, and of what else decides the moments, and is used as long as it fits: what its first batch gives in the present
weights must agree with what that batch gave when it was kept, as closely as two halves of a text do. An entry that
cannot be read is none, and what cannot be kept is read again next time: the cache never stops an edit.

Legend: B batch, T positions, m width of the MLP, L layers.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from revs.errors import RevsWarning
from revs.model.batch import Batch, batched, windows
from revs.model.digest import tensor_digest
from revs.model.families import context_length
from revs.model.hooks import pad_id, run
from revs.model.offload import Weights, device_of, input_device
from revs.targets.tokenize import TokenisedTarget, collate

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.config import EraseConfig
    from revs.model.adapter import Architecture

_ABANDONED = 86_400  # seconds after which nobody works on a draft any more
TOKENS = 10  # for each dimension of the widest key
AGREE = 0.1
Progress = Callable[[str, int, int], None]  # stage, done, total


class TextMoments:
    """E[k kᵀ] over enough of a text, of any layers.

    Attributes:
        windows: of the text, in the random order in which they are read.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        architecture: Architecture,
        tokenizer: PreTrainedTokenizerBase,
        text: Sequence[str],
        config: EraseConfig,
        cache: Path | None = None,
    ) -> None:
        """`cache`: a folder of entries, for its owner only; the newest of each model stays."""
        self._model, self._architecture, self._config, self._cache = model, architecture, config, cache
        found = sorted(windows(tokenizer, text, context_length(model)))  # in whatever order the text was given
        random.Random(f"moments {config.seed}").shuffle(found)
        self.windows = [TokenisedTarget(ids=ids, start=len(ids) - 1, chosen=()) for ids in found]
        self._pad = pad_id(model, tokenizer)
        self._enough: int | None = None  # chunks
        self._draft: Path | None = None
        self._progress: Progress | None = None
        self._done, self._passes = count(1), 0

    def tell(self, progress: Progress | None, *, passes: int, also: int) -> None:
        """Call `progress` after every batch; it is read `passes` times, and there are `also` others (`told`)."""
        self._progress = progress
        self._passes = passes * sum(map(len, self._chunks)) + also

    def told(self) -> None:
        """One batch more is done."""
        if self._progress is not None:
            self._progress("text", next(self._done), self._passes)

    def of(self, layers: range) -> dict[int, Float[Tensor, "m m"]]:
        """By layer, float32, where the layer computes; zeros without text. Kept or read in forward passes."""
        if not self.windows or self._cache is None:
            return self._read(layers)
        if self._fits and (kept := self._kept(layers)) is not None:
            return kept
        self._fits = False
        found = self._read(layers)
        if layers.start == 0 or self._draft is not None:
            self._keep(found, layers)
        return found

    def close(self) -> None:
        """Remove what was kept by half."""
        if self._draft is not None:
            shutil.rmtree(self._draft, ignore_errors=True)

    @cached_property
    def _chunks(self) -> list[list[Batch]]:
        """The windows in batches; a chunk has half of the tokens that may be enough, the last one what is left."""
        modules = self._architecture.decoder_layers(self._model)
        least = TOKENS // 2 * max(map(self._architecture.key_width, modules))
        found: list[list[TokenisedTarget]] = []
        tokens = least
        for window in self.windows:
            if tokens >= least:
                found.append([])
                tokens = 0
            found[-1].append(window)
            tokens += len(window.ids)
        return [batches_of(self._model, some, pad=self._pad, rows=self._config.batch_size) for some in found]

    def _read(self, layers: range) -> dict[int, Tensor]:
        """Chunk after chunk, until two halves agree; what was enough for the first layers is for all."""
        sums = zeros(self._model, self._architecture, layers)
        halves: list[dict[int, Tensor]] = [{}, {}]
        tokens = [0, 0]
        for number, chunk in enumerate(self._chunks[: self._enough]):
            before = {layer: total.diagonal().clone() for layer, total in sums.items()}
            for batch in chunk:
                tokens[number % 2] += add_keys(self._model, self._architecture, batch, sums)
                self.told()
            half = halves[number % 2]
            for layer, total in sums.items():
                half[layer] = half.get(layer, 0) + total.diagonal() - before[layer]
            if number % 2 and self._enough is None and disagreement(halves[0], halves[1], tokens) <= AGREE:
                self._enough = number + 1
                break
        self._enough = self._enough or len(self._chunks)
        return {layer: total.div_(max(sum(tokens), 1)) for layer, total in sums.items()}

    def _kept(self, layers: range) -> dict[int, Tensor] | None:
        """From the entry; None where a part of it is damaged or gone."""
        found = {}
        for layer in layers:
            writer = self._writer(layer)
            width = self._architecture.key_width(self._architecture.decoder_layers(self._model)[layer])
            moment_mm = _loaded(self._entry / f"{layer}.safetensors", "moment", (width, width))
            if moment_mm is None:
                return None
            found[layer] = moment_mm.to(device_of(writer))
        return found

    def _keep(self, moment_Lmm: Mapping[int, Tensor], layers: range) -> None:
        """Put on disk; after the last layer the entry replaces older ones of this model, in one step."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        assert self._cache is not None
        try:
            if self._draft is None:
                self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
                for left in self._cache.glob(f".{self._base}-*"):  # by a process that was killed
                    if time.time() - left.stat().st_mtime > _ABANDONED:
                        shutil.rmtree(left, ignore_errors=True)
                self._draft = Path(tempfile.mkdtemp(prefix=f".{self._base}-", dir=self._cache))
            for layer, moment_mm in moment_Lmm.items():
                save_file({"moment": moment_mm.cpu()}, self._draft / f"{layer}.safetensors")
            if layers.stop == self._layers:
                save_file({"squares": torch.cat(self._probe)}, self._draft / "probe.safetensors")
                for older in self._cache.glob(f"{self._base}-*"):
                    shutil.rmtree(older, ignore_errors=True)
                self._draft.rename(self._entry)
        except (OSError, SafetensorError) as error:
            self.close()
            self._draft = None
            why = getattr(error, "strerror", None) or "the disk is full or cannot be written to"
            warnings.warn(
                f"the moments of the text could not be kept in {self._cache} ({why}); the edit goes on without, and "
                "reads the text again next time", RevsWarning, stacklevel=2,
            )  # fmt: skip

    @cached_property
    def _fits(self) -> bool:
        """Whether there is an entry, and its first batch gives now what it gave when it was kept."""
        widths = [len(squares) for squares in self._probe] if self._entry.is_dir() else []
        kept = _loaded(self._entry / "probe.safetensors", "squares", (sum(widths),)) if widths else None
        if kept is None:
            return False
        return disagreement(dict(enumerate(self._probe)), dict(enumerate(torch.split(kept, widths))), (1, 1)) <= AGREE

    @cached_property
    def _probe(self) -> list[Float[Tensor, " m"]]:
        """Of every layer the squares of the neurons, summed over the first batch, float32, on the CPU."""
        squares: list[Tensor] = []
        batch = self._chunks[0][0]

        def keep(_layer: int, keys_BTm: Tensor, _hidden: Tensor) -> None:
            squares.append(keys_BTm[batch.mask_BT.bool().to(keys_BTm.device)].float().square().sum(0).cpu())

        run(self._model, self._architecture, batch, keep)
        return squares

    @cached_property
    def _entry(self) -> Path:
        """Where the moments are kept: two digests, of the model and of all else that decides them."""
        assert self._cache is not None
        settings = {key: value for key, value in self._model.config.to_dict().items() if not key.startswith("_")}
        about = [
            [version("revs"), version("torch"), version("transformers"), input_device(self._model).type],
            [TOKENS, AGREE, self._config.batch_size, self._model.config._attn_implementation, settings],
            [window.ids for window in self.windows],
        ]
        return self._cache / f"{self._base}-{_digest(about)}"

    @cached_property
    def _base(self) -> str:
        """Digest of the weights that no edit changes: 64 hex digits."""
        edited = {name for layer in range(self._layers) for name in self._architecture.weight_names(layer)}
        weights = Weights(self._model).items()
        return _digest([(name, tensor_digest(weight)) for name, weight in weights if name not in edited])

    @property
    def _layers(self) -> int:
        return len(self._architecture.decoder_layers(self._model))

    def _writer(self, layer: int) -> torch.nn.Module:
        return self._architecture.linears(self._architecture.decoder_layers(self._model)[layer])[0]


def batches_of(model: PreTrainedModel, some: Sequence[TokenisedTarget], *, pad: int, rows: int) -> list[Batch]:
    """Batches of at most `rows` texts, with little padding, where the model's input goes."""
    some = sorted(some, key=lambda target: len(target.ids))
    numbers = batched([len(target.ids) for target in some], rows)
    return [collate([some[n] for n in group], pad=pad, device=input_device(model)) for group in numbers]


def zeros(model: PreTrainedModel, architecture: Architecture, layers: range) -> dict[int, Float[Tensor, "m m"]]:
    """By layer, float32, where the layer computes."""
    modules = {layer: architecture.decoder_layers(model)[layer] for layer in layers}
    return {
        layer: torch.zeros([architecture.key_width(module)] * 2, device=device_of(architecture.linears(module)[0]))
        for layer, module in modules.items()
    }  # fmt: skip


def add_keys(
    model: PreTrainedModel,
    architecture: Architecture,
    batch: Batch,
    sum_Lmm: Mapping[int, Tensor],
    *,
    alpha: float = 1.0,
    only_secrets: bool = False,
) -> int:
    """Add alpha · Σ k kᵀ over the batch's positions to the sum of each layer, in one forward pass; how many positions.

    With `only_secrets`, over the positions that predict a token of a secret: what a retained record needs.
    """
    present_BT = batch.mask_BT.bool()
    if only_secrets:
        present_BT = torch.zeros(present_BT.shape, dtype=torch.bool)
        present_BT[batch.row_N, batch.position_N] = True

    def add(layer: int, keys_BTm: Tensor, _hidden: Tensor) -> None:
        if (total := sum_Lmm.get(layer)) is not None:
            keys_Nm = keys_BTm[present_BT.to(keys_BTm.device)].to(total)
            total.addmm_(keys_Nm.T, keys_Nm, alpha=alpha)

    run(model, architecture, batch, add, last=max(sum_Lmm))
    return int(present_BT.sum())


def disagreement(
    one_L: Mapping[int, Float[Tensor, " m"]], other_L: Mapping[int, Float[Tensor, " m"]], tokens: Sequence[int]
) -> float:
    """How much the mean squares of neurons differ, relative to their sum, 0 to 1: mean of a layer, in the worst layer.

    Args:
        one_L: sums of squares by layer.
        other_L: the same over other tokens, or in other weights.
        tokens: over how many tokens each sum goes.
    """
    found = 0.0
    for layer, one_m in one_L.items():
        mean_m, other_m = one_m / tokens[0], other_L[layer].to(one_m) / tokens[1]
        apart_m = (mean_m - other_m).abs() / (mean_m + other_m)
        found = max(found, float(apart_m.nan_to_num(0.0).mean()))  # 0/0: a neuron that is never active
    return found


def _loaded(file: Path, name: str, shape: tuple[int, ...]) -> Tensor | None:
    """The tensor of a file that this program wrote; None where it is not what was written."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(file).get(name)
    except (OSError, SafetensorError):
        return None
    return found if found is not None and found.shape == shape and bool(found.isfinite().all()) else None


def _digest(about: object) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
