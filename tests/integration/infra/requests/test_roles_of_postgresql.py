"""The role of the program in PostgreSQL, with the grants of docs/reliability.md: it adds to the log, no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import store_lives
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from store_faults import administrator, demand, one_line
from stored_requests import KEY, complete, opened

from infra.keys.vault import Vault
from infra.requests import RequestStore

GRANTS = (Path(__file__).parents[4] / "docs" / "reliability.md").read_text().split("```sql\n")[1].split("```")[0]


@pytest.fixture
def as_role(new_postgres: Callable[[], str]) -> Iterator[tuple[str, str]]:
    """The addresses of one database for its owner and for the program, whose role may do what the page says."""
    url = new_postgres()
    with administrator(url) as server:
        for role in ("revs_owner", "revs_app"):
            server.execute(f"CREATE ROLE {role} LOGIN")  # type: ignore[arg-type]  # a constant of this file
        server.execute("GRANT CREATE, USAGE ON SCHEMA public TO revs_owner")
    yield str(make_url(url).set(username="revs_owner")), str(make_url(url).set(username="revs_app"))
    with administrator(url) as server:
        server.execute("DROP OWNED BY revs_owner, revs_app CASCADE")
        server.execute("DROP ROLE revs_owner, revs_app")


def granted(as_role: tuple[str, str]) -> str:
    owner, app = as_role
    RequestStore(owner, Vault(KEY)).close()
    with administrator(str(make_url(owner).set(username="postgres"))) as server:
        server.execute(GRANTS)  # type: ignore[arg-type]  # the page's own text
    return app


def test_a_role_that_may_make_no_tables_is_told_what_to_do(as_role: tuple[str, str]) -> None:
    said = one_line(lambda: RequestStore(as_role[1], Vault(KEY)), "the role in REVS_DATABASE_URL may not")
    assert "docs/reliability.md" in said


def test_with_the_grants_of_the_page_the_program_does_all_its_work(as_role: tuple[str, str], tmp_path: Path) -> None:
    app = granted(as_role)
    store = store_lives.opened(app)
    life = store_lives.Life(store)
    life.live()
    store.keep_address("s3://bucket/corpus")
    assert list(store_lives.wrong(store, life.ids)) == []
    store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET event = 'x'",
        "DELETE FROM events",
        "TRUNCATE events",
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "DROP TRIGGER events_append_only ON events",
        "DROP TABLE events",
        "CREATE OR REPLACE FUNCTION refuse_event_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN END $$",
    ],
)
def test_with_the_grants_of_the_page_the_program_can_add_to_the_log_and_not_change_it(
    as_role: tuple[str, str], statement: str
) -> None:
    app = granted(as_role)
    store = RequestStore(app, Vault(KEY))
    store.record("note")
    engine = create_engine(app)
    with pytest.raises(Exception, match=r"permission denied|must be owner") as caught, engine.begin() as connection:
        connection.execute(text(statement))
    assert not isinstance(caught.value, OperationalError)
    engine.dispose()
    assert [event.event for event in store.events()] == ["note"]
    store.close()


def test_a_role_that_may_not_rewrite_the_payloads_does_not_say_that_they_are_gone(as_role: tuple[str, str]) -> None:
    app = granted(as_role)
    with administrator(str(make_url(app).set(username="postgres"))) as server:
        server.execute("ALTER TABLE payloads OWNER TO revs_owner")
        server.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON payloads TO revs_app")
    store = RequestStore(app, Vault(KEY))
    store.add(demand(1), model="demo")
    batch = opened(store)
    complete(store, batch.id)
    assert store.batch(batch.id).status == "completed"
    assert "payloads.destroyed" not in {event.event for event in store.events()}
    store.close()
    owner = RequestStore(as_role[0], Vault(KEY))
    assert "payloads.destroyed" in {event.event for event in owner.events()}, "who may rewrite them does so at once"
    owner.close()
