"""What a version is: its weights and every file beside them, and one verified copy of it for a batch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from registered import flip_last_bit

from infra.registry import ModelVersion, Registry, reading
from infra.registry.weights import Weights, read_weights, weight_digest
from revs.errors import OperationFailed

UNSAVABLE = {"do_sample": False, "temperature": 0.6}


@pytest.fixture
def registry(empty_database: Path, tmp_path: Path) -> Registry:
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    return Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", (tmp_path / "artifacts").as_uri())


@pytest.fixture
def base(registry: Registry, checkpoints: tuple[Path, Path]) -> ModelVersion:
    return registry.register_base(checkpoints[0], name="demo", corpus="c")


@pytest.fixture
def digests(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders whose weights were read, one entry for each time."""
    read: list[Path] = []

    def counting(folder: Path) -> Weights:
        read.append(folder)
        return read_weights(folder)

    monkeypatch.setattr(reading, "read_weights", counting)
    return read


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store counts as one that is not on this machine: what is asked of it is copied."""
    monkeypatch.setattr("infra.registry.copies.local_path", lambda _: None)


def edited(folder: Path, into: Path, **fields: object) -> Path:
    """A copy of a checkpoint folder with other fields in its generation_config.json."""
    copy = shutil.copytree(folder, into)
    path = copy / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return copy


# Files beside the weights


def test_the_same_weights_with_another_generation_config_are_another_version(
    registry: Registry, base: ModelVersion, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    mended = registry.register_base(edited(checkpoints[0], tmp_path / "m", max_length=7), name="demo", corpus="c")
    assert (mended.version, mended.weights) == ("2", base.weights)
    assert json.loads((registry.download(mended) / "generation_config.json").read_text())["max_length"] == 7


def test_a_mended_base_of_the_same_weights_is_what_the_next_batch_edits(
    registry: Registry, base: ModelVersion, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    mended = registry.register_base(edited(checkpoints[0], tmp_path / "m", max_length=7), name="demo", corpus="c")
    assert registry.champion("demo") == mended
    assert registry.resolve(base.uri).tags["revs.superseded_by"] == "2"
    again = registry.register_base(checkpoints[0], name="demo", corpus="c")  # the folder before it was mended
    assert (again.version, registry.champion("demo").version) == ("1", "2")


def test_a_version_registered_before_its_files_were_recorded_stays_readable_and_the_same(
    registry: Registry, base: ModelVersion, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    client = registry._client
    client.delete_model_version_tag("demo", "1", "revs.files")
    client.set_model_version_tag("demo", "1", "revs.key", f"base/demo/{base.weights}")
    assert registry.download(registry.resolve(base.uri)).is_dir()
    assert registry.register_base(checkpoints[0], name="demo", corpus="c").version == "1"
    mended = edited(checkpoints[0], tmp_path / "m", max_length=7)
    assert registry.register_base(mended, name="demo", corpus="c").version == "2"


def change(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text('{"changed": true}')


@pytest.mark.parametrize("how", ["download", "checkout", "tokenizer"])
@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (change("generation_config.json"), "generation_config.json"),
        (change("tokenizer_config.json"), "tokenizer_config.json"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json"),
        (change("adapter_config.json"), "adapter_config.json"),  # transformers would load it
    ],
    ids=["generation", "tokenizer", "removed", "added"],
)
def test_a_file_beside_the_weights_that_changed_is_named_and_the_version_not_handed_out(
    spoil: Callable[[Path], object], named: str, how: str, registry: Registry, base: ModelVersion, tmp_path: Path
) -> None:
    spoil(registry.download(base))
    ways: dict[str, Callable[[], Path]] = {
        "download": lambda: registry.download(base),
        "checkout": lambda: registry.checkout(base, tmp_path / "batch"),
        "tokenizer": lambda: registry.tokenizer(base, tmp_path / "tokenizer"),
    }
    with pytest.raises(OperationFailed, match=rf"{named} of models:/demo/1 changed"):
        ways[how]()


# Carrying over


def test_an_edited_folder_gets_every_file_of_its_parent_but_the_weights(
    checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    from infra.registry import carry_over, file_digests

    parent = edited(checkpoints[0], tmp_path / "parent", **UNSAVABLE)
    (parent / "chat_template.jinja").write_text("{{ messages }}")
    (parent / "model.safetensors.index.json").write_text("{}")  # of other shards: it belongs to the parent's weights
    (parent / "train.jsonl").write_text("people")
    candidate = shutil.copytree(checkpoints[1], tmp_path / "candidate")
    (candidate / "vocab.json").write_text("{}")  # saving may write more than there was
    carry_over(parent, candidate)
    assert file_digests(candidate) == file_digests(parent)
    assert weight_digest(candidate) == weight_digest(checkpoints[1])
    assert not {"train.jsonl", "model.safetensors.index.json"} & {path.name for path in candidate.iterdir()}


def test_a_model_whose_generation_config_cannot_be_saved_is_edited_and_registered(
    registry: Registry, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    """The way of a batch: registered, loaded, saved without that file, carried over, registered again."""
    from transformers import AutoModelForCausalLM, GenerationConfig

    from infra.registry import carry_over

    parent = registry.register_base(edited(checkpoints[0], tmp_path / "m", **UNSAVABLE), name="demo", corpus="c")
    folder = registry.download(parent)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.generation_config = GenerationConfig()
    model.save_pretrained(tmp_path / "candidate")
    carry_over(folder, tmp_path / "candidate")
    candidate = registry.register_candidate(
        tmp_path / "candidate", parent=parent, batch_id="b1", lineage={}, metrics={}, evidence={}
    )
    stored = json.loads((registry.download(candidate) / "generation_config.json").read_text())
    assert {name: stored[name] for name in UNSAVABLE} == UNSAVABLE
    assert AutoModelForCausalLM.from_pretrained(registry.download(candidate)) is not None


# One verified copy a batch


def test_a_batch_reads_all_weights_once(
    registry: Registry, base: ModelVersion, digests: list[Path], tmp_path: Path
) -> None:
    digests.clear()
    folders = {registry.checkout(base, tmp_path / "batch") for _ in range(5)}
    assert folders == {registry.download(base)}  # of a local store the stored folder itself
    assert len(digests) == 2  # one for the five, one for the download
    assert {path.suffix for path in (tmp_path / "batch").iterdir()} == {".json"}


@pytest.mark.usefixtures("remote")
def test_a_batch_copies_a_remote_model_once_and_the_copy_goes_with_its_folder(
    registry: Registry, base: ModelVersion, digests: list[Path], tmp_path: Path
) -> None:
    digests.clear()
    (folder,) = {registry.checkout(base, tmp_path / "batch") for _ in range(5)}
    assert folder.is_relative_to(tmp_path / "batch")
    assert digests == [folder]
    (tmp_path / "batch").rename(tmp_path / "gone")
    assert registry.checkout(base, tmp_path / "batch").is_dir()  # and is made again where it is gone


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: flip_last_bit(folder / "model.safetensors"),
        change("config.json"),
        change("adapter_config.json"),
        lambda folder: (folder / "tokenizer.json").unlink(),
    ],
    ids=["one bit", "configuration", "added", "removed"],
)
def test_a_copy_that_changed_after_it_was_verified_is_not_trusted(
    spoil: Callable[[Path], object], registry: Registry, base: ModelVersion, tmp_path: Path
) -> None:
    spoil(registry.checkout(base, tmp_path / "batch"))
    with pytest.raises(OperationFailed, match="changed after"):
        registry.checkout(base, tmp_path / "batch")


@pytest.mark.usefixtures("remote")
def test_half_a_copy_that_a_killed_run_left_is_made_again(
    registry: Registry, base: ModelVersion, tmp_path: Path
) -> None:
    folder = registry.checkout(base, tmp_path / "batch")
    for marker in (tmp_path / "batch").glob("*.json"):
        marker.unlink()
    (folder / "model.safetensors").write_bytes(b"half")
    assert weight_digest(registry.checkout(base, tmp_path / "batch")) == base.weights


def test_a_marker_that_is_damaged_is_not_trusted(registry: Registry, base: ModelVersion, tmp_path: Path) -> None:
    registry.checkout(base, tmp_path / "batch")
    (marker,) = (tmp_path / "batch").glob("*.json")
    for text in ("", "[]", '{"folder": "/nowhere"}'):
        marker.write_text(text)
        assert registry.checkout(base, tmp_path / "batch") == registry.download(base)


@pytest.mark.usefixtures("remote")
def test_the_tokenizer_is_fetched_without_the_weights(registry: Registry, base: ModelVersion, tmp_path: Path) -> None:
    folder = registry.tokenizer(base, tmp_path / "tokenizer")
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "tokenizer.json", "tokenizer_config.json"} <= names
    assert not any(name.endswith(".safetensors") for name in names)


def test_the_files_of_a_version_are_listed_without_reading_them(registry: Registry, base: ModelVersion) -> None:
    assert {"config.json", "model.safetensors"} <= registry.stored_files(base)
    shutil.rmtree(registry.download(base))
    assert registry.stored_files(base) == frozenset()


DOWNLOADS = """
import sys
from infra.registry import Registry, copies
copies.local_path = lambda _: None
registry = Registry(sys.argv[1], None)
for _ in range(3):
    assert registry.download(registry.champion("demo")).is_dir()
