"""A patch as a LoRA adapter in the format of PEFT (Hu et al. 2021, ΔW = B A), for those who serve adapters.

The adapter is rounded where the patch is exact: merged, it equals the edited weights up to rounding, a unit in the last
place or so for each sweep of the edit. What it reveals is the same as the patch: store it as a secret, or not at all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from revs.errors import BadInput
from revs.patch.changes import Changes
from revs.patch.checkpoint import private_folder, read_weight, stored_names, weight_files
from revs.patch.encode import WeightChange
from revs.patch.factors import decomposed, rounding_noise, unit_in_the_last_place

_WEIGHT = ".weight"
_UNITS = 4  # in the last place: more than the roundings of several sweeps


def write_lora(
    changes: Changes,
    folder: str | Path,
    *,
    transposed: tuple[str, ...] | None,
    base: str | Path | None,
    fan_in_fan_out: bool | None,
) -> int:
    """Write `adapter_config.json` and `adapter_model.safetensors` (float32) into a new folder for its owner only.

    Each module has its own rank, that of its update: of the patch's factors, where it has them; else the number of
    singular values of after − before above what rounding alone can give (`revs.patch.factors.rounding_noise`), which
    may be as large as the smaller side of the weight.

    Args:
        changes: of matrices only, each the `weight` of a module.
        folder: new, or empty.
        transposed: names of the weights that are stored (in, out); None: not known.
        base: name or folder of the base model, noted in the configuration; must be a local checkpoint where the patch
            holds no factors (small models, methods that give none) or poor ones, for its weights are needed then.
        fan_in_fan_out: weights are stored (in, out), as in the Conv1D of transformers' GPT-2. None: as the patch
            recorded it when it was made from a model; a patch that did not is taken to store (out, in).

    Returns:
        The largest rank.

    Raises:
        BadInput: the folder is not empty, the patch changes nothing or something else than matrices,
            `fan_in_fan_out` contradicts what it recorded, or `base` is needed and is not the checkpoint that the patch
            was made on.
    """
    from safetensors.torch import save_file

    flipped = _flipped(changes, transposed, fan_in_fan_out)
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    for name in changes.changed:
        change = changes[name]
        if len(change.shape) != 2 or not name.endswith(_WEIGHT):
            raise BadInput(f"{name} of shape {change.shape} has no place in a LoRA adapter; save the patch itself")
        left_dr, right_rm = _factors(name, change, base)
        if left_dr.shape[1]:
            pair = (left_dr.T, right_rm.T) if name in flipped else (right_rm, left_dr)
            pairs[name.removesuffix(_WEIGHT)] = pair
    if not pairs:
        raise BadInput("this patch changes nothing, so there is no adapter to write; use the base model as it is")
    folder = private_folder(folder, "adapter")
    tensors = {
        f"base_model.model.{module}.lora_{side}.weight": tensor.float().contiguous()
        for module, pair in pairs.items()
        for side, tensor in zip("AB", pair, strict=True)
    }
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    ranks = {module: len(pair[0]) for module, pair in pairs.items()}
    # PEFT itself sets it right for each module where an adapter has both kinds.
    config = _config(ranks, None if base is None else str(base), bool(flipped))
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return max(ranks.values())


def _flipped(changes: Changes, transposed: tuple[str, ...] | None, fan_in_fan_out: bool | None) -> set[str]:
    """The changed weights that are stored (in, out)."""
    changed = set(changes.changed)
    if transposed is None:
        return changed if fan_in_fan_out else set()
    flipped = changed.intersection(transposed)
    wrong = changed - flipped if fan_in_fan_out else flipped
    if fan_in_fan_out is not None and wrong:
        stored = "(out, in)" if fan_in_fan_out else "(in, out)"
        raise BadInput(
            f"fan_in_fan_out={fan_in_fan_out} does not fit: the patch recorded that {sorted(wrong)[0]} is stored "
            f"{stored}; leave fan_in_fan_out out"
        )
    return flipped


def _config(ranks: dict[str, int], base: str | None, fan_in_fan_out: bool) -> dict[str, Any]:
    """PEFT's configuration; alpha is the rank everywhere, so that nothing is scaled."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": max(ranks.values()),
        "lora_alpha": max(ranks.values()),
        "rank_pattern": ranks,
        "alpha_pattern": ranks,
        "target_modules": sorted(ranks),
        "fan_in_fan_out": fan_in_fan_out,
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
    }


def _factors(name: str, change: WeightChange, base: str | Path | None) -> tuple[Tensor, Tensor]:
    """Left (d, r) and right (r, m) of a change, in float64."""
    held = change.factors()
    # Factors that were off when they were given are made good in the patch by its corrections, but not here.
    if held is not None and change.typical_correction() <= _UNITS:
        step = 2.0 ** (held.exponent // 2)  # even: both sides have the same step
        return held.left_dr.double() * step, held.right_rm.double() * step
    if base is None or not Path(base).is_dir():
        raise BadInput(
            f"the patch holds {name} without factors that are good enough; give base= the folder of the checkpoint "
            "that it was made on"
        )
    homes = weight_files(Path(base))
    stored = stored_names(Path(base), [name], homes)[name]
    before_dm = read_weight(homes[stored], stored)
    after_dm = change.exchange(name, before_dm, "apply")
    smallest = rounding_noise(unit_in_the_last_place(before_dm, after_dm), *before_dm.shape)
    return decomposed(after_dm.double() - before_dm.double(), smallest)
