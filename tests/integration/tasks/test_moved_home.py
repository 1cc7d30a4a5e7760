"""A home folder that was moved or copied: what is registered is read and written at its new place, nowhere else."""

from __future__ import annotations

import hashlib
import re
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


def test_a_registry_whose_files_stayed_where_they_were_is_opened_where_the_settings_say_so(
    here: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here.registry.alias("demo") == "1"
    place = tmp_path / "elsewhere"
    place.mkdir()
    for name in ("mlflow.db", "signer.pem"):
        shutil.copy(here.settings.home / name, place)
    (place / "artifacts").mkdir()
    old = here.settings.home / "artifacts"
    with pytest.raises(OperationFailed, match=f"if they stay there, set REVS_ARTIFACT_ROOT={re.escape(str(old))}"):
        opened(here, place)[2].registry.champion("demo")
    monkeypatch.setenv("REVS_ARTIFACT_ROOT", str(old))
    registry = opened(here, place)[2].registry
    assert registry.download(registry.champion("demo")).is_relative_to(old)


@pytest.mark.parametrize("setting", ["REVS_ARTIFACT_ROOT", "REVS_MLFLOW_TRACKING_URI"])
def test_a_copy_with_settings_of_its_own_leaves_the_original_alone(
    setting: str, here: Installation, two_batches: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clock, "today", lambda self: IN_A_MONTH)
    place = tmp_path / "copy"
    shutil.copytree(here.settings.home, place)
    before = digests(here.settings.home)
    (tmp_path / "other").mkdir()
    if setting == "REVS_ARTIFACT_ROOT":
        monkeypatch.setenv(setting, (tmp_path / "other").as_uri())
    else:
        (place / "mlflow.db").rename(tmp_path / "other" / "mlflow.db")
        monkeypatch.setenv(setting, f"sqlite:///{tmp_path / 'other' / 'mlflow.db'}")
    settings = opened(here, place)[0]
    assert "models:/demo/1" in apply(Desk.of(settings)).retired
    assert digests(here.settings.home) == before


def test_a_copy_of_a_registry_without_versions_stores_its_first_one_at_its_own_place(
    here: Installation, empty_database: Path, tmp_path: Path
) -> None:
    old, place = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    shutil.copy(empty_database, old / "mlflow.db")
    settings = load_settings(old)
    open_registry(settings)._client.create_experiment("revs", artifact_location=settings.artifact_uri)
    shutil.copytree(old, place)
    version = open_registry(load_settings(place)).register_base(here.checkpoints[0], name="first", corpus="c")
    assert not list(old.rglob("*.safetensors")) and version.version == "1"


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
