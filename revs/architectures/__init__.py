"""One adapter per model family, looked up once; nothing else in the library asks for a model's type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from revs.architectures.base import Architecture
from revs.architectures.gptj import GPTJ
from revs.architectures.llama import LLAMA
from revs.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ARCHITECTURES: dict[str, Architecture] = {"gptj": GPTJ, "llama": LLAMA}

__all__ = ["ARCHITECTURES", "Architecture", "architecture_of"]


def architecture_of(model: PreTrainedModel) -> Architecture:
    """The adapter of the model's family.

    Raises:
        BadInput: the family is not supported; the message lists those that are.
    """
    model_type = getattr(model.config, "model_type", "unknown")
    if model_type not in ARCHITECTURES:
        raise BadInput(
            f"model family {model_type!r} is not supported; supported families: {', '.join(sorted(ARCHITECTURES))}"
        )
    return ARCHITECTURES[model_type]
