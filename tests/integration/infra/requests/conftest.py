"""A request store of its own for each test, and a file handed in to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, create_engine

if TYPE_CHECKING:
    from infra.requests import RequestStore


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store can be made, in either database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'requests.db'}"
    return str(request.getfixturevalue("new_postgres")())


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The same database, for who goes behind the program's back."""
    found = create_engine(url)
    yield found
    found.dispose()


@pytest.fixture
def store(tmp_path: Path) -> RequestStore:
    from stored_requests import open_store

    return open_store(tmp_path)


@pytest.fixture
def hand_in(store: RequestStore, tmp_path: Path) -> Callable[..., Any]:
    def call(*lines: str, name: str = "r.jsonl", model: str = "demo") -> Any:
        (tmp_path / name).write_text("\n".join(lines))
        return store.add_file(tmp_path / name, model=model)

    return call
