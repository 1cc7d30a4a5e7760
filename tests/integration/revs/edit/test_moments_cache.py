"""The moments that are kept for the next setting: the same edit, found only where nothing that decides it changed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import revs
from revs.edit import moments
from revs.targets.target import Target

CONFIG: dict[str, Any] = {"low_rank": 40, "aim_rank": 60, "stand_ins": 0}  # stand-ins depend on the text too
Erase = Callable[..., revs.Patch]


@pytest.fixture
def shared_model(trained_models: dict[str, Any]) -> Any:
    """One family is enough: nothing here depends on it."""
    return trained_models["llama"]


@pytest.fixture
def erase(tokenizer: Any, people: list[Target], ordinary: list[str], tmp_path: Path) -> Erase:
    """Edits a copy of a model with the cache in `tmp_path / "a" / "cache"`."""

    def edited(model: Any, *, cache: bool = True, **changes: Any) -> revs.Patch:
        settings = {"text": ordinary, "retain": people[4:], **changes}
        config = revs.EraseConfig(**{**CONFIG, **settings.pop("config", {})})
        folder = tmp_path / "a" / "cache" if cache else None
        return revs.erase(copy.deepcopy(model), tokenizer, people[:4], config=config, cache=folder, **settings)

    return edited


@pytest.fixture
def entries(tmp_path: Path) -> Callable[[], list[Path]]:
    return lambda: sorted((tmp_path / "a" / "cache").iterdir())


def _no_gathering(*_: Any, **__: Any) -> Any:
    raise AssertionError("gathered again")


def test_kept_moments_are_not_gathered_again_and_give_the_edit_to_the_bit(
    shared_model: Any, erase: Erase, entries: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, first = erase(shared_model, cache=False), erase(shared_model)
    stronger = erase(shared_model, config={"variations": 1, "epsilon": 0.01}, cache=False)
    monkeypatch.setattr(moments, "key_moments", _no_gathering)
    again = erase(shared_model)
    assert plain == first == again
    assert plain.records == first.records == again.records
    assert erase(shared_model, config={"variations": 1, "epsilon": 0.01}) == stronger, "another setting of the ladder"
    assert len(entries()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"text": ["Another text of a few words."]},
        {"retain": []},
        {"config": {"retain_weight": 0.7}},
        {"config": {"stand_ins": 1}},
        {"config": {"batch_size": 3}},
    ],
    ids=["text", "retained records", "their weight", "stand-ins", "order of summation"],
)
def test_what_decides_the_moments_gives_another_entry(
    changes: dict[str, Any], shared_model: Any, erase: Erase, entries: Callable[[], list[Path]]
) -> None:
    expected = erase(shared_model, cache=False, **changes)
    erase(shared_model)
    assert erase(shared_model, **changes) == expected
    assert len(entries()) == 2


def test_one_other_value_in_the_weights_gives_another_entry(
    shared_model: Any, erase: Erase, entries: Callable[[], list[Path]]
) -> None:
    erase(shared_model)
    model = copy.deepcopy(shared_model)
    with torch.no_grad():
        next(model.parameters())[-1, -1] += 1e-3
    assert erase(model) == erase(model, cache=False)
    assert len(entries()) == 2


def test_the_cache_is_for_its_owner_only_and_its_names_say_nothing(
    shared_model: Any, erase: Erase, entries: Callable[[], list[Path]]
) -> None:
    erase(shared_model)
    (entry,) = entries()
    assert entry.stat().st_mode & 0o777 == entry.parent.stat().st_mode & 0o777 == 0o700
    assert len(entry.name) == 64 and set(entry.name) <= set("0123456789abcdef")
    assert sorted(path.name for path in entry.iterdir()) == [f"{layer}.safetensors" for layer in range(3)]


def test_gathering_that_is_cut_off_leaves_nothing(
    shared_model: Any, erase: Erase, entries: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(moments, "key_moments", _no_gathering)
        with pytest.raises(AssertionError, match="gathered again"):
            erase(shared_model)
    assert entries() == []
    assert erase(shared_model) == erase(shared_model, cache=False)
