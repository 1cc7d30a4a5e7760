"""SIGKILL before and after every commit of a whole life: the next process goes on, and nothing is lost or doubled."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import psycopg
import pytest
import store_lives
from sqlalchemy import create_engine, make_url, text
from stored_requests import stored_bytes

SAMPLE = 13  # `make test` tries every so manyth point, `make test-long` each of them


@pytest.fixture(scope="module")
def children() -> ForkServerContext:
    """Processes of their own without the seconds that imports take: forked from one that has done nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["infra.requests.store", "alembic.command", "psycopg"])
    return context


def run(children: ForkServerContext, work: Callable[..., None], *arguments: Any) -> int | None:
    process = children.Process(target=work, args=arguments)
    process.start()
    process.join(120)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def held(url: str, folder: Path) -> bytes:
    """Every byte that the database has on disk, after it has tidied up by itself."""
    if url.startswith("sqlite"):
        return stored_bytes(folder)
    with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(False), autocommit=True) as server:
        server.execute("VACUUM FULL")
        server.execute("CHECKPOINT")
        (root,) = server.execute("SHOW data_directory").fetchone() or ("",)
        (oid,) = server.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone() or ("",)
    return b"".join(path.read_bytes() for path in sorted(Path(root, "base", f"{oid}").iterdir()) if path.is_file())


def kept(url: str) -> dict[tuple[str, int], tuple[bytes, bytes]]:
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT request_id, number, wrapped_key, ciphertext FROM payloads")).all()
    engine.dispose()
    return {(id_, number): (key, sealed) for id_, number, key, sealed in rows}


def check_that_payloads_are_gone(url: str, folder: Path) -> None:
    """All that was ever sealed, by processes that died too, but for what the store still owes somebody."""
    store = store_lives.opened(url)
    remaining = kept(url)
    assert {store.get(id_).status for id_, _ in remaining} == {"rejected"}
    store.close()
    sealed = [tuple(map(bytes.fromhex, line.split())) for line in (folder / "diary").read_text().splitlines()]
    assert len(sealed) >= len(store_lives.ENDS)
    on_disk = held(url, folder)
    for _, ciphertext in remaining.values():
        assert ciphertext in on_disk, "what is kept is not found: the test looks in the wrong place"
    for key, ciphertext in sealed:
        if (key, ciphertext) not in remaining.values():
            assert key[20:68] not in on_disk and ciphertext[20:68] not in on_disk and ciphertext[-48:] not in on_disk


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest) -> Iterator[Callable[[Path], str]]:
    if request.param == "sqlite":
        yield lambda folder: f"sqlite:///{folder / 'requests.db'}"
    else:
        new_postgres = request.getfixturevalue("new_postgres")
        yield lambda folder: str(new_postgres())


@pytest.fixture(scope="module")
def points(
    new_url: Callable[[Path], str], children: ForkServerContext, tmp_path_factory: pytest.TempPathFactory
) -> int:
    folder = tmp_path_factory.mktemp("counted")
    assert run(children, store_lives.count_points, new_url(folder), folder / "diary", folder / "answers") == 0
    return int(json.loads((folder / "answers").read_text()))


def kill_and_go_on(children: ForkServerContext, url: str, folder: Path, *points: int) -> None:
    for point in points:
        assert run(children, store_lives.live_until, url, folder / "diary", point) == -signal.SIGKILL
    assert run(children, store_lives.live_to_the_end, url, folder / "diary", folder / "answers") == 0
    assert json.loads((folder / "answers").read_text()) == []
    check_that_payloads_are_gone(url, folder)


def test_there_are_at_least_thirty_points_and_all_steps_are_taken_without_an_accident(
    points: int, new_url: Callable[[Path], str], children: ForkServerContext, tmp_path: Path
) -> None:
    assert points >= 60
    kill_and_go_on(children, new_url(tmp_path), tmp_path)


def test_killed_before_or_after_some_commits_the_next_process_goes_on(
    points: int, new_url: Callable[[Path], str], children: ForkServerContext, tmp_path: Path
) -> None:
    for point in range(0, points, SAMPLE):
        (folder := tmp_path / f"{point}").mkdir()
        kill_and_go_on(children, new_url(folder), folder, point)


@pytest.mark.long
def test_killed_before_or_after_each_commit_the_next_process_goes_on(
    points: int, new_url: Callable[[Path], str], children: ForkServerContext, tmp_path: Path
) -> None:
    for point in range(points):
        (folder := tmp_path / f"{point}").mkdir()
        kill_and_go_on(children, new_url(folder), folder, point)


def test_killed_again_and_again_a_few_commits_further_each_time_it_still_ends_once(
    new_url: Callable[[Path], str], children: ForkServerContext, tmp_path: Path
) -> None:
    """A process that goes on passes over what was done, so point 5 is another commit each time, until none is left."""
    url = new_url(tmp_path)
    died = 0
    while (code := run(children, store_lives.live_until, url, tmp_path / "diary", 5 + died % 2)) == -signal.SIGKILL:
        died += 1
    assert (code, died > 8) == (0, True)
    kill_and_go_on(children, url, tmp_path)