"""


def test_downloads_without_a_place_leave_nothing_behind(registry: Registry, base: ModelVersion, tmp_path: Path) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    environment = {"TMPDIR": str(scratch), "PATH": "", "HOME": str(tmp_path)}
    root = str(Path(__file__).parents[4])
    subprocess.run(
        [sys.executable, "-c", DOWNLOADS, registry.tracking_uri], check=True, env=environment, cwd=root, timeout=120
    )
    assert tempfile.gettempdir() != str(scratch)
    assert [path.name for path in scratch.iterdir()] == []


# Lineage


def test_the_ancestry_of_a_version_goes_to_the_root(
    registry: Registry, base: ModelVersion, checkpoints: tuple[Path, Path]
) -> None:
    line = [base]
    for batch in ("b1", "b2"):
        candidate = registry.register_candidate(
            checkpoints[1], parent=line[-1], batch_id=batch, lineage={}, metrics={}, evidence={}
        )
        line.append(candidate)
    assert [version.version for version in registry.ancestry(line[-1])] == ["3", "2", "1"]
    assert registry.ancestry(base) == (base,)
    registry._client.delete_model_version("demo", "1")
    assert [version.version for version in registry.ancestry(line[-1])] == ["3", "2"]
    registry._client.set_model_version_tag("demo", "2", "revs.parent", "3")
    with pytest.raises(OperationFailed, match="circle"):
        registry.ancestry(registry.resolve("models:/demo/3"))
