"""SHA-256 digests: of tensors (name-free, over dtype, shape and bytes), of texts and of tokenizers."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def tensor_digest(tensor: Tensor) -> str:
    """`sha256:` and 64 hex digits over dtype, shape and the row-major bytes; NaN payloads count."""
    tensor = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    digest.update(tensor.flatten().view(torch.uint8).numpy().data if tensor.numel() else b"")
    return f"sha256:{digest.hexdigest()}"


def text_digest(text: str) -> str:
    """`sha256:` and 64 hex digits over the UTF-8 bytes."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """`sha256:` and 64 hex digits over what decides the tokens of a text; padding and truncation do not."""
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    decisive = {name: part for name, part in parts.items() if name not in ("padding", "truncation")}
    return text_digest(json.dumps(decisive, sort_keys=True))
