"""The digest of a folder's weights: of their values, whatever file they lie in."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from infra.registry import changed_tensors, weight_digest
from infra.registry.weights import read_weights
from revs.errors import BadInput


def write_safetensors(path: Path, tensors: dict[str, tuple[str, list[int], bytes]]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


A, B = ("F32", [2], b"\1" * 8), ("F32", [1, 2], b"\2" * 8)


def written(folder: Path) -> tuple[Path, Path, Path]:
    """The same tensors in one file, in another order, and in two files; each in a folder of its own."""
    whole, turned, shards = folder / "whole", folder / "turned", folder / "shards"
    for each in (whole, turned, shards):
        each.mkdir()
    write_safetensors(whole / "model.safetensors", {"a": A, "b": B})
    write_safetensors(turned / "model.safetensors", {"b": B, "a": A})
    write_safetensors(shards / "model-00001-of-00002.safetensors", {"b": B})
    write_safetensors(shards / "model-00002-of-00002.safetensors", {"a": A})
    return whole, turned, shards


def test_a_digest_does_not_depend_on_sharding_or_order(tmp_path: Path) -> None:
    whole, turned, shards = written(tmp_path)
    assert weight_digest(whole) == weight_digest(turned) == weight_digest(shards)


@pytest.mark.parametrize(
    ("after", "changed", "why"),
    [
        ({"a": A, "b": B}, [], "nothing"),
        ({"a": A, "b": ("F32", [1, 2], b"\2" * 7 + b"\3")}, ["b"], "one bit"),
        ({"a": A, "b": ("F32", [2, 1], b"\2" * 8)}, ["b"], "the same bytes in another shape"),
        ({"a": ("I32", [2], b"\1" * 8), "b": B}, ["a"], "the same bytes of another type"),
        ({"a": A}, ["b"], "one is gone"),
        ({"a": A, "b": B, "c": A}, ["c"], "one was added"),
        ({"a": B, "b": A}, ["a", "b"], "exchanged"),
    ],
)
def test_the_tensors_that_differ_are_listed_with_both_digests_however_the_files_are_cut(
    after: dict[str, tuple[str, list[int], bytes]], changed: list[str], why: str, tmp_path: Path
) -> None:
    _, _, before = written(tmp_path)
    write_safetensors((tmp_path / "after.safetensors"), after)
    (tmp_path / "after").mkdir()
    (tmp_path / "after.safetensors").rename(tmp_path / "after" / "model.safetensors")
    found = changed_tensors(before, tmp_path / "after")
    assert [each["name"] for each in found] == changed, why
    for each in found:
        for side, tensors in (("before", {"a": A, "b": B}), ("after", after)):
            alone = tmp_path / f"{side}-{each['name']}"
            alone.mkdir()
            if each["name"] in tensors:
                write_safetensors(alone / "model.safetensors", {str(each["name"]): tensors[str(each["name"])]})
                assert each[side] == weight_digest(alone)
            else:
                assert each[side] is None


def test_one_reading_gives_the_digests_of_the_files_too(tmp_path: Path) -> None:
    """Whatever the order within a file, and with bytes that belong to no tensor."""
    whole, turned, shards = written(tmp_path)
    with (shards / "model-00002-of-00002.safetensors").open("ab") as file:
        file.write(b"more")
    for folder in (whole, turned, shards):
        found = read_weights(folder)
        assert found.digest == weight_digest(folder)
        assert found.files == {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.safetensors")
        }


def test_files_that_transformers_writes_are_read_once(
    checkpoints: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(checkpoints[0]).save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1

    def again(*_: object) -> None:
        raise AssertionError("a file was read a second time")

    monkeypatch.setattr(hashlib, "file_digest", again)
    for folder in (checkpoints[0], tmp_path):
        for name, digest in read_weights(folder).files.items():
            assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "changed",
    [
        {"a": A, "c": B},
        {"a": A, "b": ("F32", [2, 1], B[2])},
        {"a": A, "b": ("I32", [1, 2], B[2])},
        {"a": A, "b": ("F32", [1, 2], b"\2" * 7 + b"\3")},
        {"a": B, "b": A},
        {"a": A},
    ],
    ids=["name", "shape", "dtype", "one byte", "swapped", "missing"],
)
def test_a_digest_notices_every_change(tmp_path: Path, changed: dict[str, Any]) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"a": A, "b": B})
    before = weight_digest(tmp_path)
    write_safetensors(tmp_path / "model.safetensors", changed)
    assert weight_digest(tmp_path) != before


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("model.safetensors", "copy.safetensors"):
        write_safetensors(tmp_path / name, {"a": A})
    with pytest.raises(BadInput, match="two"):
        weight_digest(tmp_path)


@pytest.mark.parametrize("keep", [0, 7, 20, -1], ids=["empty", "no header", "half a header", "data cut"])
def test_a_damaged_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"a": A})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match="not a whole safetensors file"):
        weight_digest(tmp_path)
