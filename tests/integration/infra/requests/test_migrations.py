"""The store's schema: migrated from every earlier one it is that of the tables, and nothing is lost on the way."""

from __future__ import annotations

import sqlite3
from datetime import date
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from migrated_once import MigratedOnce
from sqlalchemy import create_engine, text
from stored_requests import KEY, open_store

from infra.keys.vault import Vault
from infra.requests import schema, tables
from infra.requests.store import RequestStore
from revs.errors import BadInput, OperationFailed

CASES = Path(__file__).parents[3] / "cases"


@pytest.fixture(autouse=True)
def each_time(migrated_once: MigratedOnce, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here every store is really migrated."""
    monkeypatch.setattr(command, "upgrade", migrated_once.upgrade)


def old_store(folder: Path, statements: str) -> None:
    connection = sqlite3.connect(folder / "requests.db")
    connection.executescript((CASES / "store_of_schema_1.sql").read_text() + statements)
    connection.close()


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).with_name("migrations")))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD


def test_the_migrations_make_the_tables_that_the_program_uses(url: str) -> None:
    RequestStore(url, Vault(KEY)).close()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.Base.metadata) == []
    engine.dispose()


def test_stores_that_are_told_what_the_migrations_told_another_have_the_same_tables(
    migrated_once: MigratedOnce, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So it is with the stores of all other tests."""
    monkeypatch.setattr(command, "upgrade", MigratedOnce(migrated_once.upgrade))
    dumps = []
    for name in ("migrated", "told"):
        (folder := tmp_path / name).mkdir()
        open_store(folder).close()
        connection = sqlite3.connect(folder / "requests.db")
        dumps.append(list(connection.iterdump()))
        connection.close()
    assert dumps[0] == dumps[1] and len(dumps[0]) > 20


@pytest.mark.parametrize(
    "statements",
    ["", "UPDATE meta SET value = '2' WHERE name = 'schema_version';"],
    ids=["schema 1", "schema 2 without the list of digests"],
)
def test_an_older_store_opens_keeps_every_payload_and_has_todays_tables(tmp_path: Path, statements: str) -> None:
    old_store(tmp_path, statements)
    store = open_store(tmp_path)
    assert len(store.list()) > 0 and len(store.erased()) == 0
    engine = create_engine(f"sqlite:///{tmp_path / 'requests.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.Base.metadata) == []
    engine.dispose()


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_store(tmp_path, "")
    connection = sqlite3.connect(tmp_path / "requests.db")
    before = list(connection.iterdump())
    monkeypatch.setattr(schema, "_VERSIONED_BY_ALEMBIC", object())  # the last write fails
    with pytest.raises(OperationFailed, match="what it held is unchanged"):
        open_store(tmp_path)
    assert list(connection.iterdump()) == before
    connection.close()


def test_a_store_of_a_newer_program_is_refused_and_left_alone(url: str) -> None:
    RequestStore(url, Vault(KEY)).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(OperationFailed, match="newer version of revs; use that version; nothing was changed"):
        RequestStore(url, Vault(KEY))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"
    engine.dispose()


def test_a_wrong_key_writes_nothing(tmp_path: Path) -> None:
    old_store(tmp_path, "")
    connection = sqlite3.connect(tmp_path / "requests.db")
    before = list(connection.iterdump())
    with pytest.raises(OperationFailed, match="deployment key is not the one"):
        RequestStore(f"sqlite:///{tmp_path / 'requests.db'}", Vault(bytes(32)))
    assert list(connection.iterdump()) == before
    connection.close()


def test_every_migration_can_be_undone_and_done_again(url: str) -> None:
    from alembic import command

    RequestStore(url, Vault(KEY)).close()
    engine = create_engine(url)
    with engine.connect() as connection:
        scripts = ScriptDirectory.from_config(schema.config(connection))
    revisions = [script.revision for script in scripts.walk_revisions()]
    for move, revision in [*((command.downgrade, each) for each in revisions[1:]), (command.upgrade, "head")]:
        with engine.begin() as connection:
            move(schema.config(connection), revision)
        with engine.connect() as connection:
            differs = compare_metadata(MigrationContext.configure(connection), tables.Base.metadata) != []
            assert differs == (move is command.downgrade)
    engine.dispose()


def test_requests_of_an_older_store_keep_their_dates_and_promise_nothing_more(tmp_path: Path) -> None:
    old_store(tmp_path, "")
    connection = sqlite3.connect(tmp_path / "requests.db")
    before = connection.execute("SELECT id, received, due FROM requests ORDER BY id").fetchall()
    connection.close()
    store = open_store(tmp_path)
    views = sorted(store.list(), key=lambda view: view.id)
    assert [(view.id, f"{view.received}", f"{view.due}") for view in views] == before
    assert {(view.regime, str(view.policy), view.extended_at, view.acknowledged_at) for view in views} == {
        ("days", "{}", None, None)
    }
    first = store.timeliness(date(2026, 12, 3))[0]
    assert (first.state, first.days_left, first.acknowledgement) == ("overdue", -1, "not_asked")
    with pytest.raises(
        BadInput, match=f"the regime of request {first.id}, days, has no extension; answer it by 2026-12"
    ):
        store.extend(first.id, reason="complexity", by="a privacy officer")
    assert store.acknowledge(first.id, by="a privacy officer")
