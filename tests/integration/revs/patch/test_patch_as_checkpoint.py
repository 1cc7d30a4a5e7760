"""A patch as a checkpoint that is rewritten shard by shard."""

from __future__ import annotations

import copy
import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from exported import Digests, loaded, wide_patch

import revs
from revs.errors import BadInput, OperationFailed
from revs.patch import checkpoint
from revs.targets.target import Target


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_sharded_checkpoint_is_rewritten_to_the_bit_and_other_shards_stay(
    erased: tuple[Any, revs.Patch], saved: Path, tmp_path: Path, digests: Digests
) -> None:
    model, patch = erased
    before = contents(saved)
    out = patch.to_checkpoint(saved, tmp_path / "edited")
    assert digests(loaded(out)) == digests(model)
    assert contents(saved) == before, "the source is only read"
    after = contents(out)
    assert after.keys() == before.keys()
    index = json.loads((saved / "model.safetensors.index.json").read_text())["weight_map"]
    touched = {index[name] for name in patch.weights}
    assert {name for name in before if before[name] != after[name]} == touched
    assert len(touched) < len(set(index.values()))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_single_file_in_half_precision_is_rewritten_without_the_model(
    dtype: torch.dtype, tmp_path: Path, digests: Digests
) -> None:
    base, _, _ = wide_patch()
    edited = copy.deepcopy(base.to(dtype))
    name = "model.layers.0.mlp.down_proj.weight"
    with torch.no_grad():
        edited.get_parameter(name).add_(0.01)
    base.save_pretrained(tmp_path / "base")
    patch = revs.Patch.between(
        {name: base.get_parameter(name)}, {name: edited.get_parameter(name)}, method="revs", config={}
    )
    (tmp_path / "out").mkdir()  # an empty folder will do
    out = patch.to_checkpoint(tmp_path / "base", tmp_path / "out")
    assert digests(loaded(out)) == digests(edited)


@pytest.mark.parametrize("shards", ["one file", "several shards"])
@pytest.mark.parametrize("name", ["gpt2", "bloom", "gptj", "opt"])
def test_a_published_checkpoint_whose_names_lack_the_models_prefix_is_rewritten(
    name: str, shards: str, new_model: Any, train: Any, tokenizer: Any, people: list[Target], tmp_path: Path,
    digests: Digests,
) -> None:  # fmt: skip
    """As GPT-2 and BLOOM are on the hub: saved from the model without its head, `h.0.…` for `transformer.h.0.…`."""
    base = train(new_model(name), tokenizer)
    if name in ("gpt2", "bloom"):  # tied: the headless checkpoint holds all there is
        size = {"max_shard_size": "60KB"} if shards == "several shards" else {}
        base.base_model.save_pretrained(tmp_path / "base", **size)
        settings = json.loads((tmp_path / "base" / "config.json").read_text())
        settings["architectures"] = [type(base).__name__]
        (tmp_path / "base" / "config.json").write_text(json.dumps(settings))
    else:
        base.save_pretrained(tmp_path / "base", **({"max_shard_size": "60KB"} if shards == "several shards" else {}))
        without_prefix(tmp_path / "base", "transformer." if name == "gptj" else "model.")
    edited = copy.deepcopy(base)
    patch = revs.erase(edited, tokenizer, people[:2], config=revs.EraseConfig(low_rank=40, aim_rank=60))
    out = patch.to_checkpoint(tmp_path / "base", tmp_path / "edited")
    assert digests(loaded(out)) == digests(edited)
    assert patch.to_lora(tmp_path / "adapter", base=tmp_path / "base") >= 1
    other = new_model(name, seed=8)
    other.base_model.save_pretrained(tmp_path / "other")
    with pytest.raises(BadInput, match="use the model it was made on"):
        patch.to_checkpoint(tmp_path / "other", tmp_path / "wrong")


def without_prefix(folder: Path, prefix: str) -> None:
    from safetensors.torch import load_file, save_file

    for path in folder.glob("*.safetensors"):
        weights = {name.removeprefix(prefix): weight for name, weight in load_file(path).items()}
        save_file(weights, path, metadata={"format": "pt"})
    for path in folder.glob("*.index.json"):
        path.write_text(path.read_text().replace(f'"{prefix}', '"'))


def test_old_values_in_other_forms_are_left_out_and_the_rest_is_kept(
    erased: tuple[Any, revs.Patch], saved: Path, tmp_path: Path
) -> None:
    _, patch = erased
    for name in ("pytorch_model.bin", "consolidated.safetensors", "model.gguf", "pytorch_model.bin.index.json"):
        (saved / name).write_bytes(b"old values")
    (saved / "original").mkdir()
    (saved / "original" / "consolidated.00.pth").write_bytes(b"old values")
    (saved / "tokenizer.json").write_text("{}")
    out = patch.to_checkpoint(saved, tmp_path / "edited")
    names = {path.name for path in out.iterdir()}
    assert {"config.json", "tokenizer.json", "model.safetensors.index.json"} <= names
    assert names.isdisjoint({"pytorch_model.bin", "consolidated.safetensors", "model.gguf", "original"})
    assert "pytorch_model.bin.index.json" not in names


