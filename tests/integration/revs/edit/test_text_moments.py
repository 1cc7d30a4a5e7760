"""The moments of ordinary text: as much is read as it takes, and not again in the next night while they still fit."""

from __future__ import annotations

import copy
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import revs
from revs.edit import text_moments
from revs.edit.text_moments import TextMoments, disagreement
from revs.model.families import architecture_of
from revs.targets.target import Target

CONFIG: dict[str, Any] = {"low_rank": 40, "aim_rank": 60, "stand_ins": 0}  # stand-ins depend on the text too
Erase = Callable[..., revs.Patch]


@pytest.fixture
def shared_model(trained_models: dict[str, Any]) -> Any:
    """One family is enough: nothing here depends on it."""
    return trained_models["llama"]


@pytest.fixture
def erase(tokenizer: Any, people: list[Target], ordinary: list[str], tmp_path: Path) -> Erase:
    """Edits a copy of a model, which it leaves in `erase.edited`, with the cache in `tmp_path / "a" / "cache"`."""

    def edited(model: Any, *, cache: bool = True, asked: slice = slice(4), **changes: Any) -> revs.Patch:
        settings = {"text": ordinary, "retain": people[8:], **changes}
        config = revs.EraseConfig(**{**CONFIG, **settings.pop("config", {})})
        folder = tmp_path / "a" / "cache" if cache else None
        copied = copy.deepcopy(model)
        patch = revs.erase(copied, tokenizer, people[asked], config=config, cache=folder, **settings)
        edited.model = copied  # type: ignore[attr-defined]  # the second night goes on from it
        return patch

    return edited


