"""What an edit says of itself: that a target ended short, how far it is, and a short form of everything exported."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import revs
from revs import errors
from revs.targets.target import Target


def config(**settings: Any) -> revs.EraseConfig:
    return revs.EraseConfig(**{"low_rank": 40, "aim_rank": 60, **settings})


@pytest.fixture
def model(trained_models: dict[str, Any]) -> Any:
    """One family is enough: nothing here depends on it."""
    return copy.deepcopy(trained_models["llama"])


@pytest.mark.parametrize("method", ["revs", "revs-neurons", "ft-l"])
def test_targets_that_end_short_are_said_by_number(
    method: str, model: Any, tokenizer: Any, people: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    from revs.edit import sweep as joint_edit
    from revs.methods import neurons

    def nothing(*arguments: Any, **options: Any) -> Any:
        left, right = solve(*arguments, **options)
        return left * 0, right

    solve = joint_edit.joint_update
    monkeypatch.setattr(joint_edit, "joint_update", nothing)
    monkeypatch.setattr(neurons._Edit, "_layer_update", lambda *_: None)
    with pytest.warns(UserWarning, match=r"erase left 2 target\(s\) .*: numbers 0, 2 of the list") as caught:
        patch = revs.erase(model, tokenizer, [people[0], people[0], people[1]], config=config(method=method, sweeps=1))
    assert isinstance(caught[0].message, errors.RevsWarning)
    text = str(caught[0].message)
    assert "\n" not in text and people[0].secret.strip() not in text
    assert patch.short == (0, 2)
    assert patch.summary().startswith(f"{method}: 4 target tokens of 2 targets (4 short); short: targets 0, 2; ")
    assert not any(person.secret.strip() in patch.summary() for person in people)


def test_an_edit_that_reaches_its_ranks_says_nothing(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        patch = revs.erase(model, tokenizer, people[:1], config=config(sweeps=20), text=ordinary)
        nothing = revs.erase(model, tokenizer, [], text=ordinary)
    assert patch.short == ()
    assert patch.summary().startswith("revs: 2 target tokens of 1 targets (2 reached); 3 weights changed in ")
    assert nothing.summary() == "revs: 0 target tokens of 0 targets (none); 0 weights changed in 0 sweeps, 0.0 s"


@pytest.mark.parametrize("held", [2**31, 1], ids=["in memory", "in groups of layers"])
def test_progress_is_told_while_text_and_retained_records_are_read(
    held: int, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int, int]] = []
    monkeypatch.setattr("revs.edit.moments.HELD", held)
    revs.erase(
        model, tokenizer, people[:2], config=config(batch_size=3, stand_ins=0), text=ordinary, retain=people[4:],
        progress=lambda *told: seen.append(told),
    )  # fmt: skip
    passes = 4 if held > 1 else 4 * 3
    reading = [told for told in seen if told[0] == "text"]
    assert reading == [("text", n, passes) for n in range(1, passes + 1)]
    assert seen[: len(reading)] == reading, "before the first sweep"
    assert seen[len(reading)][0] == "sweep"


def test_what_the_library_exports_is_short_to_look_at_and_tells_nobodys_secret(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    settings = config(variations=2)
    patch = revs.erase(model, tokenizer, people[:8], config=settings, text=ordinary)
    scores = revs.evaluate(model, tokenizer, people, text=ordinary, k=40)
    for shown in (patch, scores, settings, people[0], patch.changes):
        assert len(repr(shown)) < 500, repr(shown)
        assert "\n" not in repr(shown)
        assert not any(person.secret.strip() in repr(shown) for person in people)
    assert len(repr(revs.METHODS)) < 1000
    assert repr(settings) == "EraseConfig(low_rank=40, aim_rank=60, variations=2)"
    assert repr(revs.EraseConfig()) == "EraseConfig()"
    assert "efficacy=" in repr(scores)
    assert "revs: 16 target tokens of 8 targets" in repr(patch)


@pytest.mark.parametrize("place", ["unembedding", "protection", "edit", "solve", "progress"])
def test_moments_on_disk_are_gone_however_the_edit_ends(
    place: str, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """They say as much about the text as activations do."""
    import tempfile

    def fail(*_: Any, **__: Any) -> Any:
        assert list(tmp_path.iterdir()), "there is something to be left behind"
        raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("revs.edit.moments.HELD", 1)
    where: dict[str, str] = {
        "unembedding": "revs.edit.edit.Unembedding",
        "protection": "revs.edit.edit.Protection.read",
        "edit": "revs.edit.edit.JointEdit",
        "solve": "revs.edit.sweep.joint_update",
    }
    options: dict[str, Any] = {}
    if place in where:
        monkeypatch.setattr(where[place], fail)
    else:
        options["progress"] = lambda stage, done, _total: fail() if (stage, done) == ("text", 3) else None
    with pytest.raises(KeyboardInterrupt) as caught:
        revs.erase(model, tokenizer, people[:2], config=config(), text=ordinary, retain=people[4:], **options)
    assert caught.traceback, "which still holds the frames of the edit"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("family", ["llama", "gptj"])
def test_a_patch_is_encoded_only_when_somebody_asks_for_its_form(
    family: str, trained_models: dict[str, Any], tokenizer: Any, people: list[Target], ordinary: list[str],
    digests: Callable[[Any], dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    from revs.patch import encode as compact

    encoded: list[int] = []

    def counted(*arguments: Any) -> Any:
        encoded.append(1)
        return encode(*arguments)

    encode = compact._encoded
    monkeypatch.setattr(compact, "_encoded", counted)
    model = copy.deepcopy(trained_models[family])
    old = digests(model)
    patch = revs.erase(model, tokenizer, people[:2], config=config(), text=ordinary)
    new = digests(model)
    assert patch.weights and repr(patch) and patch == patch
    patch.revert(model)
    assert digests(model) == old
    patch.apply(model)
    assert digests(model) == new
    with torch.no_grad():  # the patch has copies of its own
        for weight in model.parameters():
            weight.mul_(2)
            weight.div_(2)
    patch.revert(model)
    assert digests(model) == old
    assert encoded == [], "nobody has asked"
    loaded = revs.Patch.load(patch.save(tmp_path / "patch"))
    assert encoded, "now somebody has"
    assert loaded == patch
    for one in (patch, loaded):
        one.apply(model)
        assert digests(model) == new
        one.revert(model)
        assert digests(model) == old
