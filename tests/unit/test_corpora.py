"""Addresses of corpora stand in one file of the installation, and everywhere else an id that only its key gives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infra.corpora import address_of, remember
from infra.settings import Settings
from revs.errors import BadInput

NAMED = "of tansy.heath@example.com"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.mark.parametrize("source", [f"/data/{NAMED}/rows.jsonl", f"s3://bucket/{NAMED}", "/data/caf\udce9.txt"])
def test_an_address_is_recorded_under_an_id_and_found_again(source: str, settings: Settings) -> None:
    recorded = remember(settings, source)
    assert recorded.startswith("corpus-") and "tansy" not in recorded and len(recorded) == len("corpus-") + 32
    assert address_of(settings, recorded) == source
    assert remember(settings, source) == remember(settings, recorded) == recorded


def test_another_installation_gives_another_id_and_does_not_know_this_one(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Settings(home=tmp_path / "other")
    recorded = remember(settings, "/data/rows.txt")
    assert remember(other, "/data/rows.txt") != recorded
    with pytest.raises(BadInput, match=rf"the address of {recorded} is not kept .* name the corpus with --corpus"):
        address_of(other, recorded)


def test_a_path_is_kept_from_the_root_and_what_an_earlier_version_recorded_is_taken(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert address_of(settings, remember(settings, "rows.txt")) == str(tmp_path / "rows.txt")
    assert address_of(settings, "/data/rows.txt") == "/data/rows.txt"


def test_only_the_owner_reads_it_and_a_credential_is_not_kept(settings: Settings, tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        recorded = remember(settings, "/data/rows.txt")
    finally:
        os.umask(previous)
    folder = tmp_path / "corpora"
    assert ((folder / recorded).stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    with pytest.raises(BadInput, match="holds a password or key"):
        remember(settings, "https://hunter2@127.0.0.1/rows.jsonl")
    assert [path.name for path in folder.iterdir()] == [recorded]
