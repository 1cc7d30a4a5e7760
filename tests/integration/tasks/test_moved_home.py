"""A home folder that was moved or copied: what is registered is read and written at its new place, nowhere else."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from registered import IN_A_MONTH, Installation

from infra.registry import open_registry
from infra.requests import Clock, RequestStore
from infra.settings import Settings, load_settings
from revs.errors import OperationFailed
from tasks.batch.stage import open_store
from tasks.versions.audit import audit_batch
from tasks.versions.chain import read_chain
from tasks.versions.retire import Desk, apply
from tasks.versions.rollback import roll_back


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".db-shm")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def opened(here: Installation, home: Path) -> tuple[Settings, RequestStore, Installation]:
    settings = load_settings(home)
    store = open_store(settings)
    return settings, store, Installation(settings, store, open_registry(settings), here.checkpoints)


def live_on(installation: Installation) -> None:
    """The next batch, a way back, the page of a batch, and the bytes of what was superseded are deleted."""
    settings, registry = installation.settings, installation.registry
    champion = registry.champion("demo")
    assert not list(read_chain(settings, champion.uri, read_weights=True).broken)
    version, batch_id = installation.batch("three", installation.checkpoints[1])
    stored = registry.stored_at(version)
    assert stored is not None and stored.is_relative_to(settings.home)
    roll_back(settings, "demo", reason="completed requests may come back", approved_by="A. Officer")
    assert registry.champion("demo").version == champion.version
    audit_batch(settings, batch_id, None, read_weights=True)
    assert "models:/demo/1" in apply(Desk.of(settings)).retired


@pytest.mark.parametrize("copied", [False, True])
def test_a_home_that_was_moved_or_copied_goes_on_at_its_new_place(
    copied: bool, here: Installation, two_batches: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clock, "today", lambda self: IN_A_MONTH)
    old = here.settings.home
    place = tmp_path / "another disk" / "home"
    place.parent.mkdir()
    if copied:
        shutil.copytree(old, place)
        before = digests(old)
    else:
        old.rename(place)
    live_on(opened(here, place)[2])
    assert digests(old) == before if copied else not old.exists()


def test_a_registry_whose_files_stayed_where_they_were_still_reads_them_there(
    here: Installation, tmp_path: Path
) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    for name in ("mlflow.db", "signer.pem"):
        shutil.copy(here.settings.home / name, place)
    (place / "artifacts").mkdir()
    registry = opened(here, place)[2].registry
    assert registry.download(registry.champion("demo")).is_relative_to(here.settings.home)


def test_a_home_of_which_files_are_missing_is_told_and_does_not_mix_two_places(
    here: Installation, two_batches: tuple[str, str], tmp_path: Path
) -> None:
    place = tmp_path / "elsewhere"
    shutil.copytree(here.settings.home, place)
    stored = here.registry.stored_at(here.registry.resolve("models:/demo/1"))
    assert stored is not None
    shutil.rmtree(place / stored.relative_to(here.settings.home))
    registry = opened(here, place)[2].registry
    with pytest.raises(OperationFailed, match=r"was copied or moved from .*without 1 of its files"):
        registry.champion("demo")
