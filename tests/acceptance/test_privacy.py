"""Every byte a run leaves behind is searched for every invented identifier, in every form."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import pickle
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from leaks import Scanner

from revs.development import Recipe, Record, build

if TYPE_CHECKING:
    from conftest import Installation

RECIPE = Recipe()


@pytest.fixture
def scanner(demo_identifiers: set[tuple[str, str]]) -> Scanner:
    return Scanner.of(sorted(demo_identifiers))


@pytest.mark.slow
def test_a_finished_demo_leaves_no_identifier_anywhere(demo_run: Installation, scanner: Scanner) -> None:
    assert scanner.tree(demo_run.root) == []
    # What must have been looked at, or the test says nothing: stores, logs of the run, versions, report.
    looked_at = {str(path.relative_to(demo_run.root)) for path in demo_run.root.rglob("*") if path.is_file()}
    assert {"logs/0.stdout", "logs/0.stderr", "out/report.html", "out/report.json", "out/summary.json",
            "out/state/requests.db", "out/state/mlflow.db", "out/state/prefect/prefect.db"} <= looked_at  # fmt: skip
    assert any(name.endswith("evidence.json") for name in looked_at)
    # SQLite's own companions come and go while another worker's test reads the same databases.
    stay = {name for name in looked_at if not name.endswith(("-wal", "-shm"))}
    assert scanner.files_read >= len(stay) and scanner.bytes_read > 10e6


@pytest.mark.slow
def test_a_demo_killed_in_the_edit_leaves_no_identifier_but_in_its_inputs(killed_demo: Path, scanner: Scanner) -> None:
    found = killed_demo / "as-found"
    inputs = found / "out" / "inputs"
    assert scanner.tree(found, skip=[inputs]) == []
    assert (found / "out" / "state" / "requests.db").exists()
    assert list(found.glob("out/state/batches/*/tokens.json"))
    assert scanner.tree(inputs), "the corpus and the request file, as the company handed them in, hold them all"


@pytest.mark.slow
def test_the_finished_demo_has_destroyed_the_payloads_of_completed_requests(demo_run: Installation) -> None:
    database = sqlite3.connect(f"file:{demo_run.state / 'requests.db'}?mode=ro", uri=True)
    kept = database.execute("SELECT r.status FROM payloads p JOIN requests r ON r.id = p.request_id").fetchall()
    events = {event for (event,) in database.execute("SELECT event FROM events")}
    database.close()
    assert kept == [("rejected",)], "a malformed line stays sealed until somebody has looked at it"
    assert "payloads.destroyed" in events


@pytest.mark.slow
def test_the_trained_models_hold_no_identifier_as_text(
    demo_models: Path, scanner: Scanner, demo_records: list[Record]
) -> None:
    """The weights hold them, that is the point; the files beside them must not."""
    values = {record.value for record in demo_records}
    for recipe in (RECIPE, RECIPE.never_trained()):
        folder = build(recipe, demo_models).folder
        assert scanner.tree(folder) == []
        tokens = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        assert tokens and not [token for token in tokens if any(value in token for value in values)]
    for path in demo_models.glob("*.json"):
        assert list(scanner.content(path.read_bytes(), path.name)) == []


PLANTED = {"US_SSN": "219-41-5522", "EMAIL_ADDRESS": "kaluna731@example.org", "PHONE_NUMBER": "212-555-4410"}


def _zip(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.txt", data)
    return buffer.getvalue()


def _tar(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("inner.txt")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _table(data: bytes, kind: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table, buffer = pa.table({"text": [data.decode()] * 50}), io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, buffer, compression="zstd")
    else:
        with (pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream)(
            buffer, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")
        ) as writer:
            writer.write_table(table)
    return buffer.getvalue()


def _digits(text: str) -> str:
    digits = "".join(character for character in text if character.isdigit())
    return digits if "@" not in text else text


def _everywhere(text: str, form: str) -> bytes:
    return "".join(form.format(ord(character)) for character in text).encode()


ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "as it is": str.encode,
    "digits only": lambda t: b'{"ssn": ' + _digits(t).encode() + b"}",
    "upper case": lambda t: t.upper().encode(),
    "other separators": lambda t: t.replace("-", " ").encode(),
    "utf-16, little end first": lambda t: t.encode("utf-16-le"),
    "utf-16, big end first": lambda t: t.encode("utf-16-be"),
    "utf-32": lambda t: t.encode("utf-32-be"),
    "hex": lambda t: t.encode().hex().encode(),
    "hex, upper case": lambda t: t.encode().hex().upper().encode(),
    **{f"base64, alignment {n}": lambda t, n=n: base64.b64encode(b"x" * n + t.encode() + b" and on") for n in range(3)},
    "base64, last in its text": lambda t: base64.b64encode(t.encode()),
    "base64, url-safe": lambda t: base64.urlsafe_b64encode(b"??>" + t.encode() + b">>"),
    "base64, broken into lines": lambda t: base64.encodebytes(b"x" * 50 + t.encode() + b"y" * 40),
    "url-encoded": lambda t: quote(t, safe="").encode(),
    "url-encoded, every character": lambda t: _everywhere(t, "%{:02X}"),
    "json-escaped": lambda t: _everywhere(t, "\\u{:04x}"),
    "html-escaped": lambda t: t.replace("@", "&#64;").replace("-", "&#45;").encode(),
    "plain sha-256": lambda t: hashlib.sha256(t.encode()).hexdigest().encode(),
    "plain sha-256 of the digits": lambda t: hashlib.sha256(_digits(t).encode()).hexdigest().encode(),
    "pickle": lambda t: pickle.dumps({"value": [t]}),
    "compressed pickle": lambda t: zlib.compress(pickle.dumps({"value": [t] * 9})),
    "gzip": lambda t: gzip.compress(b"beside " + t.encode()),
    "zip": lambda t: _zip(t.encode()),
    "zip in gzip": lambda t: gzip.compress(_zip(t.encode() * 3)),
    "tar": lambda t: _tar(t.encode()),
    "parquet": lambda t: _table(t.encode(), "parquet"),
    "arrow file": lambda t: _table(t.encode(), "arrow"),
    "arrow stream": lambda t: _table(t.encode(), "stream"),
}


@pytest.mark.parametrize("type_", PLANTED)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_search_finds_what_was_planted(tmp_path: Path, encoding: str, type_: str) -> None:
    (tmp_path / "planted.bin").write_bytes(ENCODINGS[encoding](PLANTED[type_]))
    (tmp_path / "other.bin").write_bytes(b"\x00\x01 nothing of it here \xff")
    found = Scanner.of(PLANTED.items()).tree(tmp_path)
    assert {(leak.where.partition("!")[0], leak.type) for leak in found} == {("planted.bin", type_)}


@pytest.mark.parametrize("cell", [PLANTED["US_SSN"], 219415522, zlib.compress(b"id " * 9 + PLANTED["US_SSN"].encode())])
def test_the_search_reads_database_cells_that_only_the_write_ahead_log_holds(tmp_path: Path, cell: object) -> None:
    (tmp_path / "live").mkdir()
    database = sqlite3.connect(tmp_path / "live" / "a.db")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE t (x)")
    database.execute("INSERT INTO t VALUES (?)", (cell,))
    database.commit()  # not closed: nothing was moved into the main file yet
    found = Scanner.of(PLANTED.items()).tree(tmp_path)
    database.close()
    assert {leak.type for leak in found} == {"US_SSN"}
    assert any("table t" in leak.where for leak in found)


def test_the_search_reads_file_names_and_leaves_out_what_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / f"{PLANTED['EMAIL_ADDRESS']}.txt").touch()
    scanner = Scanner.of(PLANTED.items())
    assert {leak.type for leak in scanner.tree(tmp_path)} == {"EMAIL_ADDRESS"}
    assert scanner.tree(tmp_path, skip=[tmp_path / "kept"]) == []


@pytest.mark.parametrize(
    "harmless",
    [
        b"0.12194155228731",  # the digits of a number happen to stand in a longer one
        b"219-41-5523 and 219-41-552",
        b"luna731@example.org and kaluna731",
        base64.b64encode(b"219-41-5572"),
    ],
)
def test_the_search_does_not_cry_wolf(harmless: bytes) -> None:
    found = list(Scanner.of([("US_SSN", PLANTED["US_SSN"])]).content(harmless, "here"))
    assert found == []


def test_every_person_of_the_demo_is_searched_for(
    demo_records: list[Record], demo_identifiers: set[tuple[str, str]]
) -> None:
    people = {record.person for record in demo_records}
    assert len(people) == RECIPE.requesters + RECIPE.retained + RECIPE.one_off
    assert {type_ for type_, _ in demo_identifiers} == {*PLANTED, "PERSON"}
    assert len(demo_identifiers) == len({(r.type, r.value) for r in demo_records}) + RECIPE.requesters
