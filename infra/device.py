"""The device that models are computed on, from the setting `REVS_DEVICE`."""

from __future__ import annotations

from revs.errors import BadInput


def resolve_device(setting: str) -> str:
    """The device that `setting` means on this machine, as torch names it: `cpu`, `cuda`, `cuda:1`, `mps`.

    Args:
        setting: `auto` (the GPU if there is one, else the CPU), `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        BadInput: this machine has no such device.
    """
    import torch

    gpus, mps = torch.cuda.device_count(), torch.backends.mps.is_available()
    if setting == "auto":
        return "cuda" if gpus else "mps" if mps else "cpu"
    kind, _, number = setting.partition(":")
    there = {"cpu": True, "cuda": gpus > int(number or 0), "mps": mps}
    if not there.get(kind, False):
        has = f"{gpus} CUDA device{'s' if gpus != 1 else ''}" if gpus else "mps" if mps else "no GPU that torch can use"
        raise BadInput(f"REVS_DEVICE={setting}: this machine has {has}; set REVS_DEVICE to auto or to a device it has")
    return setting