@pytest.fixture
def entries(tmp_path: Path) -> Callable[[], list[Path]]:
    return lambda: sorted((tmp_path / "a" / "cache").glob("*"))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one where the text is read."""
    found: list[int] = []
    read = TextMoments._read

    def noting(self: TextMoments, layers: range) -> Any:
        found.append(len(layers))
        return read(self, layers)

    monkeypatch.setattr(TextMoments, "_read", noting)
    return found


def test_the_text_is_not_read_again_on_the_same_weights_and_the_edit_is_the_same_to_the_bit(
    shared_model: Any, erase: Erase, entries: Callable[[], list[Path]], reads: list[int]
) -> None:
    plain, first = erase(shared_model, cache=False), erase(shared_model)
    stronger = erase(shared_model, config={"variations": 1, "epsilon": 0.01}, cache=False)
    reads.clear()
    again = erase(shared_model)
    assert plain == first == again
    assert plain.records == first.records == again.records
    assert erase(shared_model, config={"variations": 1, "epsilon": 0.01}) == stronger, "another setting of the ladder"
    assert reads == []
    assert len(entries()) == 1


@pytest.mark.parametrize(
    "changes",
    [{"retain": []}, {"config": {"retain_weight": 0.7}}, {"config": {"stand_ins": 1}}],
    ids=["retained records", "their weight", "stand-ins"],
)
def test_what_comes_to_the_text_is_read_anew_and_the_text_is_not(
    changes: dict[str, Any], shared_model: Any, erase: Erase, reads: list[int]
) -> None:
    expected = erase(shared_model, cache=False, **changes)
    erase(shared_model)
    reads.clear()
    assert erase(shared_model, **changes) == expected
    assert reads == []


@pytest.mark.parametrize(
    "changes",
    [{"text": ["Another text of a few words."]}, {"config": {"batch_size": 3}}, {"config": {"seed": 1}}],
    ids=["text", "order of summation", "order of reading"],
)
def test_what_decides_the_moments_of_the_text_makes_an_entry_that_takes_the_place_of_the_other(
    changes: dict[str, Any], shared_model: Any, erase: Erase, entries: Callable[[], list[Path]], reads: list[int]
) -> None:
    expected = erase(shared_model, cache=False, **changes)
    erase(shared_model)
    (before,) = entries()
    reads.clear()
    assert erase(shared_model, **changes) == expected
    assert len(reads) == 1
    (after,) = entries()
    assert after != before


def test_the_moments_of_one_night_serve_the_next(
    shared_model: Any, erase: Any, entries: Callable[[], list[Path]], reads: list[int]
) -> None:
    erase(shared_model)
    kept, tonight = entries(), erase.model
    reads.clear()
    with_old = erase(tonight, asked=slice(4, 8))
    assert reads == []
    assert entries() == kept
    assert with_old.short == erase(tonight, asked=slice(4, 8), cache=False).short


def test_moments_that_no_longer_fit_are_read_again(
    shared_model: Any, erase: Erase, entries: Callable[[], list[Path]], reads: list[int]
) -> None:
    erase(shared_model)
    model = copy.deepcopy(shared_model)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight.mul_(
            5.0
        )  # an edited weight: the entry is the same, the keys are not
    reads.clear()
    assert erase(model) == erase(model, cache=False)
    assert len(reads) == 2
    assert len(entries()) == 1
    assert erase(model) is not None and len(reads) == 2, "the entry is that of the model as it is now"


def test_another_model_has_an_entry_of_its_own(
    shared_model: Any, erase: Erase, entries: Callable[[], list[Path]]
) -> None:
    erase(shared_model)
    model = copy.deepcopy(shared_model)
    with torch.no_grad():
        next(model.parameters())[-1, -1] += 1e-3  # an embedding: no edit changes it
    assert erase(model) == erase(model, cache=False)
    assert len(entries()) == 2


def test_the_cache_is_for_its_owner_only_and_its_names_say_nothing(
    shared_model: Any, erase: Erase, entries: Callable[[], list[Path]]
) -> None:
    erase(shared_model)
    (entry,) = entries()
    assert entry.stat().st_mode & 0o777 == entry.parent.stat().st_mode & 0o777 == 0o700
    assert [len(part) for part in entry.name.split("-")] == [64, 64]
    assert set(entry.name) <= set("0123456789abcdef-")
    assert sorted(path.name for path in entry.iterdir()) == [
        *(f"{layer}.safetensors" for layer in range(3)),
        "probe.safetensors",
    ]


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:40])


def _other_tensors(file: Path, **tensors: torch.Tensor) -> None:
    save_file(tensors, file)


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: _truncate(entry / "probe.safetensors"),
        lambda entry: _truncate(entry / "0.safetensors"),
        lambda entry: (entry / "1.safetensors").unlink(),
        lambda entry: _other_tensors(entry / "1.safetensors", moment=torch.eye(3)),
        lambda entry: _other_tensors(entry / "2.safetensors", other=torch.eye(3)),
        lambda entry: _other_tensors(entry / "probe.safetensors", squares=torch.ones(7)),
        lambda entry: _other_tensors(entry / "1.safetensors", moment=torch.full((64, 64), torch.nan)),
        lambda entry: (entry.parent / f"{entry.name[:64]}-note.txt").write_text("of somebody else"),
        lambda entry: (shutil.rmtree(entry), (entry.parent / entry.name).write_text("a file in its place")),
    ],
    ids=[
        "the probe is cut", "a layer is cut", "a layer is gone", "a layer has another shape", "a tensor is another",
        "the probe has another shape", "a layer is not finite", "a foreign file stands beside", "the entry is a file",
    ],
)  # fmt: skip
def test_a_damaged_entry_is_none_and_never_stops_an_edit(
    damage: Callable[[Path], object], shared_model: Any, erase: Erase, entries: Callable[[], list[Path]]
) -> None:
    expected = erase(shared_model)
    (entry,) = entries()
    damage(entry)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", revs.RevsWarning)  # where a file stands in the entry's place
        assert erase(shared_model) == expected
        assert erase(shared_model) == expected


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_cache_that_is_no_folder_costs_only_the_cache(
    place: str, shared_model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.warns(revs.RevsWarning, match="could not be kept in"):
        revs.erase(
            copy.deepcopy(shared_model), tokenizer, people[:1], config=revs.EraseConfig(**CONFIG), text=ordinary,
            cache=tmp_path / place,
        )  # fmt: skip


@pytest.mark.parametrize("cache", ["", "a\0b"])
def test_what_is_no_path_is_refused_before_anything_is_read(
    cache: Any, shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    with pytest.raises(revs.BadInput, match="; give the path of a folder"):
        revs.erase(shared_model, tokenizer, people[:1], cache=cache)


def test_two_that_read_at_once_do_not_stop_each_other(
    shared_model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], tmp_path: Path
) -> None:
    """The second begins while the first is reading, and ends before it."""
    config, patches = revs.EraseConfig(**CONFIG), []

    def erase(progress: Any = None) -> None:
        patches.append(
            revs.erase(
                copy.deepcopy(shared_model), tokenizer, people[:2], config=config, text=ordinary, cache=tmp_path / "c",
                progress=progress,
            )
        )  # fmt: skip

    def begin_another(stage: str, done: int, _total: int) -> None:
        if (stage, done) == ("text", 1) and not patches:
            erase()

    erase(begin_another)
    assert patches[0] == patches[1]
    assert len(list((tmp_path / "c").iterdir())) == 1


def test_reading_that_is_cut_off_leaves_nothing(
    shared_model: Any, erase: Erase, entries: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(text_moments, "add_keys", cut_off)
        with pytest.raises(KeyboardInterrupt):
            erase(shared_model)
    assert entries() == []
    assert erase(shared_model) == erase(shared_model, cache=False)


def test_a_process_that_was_killed_while_reading_leaves_a_draft_that_the_next_one_removes(
    shared_model: Any, erase: Erase, entries: Callable[[], list[Path]]
) -> None:
    erase(shared_model)
    (entry,) = entries()
    draft = entry.with_name(f".{entry.name[:64]}-x")
    draft.mkdir()
    erase(shared_model, text=["Another text of a few words."])
    assert draft.exists(), "somebody may be at work on it"
    os.utime(draft, (0, 0))
    erase(shared_model)
    assert len(entries()) == 1 and not draft.exists()


def _of_text(model: Any, tokenizer: Any, text: list[str], *, seed: int = 0) -> TextMoments:
    return TextMoments(model, architecture_of(model), tokenizer, text, revs.EraseConfig(batch_size=4, seed=seed))


@pytest.mark.parametrize(
    ("tokens", "agree", "whole"),
    [(1, 1.0, False), (1, 0.0, True), (10_000, 1.0, True)],
    ids=["enough, and the halves agree", "the halves never agree", "too little text"],
)
def test_as_much_text_is_read_as_it_takes(
    tokens: int, agree: float, whole: bool, shared_model: Any, tokenizer: Any, ordinary: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(text_moments, "TOKENS", 2 * tokens)
    monkeypatch.setattr(text_moments, "AGREE", agree)
    of_text, read = _of_text(shared_model, tokenizer, ordinary * 4), []
    add = text_moments.add_keys

    def noting(*given: Any, **more: Any) -> int:
        read.append(add(*given, **more))
        return read[-1]

    monkeypatch.setattr(text_moments, "add_keys", noting)
    there, width = sum(len(window.ids) for window in of_text.windows), len(of_text.of(range(3))[0])
    assert sum(read) == there if whole else 2 * tokens * width <= sum(read) < there
    for_three = sum(read)
    of_text.of(range(1))
    assert sum(read) == 2 * for_three, "as much for other layers"


def test_the_order_in_which_text_is_given_does_not_matter_and_the_draw_is_the_seeds(
    shared_model: Any, tokenizer: Any, ordinary: list[str]
) -> None:
    one, other = _of_text(shared_model, tokenizer, ordinary), _of_text(shared_model, tokenizer, ordinary[::-1])
    assert one.windows == other.windows
    assert one.windows != _of_text(shared_model, tokenizer, ordinary, seed=1).windows


def test_the_moments_are_the_mean_of_the_outer_products_of_the_keys(
    shared_model: Any, tokenizer: Any, ordinary: list[str]
) -> None:
    keys: list[torch.Tensor] = []
    hook = shared_model.model.layers[1].mlp.down_proj.register_forward_pre_hook(lambda _m, given: keys.append(given[0]))
    with hook, torch.no_grad():
        for text in ordinary:
            shared_model(**tokenizer(text, return_tensors="pt").to("cpu"))
    keys_Nm = torch.cat([some[0] for some in keys])
    found = _of_text(shared_model, tokenizer, ordinary).of(range(1, 2))[1]
    torch.testing.assert_close(found, keys_Nm.T @ keys_Nm / len(keys_Nm), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("one", "other", "tokens", "expected"),
    [
        ([2.0, 4.0], [1.0, 2.0], (2, 1), 0.0),
        ([2.0, 0.0], [2.0, 0.0], (1, 1), 0.0),
        ([3.0, 1.0], [1.0, 1.0], (1, 1), 0.25),
        ([1.0, 0.0], [0.0, 1.0], (1, 1), 1.0),
    ],
    ids=["the same over twice the tokens", "a neuron that is never active", "one of two differs", "nothing in common"],
)
def test_disagreement_is_the_mean_over_the_neurons(
    one: list[float], other: list[float], tokens: tuple[int, int], expected: float
) -> None:
    assert disagreement({0: torch.tensor(one)}, {0: torch.tensor(other)}, tokens) == pytest.approx(expected)


def test_the_layer_that_disagrees_most_decides() -> None:
    same, apart = torch.ones(2), torch.zeros(2)
    assert disagreement({0: same, 1: same}, {0: same, 1: apart}, (1, 1)) == 1.0
