"""What stands outside the installation in place of a path: a reference that tells nothing and finds the path again."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from infra.keys.vault import Vault
from infra.requests import RequestStore
from revs.errors import BadInput

PLACE = "/data/tansyheath@example.com/rows.jsonl"


def store_at(folder: Path, key: bytes = b"k" * 32) -> RequestStore:
    return RequestStore(f"sqlite:///{folder / 'requests.db'}", Vault(key))


def test_a_reference_finds_its_address_again_and_tells_nothing_of_it(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    reference = store.keep_address(PLACE)
    assert store_at(tmp_path).address(reference) == PLACE
    assert "tansy" not in reference and "example" not in reference


def test_the_same_address_has_one_reference_under_one_key_and_others_under_others(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first, again = store_at(tmp_path).keep_address(PLACE), store_at(tmp_path).keep_address(PLACE)
    assert first == again != store_at(tmp_path / "other", b"o" * 32).keep_address(PLACE)
    with sqlite3.connect(tmp_path / "requests.db") as database:
        assert database.execute("SELECT count(*) FROM addresses").fetchone() == (1,)


@pytest.mark.parametrize("path", ["/data/corpus.txt", "s3://bucket/rows", "corpus"])
def test_what_is_no_reference_is_itself_the_address(tmp_path: Path, path: str) -> None:
    """Versions that were registered before keep working."""
    assert store_at(tmp_path).address(path) == path


def test_a_reference_of_another_installation_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not on record in this installation; name the corpus itself with --corpus"):
        store_at(tmp_path).address("address-" + "0" * 24)
