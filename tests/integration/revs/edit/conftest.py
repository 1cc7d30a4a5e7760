"""A model from which four people were erased."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import revs
    from revs.targets.target import Target


@pytest.fixture
def erased(model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]) -> tuple[Any, revs.Patch]:
    from tiny_edits import config

    import revs

    return model, revs.erase(model, tokenizer, people[:4], config=config(), text=ordinary, retain=people[4:])
