"""SHA-256 digests of tensors: name-free, over dtype, shape and bytes."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def tensor_digest(tensor: Tensor) -> str:
    """`sha256:` and 64 hex digits over dtype, shape and the row-major bytes; NaN payloads count."""
    tensor = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    digest.update(tensor.flatten().view(torch.uint8).numpy().data if tensor.numel() else b"")
    return f"sha256:{digest.hexdigest()}"
