"""A home folder that was moved or copied: MLflow keeps whole addresses, and they still name the old place."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from infra.registry.service import database_file, local_path
from revs.errors import OperationFailed

# Where MLflow's database keeps the addresses of files: table and column.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_WAIT_SECONDS = 30.0


def follow(tracking_uri: str, artifact_uri: str | None, *, experiment: str) -> None:
    """Let an embedded registry look for its files where they are now, after it was moved or copied with them.

    Without this a copy would read, write to, and delete from the original. So a registry whose files are neither beside
    its database nor where the settings say is not opened, unless they came along to one of these places.

    Args:
        tracking_uri: of the registry.
        artifact_uri: where its files go, by the settings.
        experiment: whose address tells where they went until now.

    Raises:
        OperationFailed: the files, or some of them, were left behind, or the database cannot be written.
    """
    database = database_file(tracking_uri)
    if database is None or not database.is_file():
        return
    old = _recorded(database, experiment)
    before = local_path(old)
    beside, configured = database.parent / "artifacts", local_path(artifact_uri)
    places = [place for place in (configured, beside) if place is not None]
    if old is None or before is None or any(before == place or _same_folder(before, place) for place in places):
        return
    named = list(_files(database, old))
    for place in places:
        if not named or _came_along(database, named, before, place):
            _rename(database, old, place.as_uri())
            return
    raise OperationFailed(
        f"the registry {database} keeps its files in {before}, which is neither beside it nor REVS_ARTIFACT_ROOT: if "
        f"it was copied or moved, copy them to {places[0]} too; if they stay there, set REVS_ARTIFACT_ROOT={before}"
    )


def _recorded(database: Path, experiment: str) -> str | None:
    with suppress(sqlite3.Error), closing(_open(database)) as connection:  # MLflow says what is wrong with it
        row = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)).fetchone()
        return None if row is None else str(row[0])
    return None


def _same_folder(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _came_along(database: Path, named: list[str], before: Path, place: Path) -> bool:
    """Whether the files that the registry names are at a place.

    Raises:
        OperationFailed: some are, others only at the old one.
    """
    if not any((place / path).exists() for path in named):
        return False
    if left := [path for path in named if (before / path).exists() and not (place / path).exists()]:
        raise OperationFailed(
            f"the registry {database} was copied or moved from {before.parent} without {len(left)} of its files or "
            f"folders (the first: {left[0]}): copy them to {place} too, then run again"
        )
    return True


def _files(database: Path, old: str) -> Iterator[str]:
    """Paths below the old place that the registry names, each once."""
    found = set()
    with closing(_open(database)) as connection:
        for table, column in _ADDRESSES[1:]:
            for (address,) in connection.execute(f"SELECT {column} FROM {table}"):
                if str(address).startswith(f"{old}/"):
                    found.add(str(address)[len(old) + 1 :])
    yield from sorted(found)


def _rename(database: Path, old: str, new: str) -> None:
    """Exchange the beginning of every address, in one transaction."""
    try:
        with closing(_open(database)) as connection, connection:
            for table, column in _ADDRESSES:
                connection.execute(
                    f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) "
                    f"WHERE {column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'",
                    {"old": old, "new": new},
                )
    except sqlite3.Error as error:
        raise OperationFailed(
            f"the registry {database} was moved here, and where its files are cannot be noted in it ({error}): make it "
            "writable, then run again"
        ) from None


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(database, timeout=_WAIT_SECONDS)
