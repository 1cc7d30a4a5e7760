"""A folder that is registered serves where its model never had a champion, by the log; an alias alone says nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from registered import Installation, waiting

from infra.registry import ModelVersion
from infra.settings import Settings
from tasks.versions.registering import register_model
from tasks.versions.served import FIRST


def register(settings: Settings, folder: Path) -> ModelVersion:
    return register_model(settings, folder, name="demo", corpus="corpus.txt", tags={})


def mended(folder: Path, place: Path) -> Path:
    """The same weights, with a file beside them changed."""
    shutil.copytree(folder, place)
    path = place / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_length": 7}))
    return place


def without_alias(here: Installation) -> None:
    here.registry._client.delete_registered_model_alias("demo", "champion")


def on_the_base(here: Installation) -> None:
    here.point_champion_to("1")


@pytest.mark.parametrize("alias", [without_alias, on_the_base])
@pytest.mark.parametrize("mend", [False, True])
def test_after_a_batch_no_folder_becomes_champion_whatever_the_alias_says(
    alias: object, mend: bool, here: Installation, two_batches: tuple[str, str], tmp_path: Path
) -> None:
    assert callable(alias)
    alias(here)
    before, said = here.registry.alias("demo"), here.store.events(event=FIRST)
    for number, folder in enumerate(here.checkpoints):
        version = register(here.settings, mended(folder, tmp_path / str(number)) if mend else folder)
        assert "champion" not in version.aliases or version.version == before
    assert here.registry.alias("demo") == before and here.store.events(event=FIRST) == said


def test_a_candidate_that_waits_does_not_serve_when_its_folder_is_registered(
    here: Installation, tmp_path: Path
) -> None:
    version, _ = waiting(here)
    stored = here.registry.stored_at(version)
    assert stored is not None
    folder = shutil.copytree(stored / "model", tmp_path / "folder")
    without_alias(here)
    register(here.settings, folder)
    assert here.registry.alias("demo") is None


@pytest.mark.parametrize(("role", "serves"), [(None, "2"), ("officer", "1")])
def test_a_base_that_mends_files_of_the_base_that_serves_takes_its_place_unless_a_role_approves(
    role: str | None, serves: str, here: Installation, tmp_path: Path
) -> None:
    settings = here.settings.model_copy(update={"approver_role": role})
    folder = mended(here.checkpoints[0], tmp_path / "m")
    for _ in range(2):
        register(settings, folder)
    assert here.registry.alias("demo") == serves
    said = [each.detail["version"] for each in here.store.events(event=FIRST)]
    assert said == ["models:/demo/1", "models:/demo/2"][: int(serves)]
