"""An installation whose keys are wrapped, and the key-encryption key."""

from __future__ import annotations

from pathlib import Path

import pytest
from key_forms import EARLIER, KEK, KEY, address, kept

from infra.keys.keyfile import rewrite
from infra.keys.local import LocalKeys
from infra.settings import Settings


@pytest.fixture
def kek(tmp_path: Path) -> Path:
    return kept(tmp_path / "kek", KEK)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def wrapped(home: Path, kek: Path) -> Settings:
    """An installation with two keys, wrapped."""
    settings = Settings(home=home, key_service=address(kek))
    kept(settings.key_file, KEY, EARLIER)
    rewrite(settings.key_file, LocalKeys(address(kek)), wrapped=True)
    return settings
