"""Load a causal LM and its tokenizer from a folder or from the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from revs.errors import BadInput
from revs.model.families import architecture_of, check_family

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_DTYPES = ("float32", "bfloat16", "float16", "auto")


def load(
    path_or_hub_id: str | Path, dtype: str = "auto", device: str = "auto"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model and its tokenizer, ready for `revs.erase`.

    Args:
        path_or_hub_id: a checkpoint folder, or a hub id when the path does not exist.
        dtype: "auto" for the checkpoint's own, which an edit must have whose result goes back into it; or "float32",
            "bfloat16", "float16".
        device: "auto": the GPUs there are, else the CPU, and where they do not suffice, offloaded to memory and to the
            checkpoint's own files, which are only read; or "cpu", "cuda", "cuda:1", ….

    Raises:
        BadInput: no such folder or hub id, a damaged file, a weight that no file holds, no causal LM, no fast
            tokenizer, an unsupported family or dtype, a device that is not there.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    source = str(path_or_hub_id)
    if dtype not in _DTYPES:
        raise BadInput(f"dtype {dtype!r} is unknown; choose one of {', '.join(_DTYPES)}")
    tokenizer = check_folder(source)
    on_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            source,
            output_loading_info=True,
            dtype="auto" if dtype == "auto" else getattr(torch, dtype),
            attn_implementation="eager" if on_cpu else None,
            device_map="auto" if device == "auto" else None,
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{source} cannot be loaded as a causal LM with its tokenizer: {_first_line(error)}") from None
    _check_complete(source, found["missing_keys"])
    architecture_of(model)
    try:
        return (model if device == "auto" else model.to(device)).eval(), tokenizer
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was compiled with CUDA
        raise BadInput(f"device {device!r} cannot be used here ({_first_line(error)}); choose another") from None


def check_folder(path_or_hub_id: str | Path) -> PreTrainedTokenizerBase:
    """Check all that can be checked of a model before its weights are read, and give its tokenizer.

    Raises:
        BadInput: no such folder or hub id, no causal LM, no fast tokenizer, an unsupported family.
    """
    from transformers import AutoConfig, AutoTokenizer

    source = str(path_or_hub_id)
    if Path(source).is_dir() and not (Path(source) / "config.json").is_file():
        raise BadInput(f"{source} is no model folder: it has no config.json; give the folder save_pretrained wrote")
    try:
        config = AutoConfig.from_pretrained(source)
        _check_class(source, config)
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{source} cannot be loaded as a causal LM with its tokenizer: {_first_line(error)}") from None
    if not tokenizer.is_fast:
        raise BadInput(
            f"{source} has no fast tokenizer, which gives the offsets of tokens; convert it to a tokenizer.json"
        )
    return tokenizer


def _check_class(source: str, config: PretrainedConfig) -> None:
    check_family(config, of=f"{source}: ")
    classes = list(getattr(config, "architectures", None) or [])
    if classes and not any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in classes):
        raise BadInput(
            f"{source} holds a {classes[0]}, which is no causal LM; give a checkpoint with a language-model head"
        )


def _check_complete(source: str, missing: Collection[str]) -> None:
    """Transformers fills in random numbers for what it does not find: such a model has memorised nothing."""
    if missing:
        raise BadInput(
            f"{source} lacks {len(missing)} weight(s) of the model, such as {min(missing)}, which would be random; "
            "take an unchanged copy of the checkpoint, saved by the class that its config.json names"
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
