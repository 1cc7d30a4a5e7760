"""Where a model's weights are: on one device, spread over several, or offloaded by accelerate between forward passes.

An offloaded weight is on the meta device; a hook of its module loads it from a store for the time of a forward pass.
The store is a dictionary in memory, or files, which may be those of the checkpoint that the model came from. Files are
never written: an edited weight goes into the dictionary that accelerate's loader asks before them, and from then on
takes memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from revs.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def held(module: nn.Module, name: str = "weight") -> Tensor:
    """The module's own parameter `name`, to read only; an offloaded one is loaded to where the module computes.

    Raises:
        BadInput: it is on the meta device and no hook of this module loads it.
    """
    parameter = module.get_parameter(name).detach()
    if not parameter.is_meta:
        return parameter
    # Not accelerate's align_module_device: it does not see a hook that shares its module with another one.
    value: Tensor = _loading_hook(module, name).weights_map[name]
    return value.detach().to(device=device_of(module), dtype=parameter.dtype)


def put(module: nn.Module, name: str, value: Tensor) -> None:
    """Give the module's own parameter `name` a new value of its shape, wherever it is kept.

    Raises:
        BadInput: as `held`.
    """
    parameter = module.get_parameter(name)
    hook = _offload_hook(module)
    with torch.no_grad():
        if not parameter.is_meta:  # offloaded ones too, where a forward pass was cut off
            parameter.copy_(value)
        elif hook is None:
            _loading_hook(module, name)
        if hook is not None:
            _store(hook.weights_map, name, value.detach().to(parameter.dtype))


def device_of(module: nn.Module) -> torch.device:
    """Where a module with parameters of its own computes."""
    parameter = next(module.parameters(recurse=False))
    if not parameter.is_meta:
        return parameter.device
    hook = _offload_hook(module)
    return torch.device("cpu" if hook is None or hook.execution_device is None else hook.execution_device)


def devices_of(model: nn.Module) -> set[torch.device]:
    """Where its modules compute."""
    with_own = (module for module in model.modules() if next(module.parameters(recurse=False), None) is not None)
    return {device_of(module) for module in with_own}


def input_device(model: PreTrainedModel) -> torch.device:
    """Where token ids go."""
    return device_of(model.get_input_embeddings())


class Weights(Mapping[str, Tensor]):
    """Parameters of a model by name, each read from and written to where it is kept, one at a time."""

    def __init__(self, model: nn.Module, names: Iterable[str] | None = None) -> None:
        """`names`: of those in question; None: all parameters."""
        self._model = model
        self._names = dict.fromkeys((name for name, _ in model.named_parameters()) if names is None else names)

    def __getitem__(self, name: str) -> Tensor:
        return held(*self._place(name))

    def __setitem__(self, name: str, value: Tensor) -> None:
        put(*self._place(name), value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def _place(self, name: str) -> tuple[nn.Module, str]:
        if name not in self._names:
            raise KeyError(name)
        path, _, own = name.rpartition(".")
        return self._model.get_submodule(path), own


def stored_transposed(model: nn.Module, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the weights that are stored (in, out), as in the Conv1D of transformers' GPT-2, not (out, in)."""
    from transformers.pytorch_utils import Conv1D

    return tuple(name for name in names if isinstance(model.get_submodule(name.rpartition(".")[0]), Conv1D))


def _offload_hook(module: nn.Module) -> Any | None:
    """Accelerate's hook that offloads the module's weights, if it has one."""
    hook = getattr(module, "_hf_hook", None)
    offloading = (one for one in getattr(hook, "hooks", (hook,)) if getattr(one, "offload", False) is True)
    return next(offloading, None)


def _loading_hook(module: nn.Module, name: str) -> Any:
    hook = _offload_hook(module)
    if hook is None:
        raise BadInput(
            f"the {name} of a {type(module).__name__} is on the meta device and no hook of it loads it; load the model "
            "with its weights, or dispatch it without preload_module_classes"
        )
    return hook


def _store(weights_map: Any, name: str, value: Tensor) -> None:
    from accelerate.utils import OffloadedWeightsLoader, PrefixedDataset  # there, for the model carries its hooks

    while isinstance(weights_map, PrefixedDataset):
        weights_map, name = weights_map.dataset, f"{weights_map.prefix}{name}"
    store = weights_map.state_dict if isinstance(weights_map, OffloadedWeightsLoader) else weights_map
    if not isinstance(store, MutableMapping):
        raise BadInput(
            f"the model is offloaded to a {type(store).__name__}, which cannot be written to; use accelerate's own"
        )
    kept = store.get(name)
    if kept is not None and kept.dtype == value.dtype:
        kept.copy_(value)  # in place, for tied weights share it
    else:
        store[name] = value.to("cpu", copy=True)
