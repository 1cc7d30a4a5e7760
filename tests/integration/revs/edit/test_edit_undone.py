"""An edit is undone to the bit: reverted, saved and loaded, on its own base only, and when it fails half-way."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_edits import Digests, config, edited_names
from torch import Tensor

import revs
from revs.edit import sweep as joint_edit
from revs.errors import BadInput
from revs.targets.target import Target


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_revert_and_apply_are_exact_to_the_bit(
    dtype: torch.dtype, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], digests: Digests
) -> None:
    model.to(dtype)
    old = digests(model)
    patch = revs.erase(model, tokenizer, people[:4], config=config(), text=ordinary)
    new = digests(model)
    assert new != old
    patch.revert(model)
    assert digests(model) == old
    patch.apply(model)
    assert digests(model) == new


def test_a_patch_refuses_any_other_base_and_touches_nothing(
    erased: tuple[Any, revs.Patch], new_model: Any, tokenizer: Any, digests: Digests, family: str
) -> None:
    model, patch = erased
    last = edited_names(model, family)[-1][0]
    off_by_one_bit = copy.deepcopy(model)
    weight = off_by_one_bit.get_parameter(last).data
    weight.view(torch.int32)[0, 0] ^= 1
    others = {
        "holds the new values already": (model, patch.apply),
        "another model of the same shape": (new_model(family, seed=9), patch.apply),
        "fewer layers": (new_model(family, layers=2), patch.revert),
        "another dtype": (copy.deepcopy(model).to(torch.bfloat16), patch.revert),
        "one bit in the last layer": (off_by_one_bit, patch.revert),
    }
    for why, (other, act) in others.items():
        before = digests(other)
        with pytest.raises(BadInput, match="use the model it was made on"):
            act(other)
        assert digests(other) == before, why


def test_a_saved_patch_comes_back_whole_and_private(
    erased: tuple[Any, revs.Patch], shared_model: Any, tmp_path: Path, digests: Digests
) -> None:
    model, patch = erased
    new = digests(model)
    folder = tmp_path / "patch"
    folder.mkdir(mode=0o755)
    assert patch.save(folder) == folder
    assert folder.stat().st_mode & 0o077 == 0, "it reveals what was erased: nobody else may look in"
    loaded = revs.Patch.load(folder)
    assert (loaded.records, loaded.method, loaded.sweeps) == (patch.records, patch.method, patch.sweeps)
    assert dict(loaded.config) == dict(patch.config)
    loaded.revert(model)
    assert digests(model) == digests(shared_model)
    loaded.apply(model)
    assert digests(model) == new
    with pytest.raises(BadInput, match="not an empty folder"):
        patch.save(folder)
    with pytest.raises(BadInput, match="not an empty folder"):
        patch.save(folder / "manifest.json")


def cut_tensors(folder: Path) -> None:
    path = folder / "patch.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(folder: Path) -> None:
    path = folder / "patch.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def change_manifest(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        for name, value in changes.items():
            if value is None:
                del manifest[name]
            else:
                manifest[name] = value
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return change


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("a cut tensor file", cut_tensors, "no readable patch"),
    ("a flipped bit", flip_a_bit, "not what its manifest describes"),
    ("no tensor file", lambda folder: (folder / "patch.safetensors").unlink(), "no readable patch"),
    ("no manifest", lambda folder: (folder / "manifest.json").unlink(), "no readable patch"),
    ("a cut manifest", lambda folder: (folder / "manifest.json").write_text('{"format"'), "no readable patch"),
    ("a manifest that is a list", lambda folder: (folder / "manifest.json").write_text("[]"), "is of format"),
    ("another format", change_manifest(format="revs.patch/99"), "is of format 'revs.patch/99'"),
    ("other digests", change_manifest(digests={}), "manifest.json is not as"),
    ("no digests", change_manifest(digests=None), "manifest.json is not as"),
    ("other numbers", change_manifest(sweeps=9), "manifest.json is not as"),
    ("no digest of its own", change_manifest(digest=None), "manifest.json is not as"),
]


@pytest.mark.parametrize(("what", "damage", "message"), DAMAGE, ids=[row[0] for row in DAMAGE])
def test_a_damaged_patch_is_refused(what: str, damage: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    patch = revs.Patch.between({"w": weight}, {"w": weight + 1}, method="revs", config={"sweeps": 2})
    folder = patch.save(tmp_path / "patch")
    revs.Patch.load(folder)
    damage(folder)
    with pytest.raises(BadInput, match=message):
        revs.Patch.load(folder)


class Interrupted(BaseException):
    """Neither an Exception nor ours: what Ctrl-C is."""


def test_an_edit_that_fails_between_two_sweeps_puts_every_weight_back(
    model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    before = digests(model)
    seen: list[bool] = []

    def interrupt(stage: str, done: int, _total: int) -> None:
        if stage == "sweep" and done == 2:
            seen.append(digests(model) != before)
            raise Interrupted

    with pytest.raises(Interrupted):
        revs.erase(model, tokenizer, people[:4], config=config(epsilon=3.0), progress=interrupt)
    assert seen == [True], "the first sweep had changed weights"
    assert digests(model) == before


@pytest.mark.parametrize("failure", ["error", "not finite", "singular"])
def test_an_edit_that_fails_between_two_layers_puts_every_weight_back(
    failure: str, model: Any, tokenizer: Any, people: list[Target], digests: Digests, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(model)
    calls: list[bool] = []
    solve = joint_edit.joint_update

    def fail_at_the_third(*arguments: Any, **options: Any) -> tuple[Tensor, Tensor]:
        calls.append(digests(model) != before)
        left_dN, right_Nm = solve(*arguments, **options)
        if len(calls) < 3:
            return left_dN, right_Nm
        if failure == "error":
            raise MemoryError
        if failure == "singular":
            torch.linalg.cholesky(-torch.eye(2))
        return left_dN * math.inf, right_Nm

    monkeypatch.setattr(joint_edit, "joint_update", fail_at_the_third)
    with pytest.raises(MemoryError if failure == "error" else BadInput):
        revs.erase(model, tokenizer, people[:2], config=config())
    assert calls == [False, True, True]
    assert digests(model) == before
    model(input_ids=torch.tensor([[0, 5]]))
    assert len(calls) == 3, "the hooks are gone"


def test_one_edit_after_another_reverts_in_turn(
    model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    start = digests(model)
    first = revs.erase(model, tokenizer, people[:2], config=config())
    second = revs.erase(model, tokenizer, people[2:4], config=config(), retain=people[4:])
    with pytest.raises(BadInput):
        first.revert(model)
    second.revert(model)
    first.revert(model)
    assert digests(model) == start
