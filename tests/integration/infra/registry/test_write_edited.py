"""An edited checkpoint differs from its parent in weights alone, whatever the files beside them hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from infra.registry import file_digests, weight_digest
from tasks.stages.edit import write_edited

GENERATION = {
    "can be saved": {"do_sample": True, "temperature": 0.6},
    "can be loaded and not saved": {"do_sample": False, "temperature": 0.6},
    "has a key that nobody knows": {"do_sample": True, "house_style": "terse"},
}


@pytest.fixture
def parent(model: Any, tokenizer: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "parent"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text("{{ messages[0] }}", encoding="utf-8")
    return folder


@pytest.mark.parametrize("case", GENERATION)
def test_every_file_beside_the_weights_is_carried_over_as_it_is(parent: Path, tmp_path: Path, case: str) -> None:
    import revs

    (parent / "generation_config.json").write_text(json.dumps(GENERATION[case]), encoding="utf-8")
    model, _ = revs.load(parent)
    kept = model.generation_config
    with torch.no_grad():
        next(iter(model.parameters())).add_(1)
    write_edited(model, parent, folder := tmp_path / "edited")
    assert model.generation_config is kept
    assert file_digests(folder) == file_digests(parent)
    assert weight_digest(folder) != weight_digest(parent)
    again, _ = revs.load(folder)
    for name, weight in again.state_dict().items():
        torch.testing.assert_close(weight, model.state_dict()[name], rtol=0, atol=0)
