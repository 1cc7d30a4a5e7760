"""How versions lose their bytes: step by step, killed anywhere, and so that not one of them is found afterwards."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from registered import IN_A_MONTH, REQUEST, Installation, Killed, retire_in_a_month
from typer.testing import CliRunner

from flows.cli.app import app
from infra.requests import Clock
from revs.errors import BadInput
from tasks.stages.requests import open_batch
from tasks.versions.audit import audit_batch
from tasks.versions.gate import judge_record
from tasks.versions.promote import promote_version
from tasks.versions.retire import Desk, Retired, apply, plan


def done(*what: str) -> Retired:
    return Retired(retired=what, problems=())


def with_another_tokenizer(checkpoint: Path, folder: Path) -> Path:
    """The same model with a tokenizer file of other bytes."""
    shutil.copytree(checkpoint, folder)
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=3))
    return folder


def samples(checkpoint: Path) -> list[bytes]:
    """Some rows of tensors and a part of the tokenizer's file, as they are stored."""
    from safetensors.numpy import load_file

    tensors = load_file(checkpoint / "model.safetensors")
    rows = [tensor[0].tobytes() for name, tensor in sorted(tensors.items()) if tensor.ndim == 2]
    text = (checkpoint / "tokenizer.json").read_bytes()
    return [*rows, text[len(text) // 2 : len(text) // 2 + 200]]


def found_in(roots: list[Path], sought: list[bytes]) -> set[Path]:
    files = (path for root in roots for path in root.rglob("*") if path.is_file())
    return {path for path in files if any(sample in path.read_bytes() for sample in sought)}


def leave_copies(here: Installation, batch_id: str, temporary: Path) -> None:
    """What killed processes leave of version 1."""
    here.store.release(batch_id)
    stored = here.registry.stored_at(here.registry.resolve("models:/demo/1"))
    assert stored is not None
    for copy in (
        here.settings.work_dir / batch_id / "champion" / "demo-1",
        here.settings.work_dir / "B-of-another" / "models" / "demo-1",
        here.settings.home / "gate-x1" / "B-scratch" / "models" / "demo-1",
        temporary / "revs-model-x1",
        temporary / "revs-register-x1" / "stored",
    ):
        shutil.copytree(stored, copy)
    (here.settings.home / "token-counts").mkdir()
    (here.settings.home / "token-counts" / "0.safetensors").write_bytes(b"counts")


def test_no_byte_of_a_retired_version_is_found_and_its_successor_verifies_and_audits(
    desk: Desk, here: Installation, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.versions.audit.write_report", lambda evidence, folder: folder / "report.html")
    first, batch_one = here.batch("one", with_another_tokenizer(here.checkpoints[1], tmp_path / "second"))
    _, batch_two = here.batch("two", here.checkpoints[0])
    leave_copies(here, batch_one, temporary)
    here.registry.attach_report(first, {"report.json": b"{}", "sample.bin": samples(tmp_path / "second")[0]})
    roots, sought = [here.settings.home, temporary], samples(tmp_path / "second")
    assert len(found_in(roots, sought)) == 3  # weights, tokenizer, and what lies with the run
    assert len([*temporary.iterdir()]) == 2
    assert apply(desk) == done("models:/demo/1", "models:/demo/2")
    assert found_in(roots, sought) == set()
    assert [*temporary.iterdir()] == [] and not (here.settings.work_dir / batch_one).exists()
    kept = here.registry._client.list_artifacts(here.registry.resolve("models:/demo/2").run_id)
    assert {"evidence.json", "lineage.json", "model.sig", "policy.json", "provenance.json", "report.json"} == {
        each.path for each in kept
    }
    champion = here.registry.champion("demo")
    assert here.registry.verify(champion) is not None and here.registry.download(champion).is_dir()
    assert [each.version for each in here.registry.ancestry(champion)] == ["3", "2", "1"]
    for batch_id in (batch_one, batch_two):
        assert audit_batch(here.settings, batch_id, None)["status"] == "completed"
    assert here.store.log_problems() == []


def test_a_batch_that_a_run_works_on_keeps_its_folder(desk: Desk, here: Installation, temporary: Path) -> None:
    _, batch_id = here.batch("one", here.checkpoints[1])
    leave_copies(here, batch_id, temporary)
    here.store.hold(batch_id)
    (problem,) = apply(desk).problems
    assert f"works on batch {batch_id}" in problem and (here.settings.work_dir / batch_id).is_dir()
    here.store.release(batch_id)
    assert apply(desk) == done("models:/demo/1") and not (here.settings.work_dir / batch_id).exists()


def test_counts_of_tokens_stay_while_a_version_with_the_same_tokenizer_does(
    desk: Desk, here: Installation, temporary: Path, tmp_path: Path
) -> None:
    _, batch_id = here.batch("one", here.checkpoints[1])
    leave_copies(here, batch_id, temporary)
    assert apply(desk) == done("models:/demo/1")
    assert (here.settings.home / "token-counts").is_dir()


STEPS = ("record", "remove", "left", "bury", "looked", "record")


@pytest.mark.parametrize("done", [False, True], ids=["before it", "after it"])
@pytest.mark.parametrize("step", range(len(STEPS)), ids=lambda number: f"{number} {STEPS[number]}")
def test_a_retirement_that_was_killed_at_any_step_is_ended_by_the_next(
    step: int, done: bool, desk: Desk, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.batch("one", here.checkpoints[1])
    calls: list[str] = []

    def dying(name: str, owner: object) -> None:
        own: Callable[..., Any] = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            if len(calls) - 1 == step and not done:
                raise Killed
            result = own(*args, **kwargs)
            if len(calls) - 1 == step:
                raise Killed
            return result

        patch.setattr(owner, name, call)

    with monkeypatch.context() as patch:
        for name in set(STEPS) - {"record"}:
            dying(name, here.registry)
        dying("record", here.store)
        with pytest.raises(Killed):
            apply(desk)
    assert calls == [*STEPS[: step + 1]]
    apply(desk)
    old = here.registry.resolve("models:/demo/1")
    assert old.tags["revs.status"] == "retired" and not here.registry.stored_files(old)
    said = [each.event for each in here.store.events() if each.event.startswith("version.retir")]
    assert said == ["version.retiring", "version.retired"]
    assert plan(desk)[0].what == "models:/demo/2"


def test_a_deletion_that_was_killed_halfway_is_ended_even_if_the_day_moves(
    desk: Desk, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infra.registry import removal

    here.batch("one", here.checkpoints[1])
    with monkeypatch.context() as patch:
        gone: list[Path] = []

        def once(path: Path) -> None:
            if gone:
                raise Killed
            gone.append(path)
            remove(path)

        remove = removal.remove_path
        patch.setattr(removal, "remove_path", once)
        with pytest.raises(Killed):
            apply(desk)
    here.registry._client.set_model_version_tag("demo", "1", "revs.retire_on", "2999-01-01")
    assert plan(desk)[0].why.startswith("its retirement was begun on")
    assert apply(desk) == done("models:/demo/1")


def test_bytes_that_are_left_are_named_and_nothing_says_that_they_are_gone(
    desk: Desk, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.batch("one", here.checkpoints[1])
    with monkeypatch.context() as patch:  # a test that runs as root finds no file that it may not delete
        patch.setattr("infra.registry.removal.remove_path", lambda path: None)
        (problem,) = apply(desk).problems
    assert problem.startswith("bytes of models:/demo/1 are left: ") and "run 'revs retire --apply' again" in problem
    assert here.store.events(event="version.retired") == []
    assert here.registry.resolve("models:/demo/1").tags["revs.status"] == "superseded"
    assert apply(desk) == done("models:/demo/1")


def test_bytes_that_come_back_are_noticed_and_go_again(desk: Desk, here: Installation) -> None:
    here.batch("one", here.checkpoints[1])
    stored = here.registry.stored_at(here.registry.resolve("models:/demo/1"))
    assert stored is not None and apply(desk) == done("models:/demo/1")
    shutil.copytree(here.checkpoints[0], stored / "model")  # a backup
    assert plan(desk)[0].why == f"it was retired on {IN_A_MONTH}, and its bytes are there again"
    assert apply(desk) == done("models:/demo/1") and not stored.exists()


def test_two_at_once_retire_each_version_once(desk: Desk, here: Installation, two_batches: tuple[str, str]) -> None:
    context = multiprocessing.get_context("spawn")  # a fork may inherit a lock that a thread of another test held
    results: Any = context.Queue()
    both = [context.Process(target=retire_in_a_month, args=(here.settings.home, results)) for _ in range(2)]
    for each in both:
        each.start()
    retired = [*results.get(timeout=120), *results.get(timeout=120)]
    for each in both:
        each.join(60)
    assert sorted(retired) == ["models:/demo/1", "models:/demo/2"]
    assert len(here.store.events(event="version.retired")) == 2


def test_what_is_asked_of_a_retired_version_ends_with_one_line(desk: Desk, here: Installation) -> None:
    here.batch("one", here.checkpoints[1])
    apply(desk)
    old = here.registry.resolve("models:/demo/1")
    doors: dict[str, Callable[[], object]] = {
        "download": lambda: here.registry.download(old),
        "checkout": lambda: here.registry.checkout(old, here.settings.home / "x"),
        "tokenizer": lambda: here.registry.tokenizer(old, here.settings.home / "x"),
        "gate": lambda: judge_record(here.settings, old.uri),
        "promote": lambda: promote_version(here.settings, old.uri, approved_by="A. Officer"),
        "reinstate": lambda: here.registry.reinstate(old, instead_of=None, approved_by="A. Officer"),
        "the same files again": lambda: here.registry.register_base(here.checkpoints[0], name="demo", corpus="c"),
    }
    for door, ask in doors.items():
        with pytest.raises(BadInput) as refusal:
            ask()
        assert str(refusal.value).startswith(f"version 1 of 'demo' was retired on {IN_A_MONTH}: its bytes are gone"), (
            door
        )
    done = CliRunner().invoke(app, ["process", "--model", old.uri, "--home", str(here.settings.home)])
    assert isinstance(done.exception, BadInput) and "was retired on" in str(done.exception)
    here.point_champion_to("1")
    here.store.add(REQUEST | {"subject": "two"}, model="demo")
    with pytest.raises(BadInput, match="was retired on"):
        open_batch.fn("demo")


def test_what_a_killed_registration_left_goes_unless_its_batch_is_open(
    desk: Desk, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        for name in ("_create_version", "_discard"):
            patch.setattr(f"infra.registry.publishing.{name}", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            here.candidate("one", here.checkpoints[1])
    (batch,) = here.store.batches("demo")
    artifacts = here.settings.home / "artifacts"
    (left,) = [each for each in plan(desk) if each.run_id is not None]
    assert left.what == f"candidate/demo/{batch.id}" and not left.goes and "is open, still works on it" in left.why
    here.store.close_batch(batch.id, status="abandoned", outcome={})
    assert len(found_in([artifacts], samples(here.checkpoints[1])[:1])) == 1
    assert apply(desk).retired == (left.what,)
    assert found_in([artifacts], samples(here.checkpoints[1])[:1]) == set()
    assert [each for each in plan(desk) if each.run_id is not None] == []


def test_what_a_killed_registration_of_a_base_left_goes_when_nobody_can_be_at_work_on_it(
    desk: Desk, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        for name in ("_store", "_discard"):
            patch.setattr(f"infra.registry.publishing.{name}", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            here.registry.register_base(here.checkpoints[1], name="demo", corpus="c")
    (left,) = [each for each in plan(desk) if each.run_id is not None]
    with monkeypatch.context() as patch:
        patch.setattr(Clock, "today", lambda self: IN_A_MONTH - timedelta(days=30))
        assert "may still be at work" in plan(desk)[-1].why and apply(desk) == done()
    assert left.goes and apply(desk) == done(left.what)


@pytest.mark.parametrize(("number", "checkpoint"), [("2", 1), ("1", 0)], ids=["a candidate", "a base"])
def test_files_whose_entry_was_deleted_by_hand_are_a_humans_matter(
    number: str, checkpoint: int, desk: Desk, here: Installation
) -> None:
    here.batch("one", here.checkpoints[1])
    here.registry._client.update_run(here.registry.resolve(f"models:/demo/{number}").run_id, status="RUNNING")
    here.registry._client.delete_model_version("demo", number)
    (left,) = [each for each in plan(desk) if each.run_id is not None]
    assert not left.goes and left.overdue and "whose entry was deleted by hand" in left.why
    apply(desk)
    assert found_in([here.settings.home / "artifacts"], samples(here.checkpoints[checkpoint])[:1])
