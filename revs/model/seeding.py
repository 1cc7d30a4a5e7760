"""torch's own random numbers, from a seed, without a trace.

`torch.manual_seed` reseeds the generator of every GPU of the process, also those that the model does not use, and where
the GPUs are still asleep, of the moment they wake. So only the generators that are drawn from are seeded, and they are
put back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from revs.model.offload import devices_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def seeded(seed: int, model: PreTrainedModel | None = None) -> Iterator[None]:
    """Draw from `seed` on the CPU and on the GPUs of the model; afterwards every generator is as it was."""
    devices = set() if model is None else devices_of(model)
    gpus = sorted({_number(device) for device in devices if device.type == "cuda"})
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            torch.cuda.default_generators[gpu].manual_seed(seed)
        yield


def _number(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index