def test_an_empty_patch_links_the_shards(saved: Path, tmp_path: Path) -> None:
    out = revs.Patch.between({}, {}, method="revs", config={}).to_checkpoint(saved, tmp_path / "edited")
    shard = sorted(saved.glob("*.safetensors"))[0].name
    assert (out / shard).samefile(saved / shard)
    assert not (out / "config.json").samefile(saved / "config.json"), "small files are copies: one may be edited"


def without_shards(folder: Path) -> None:
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")


def another_base(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    for path in folder.glob("*.safetensors"):
        save_file({name: weight + 1e-3 for name, weight in load_file(path).items()}, path, metadata={"format": "pt"})


def rename_weights(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(
        index.read_text().replace("model.layers", "model.blocks").replace("transformer.h", "transformer.b")
    )


def outside_the_folder(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-0000", "../model-0000"))


def cut_shards(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-50])


BAD: list[tuple[str, Callable[[Path], Any], str]] = [
    ("another base", another_base, "use the model it was made on"),
    ("a pickle", without_shards, "never from pickles"),
    ("a missing shard", lambda folder: sorted(folder.glob("*.safetensors"))[0].unlink(), "lacks the shard model-00001"),
    ("other names", rename_weights, "has no weight "),
    ("a shard elsewhere", outside_the_folder, "lacks the shard ../model"),
    ("a damaged index", lambda folder: (folder / "model.safetensors.index.json").write_text("[]"), "not an index"),
    ("cut shards", cut_shards, "no readable weight"),
    ("no folder", shutil.rmtree, "never from pickles"),
]


@pytest.mark.parametrize(("what", "damage", "message"), BAD, ids=[row[0] for row in BAD])
@pytest.mark.parametrize("family", ["llama"])
def test_a_checkpoint_that_is_not_the_base_is_refused_and_nothing_is_left(
    what: str,
    damage: Callable[[Path], Any],
    message: str,
    erased: tuple[Any, revs.Patch],
    saved: Path,
    tmp_path: Path,
) -> None:
    damage(saved)
    with pytest.raises(BadInput, match=message) as caught:
        erased[1].to_checkpoint(saved, tmp_path / "edited")
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"base"}


@pytest.mark.parametrize("family", ["llama"])
def test_a_single_file_that_is_cut_is_refused(erased: tuple[Any, revs.Patch], tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    for raw in (b"", b"\xff" * 20, (5).to_bytes(8, "little") + b"[1,2]"):
        (tmp_path / "base" / "model.safetensors").write_bytes(raw)
        with pytest.raises(BadInput, match="no safetensors file"):
            erased[1].to_checkpoint(tmp_path / "base", tmp_path / "edited")


@pytest.mark.parametrize("family", ["llama"])
def test_a_target_that_holds_something_is_refused(erased: tuple[Any, revs.Patch], saved: Path, tmp_path: Path) -> None:
    (tmp_path / "edited").mkdir()
    (tmp_path / "edited" / "mine").write_text("kept")
    for target in (tmp_path / "edited", tmp_path / "edited" / "mine", saved):
        with pytest.raises(BadInput, match="not an empty folder"):
            erased[1].to_checkpoint(saved, target)
    assert (tmp_path / "edited" / "mine").read_text() == "kept"


@pytest.mark.parametrize("family", ["llama"])
@pytest.mark.parametrize(
    ("failure", "seen"),
    [(OSError(errno.ENOSPC, "No space left on device"), OperationFailed), (KeyboardInterrupt(), KeyboardInterrupt)],
    ids=["disk full", "interrupted"],
)
def test_a_crash_in_the_middle_leaves_no_output(
    failure: BaseException,
    seen: type[BaseException],
    erased: tuple[Any, revs.Patch],
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    digests: Digests,
) -> None:
    model, patch = erased
    write, calls = checkpoint._rewrite, 0

    def second_fails(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        write(*arguments)
        if calls == 2:
            raise failure

    monkeypatch.setattr(checkpoint, "_rewrite", second_fails)
    with pytest.raises(seen) as caught:
        patch.to_checkpoint(saved, tmp_path / "edited")
    if seen is OperationFailed:
        assert "No space left on device" in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"base"}
    monkeypatch.undo()
    assert digests(loaded(patch.to_checkpoint(saved, tmp_path / "edited"))) == digests(model)


@pytest.mark.parametrize("family", ["llama"])
def test_where_links_cannot_be_made_shards_are_copied(
    erased: tuple[Any, revs.Patch], saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digests: Digests
) -> None:
    def no_links(*_: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(checkpoint.os, "link", no_links)
    out = erased[1].to_checkpoint(saved, tmp_path / "edited")
    assert digests(loaded(out)) == digests(erased[0])
    assert not any((out / path.name).samefile(path) for path in saved.iterdir())
