"""A model from which four people were erased, and its base on a disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import revs
    from revs.targets.target import Target


@pytest.fixture
def erased(model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]) -> tuple[Any, revs.Patch]:
    import revs

    config = revs.EraseConfig(low_rank=40, aim_rank=60)
    return model, revs.erase(model, tokenizer, people[:4], config=config, text=ordinary, retain=people[4:])


@pytest.fixture
def saved(shared_model: Any, tmp_path: Path) -> Path:
    """The base model in several shards."""
    shared_model.save_pretrained(tmp_path / "base", max_shard_size="60KB")
    assert len(list((tmp_path / "base").glob("*.safetensors"))) >= 3
    return tmp_path / "base"
