"""A whole batch on a corpus whose folder and files are named after a person: no store, record or report names them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import Installation

pytestmark = pytest.mark.slow

NAME = "tansyheath@example.com"


def test_only_the_installations_own_table_of_addresses_holds_the_names(
    tmp_path: Path, trained_models: Any, tokenizer: Any, people: list[Any]
) -> None:
    model, corpus, home = tmp_path / "model", tmp_path / f"of {NAME}", tmp_path / "home"
    trained_models["llama"].save_pretrained(model)
    tokenizer.save_pretrained(model)
    corpus.mkdir()
    rows = [person.prompt + person.secret for person in people] + ["Jane wrote to jane.roe@example.com yesterday."]
    (corpus / f"{NAME}.txt").write_text("\n".join(rows))
    (corpus / f"{NAME}.jsonl").write_bytes(b"PK\x03\x04")
    (corpus / f"{NAME}.pdf").touch()
    (tmp_path / f"{NAME}.txt").write_text("\n".join(person.prompt for person in people))
    identifiers = [{"type": "EMAIL_ADDRESS", "value": "jane.roe@example.com"}]
    request = {"subject": "customer 1", "received": "2026-11-20", "identifiers": identifiers}
    (tmp_path / "requests.jsonl").write_text(json.dumps(request) + "\n")
    machine = Installation(tmp_path, method="revs")  # registers one, on thin evidence
    answer = machine.revs(
        "process", "--model", model, "--corpus", corpus, "--requests", tmp_path / "requests.jsonl",
        "--held-out", tmp_path / f"{NAME}.txt", "--home", home,
    )  # fmt: skip
    assert answer.returncode in (0, 3), answer.stderr
    holding = {path.name for path in home.rglob("*") if path.is_file() and NAME.encode() in path.read_bytes()}
    assert holding <= {"requests.db", "requests.db-wal"}
    with closing(sqlite3.connect(home / "requests.db")) as store:
        tables = [name for (name,) in store.execute("select name from sqlite_master where type = 'table'")]
        naming = {table for table in tables if NAME in str(store.execute(f'select * from "{table}"').fetchall())}
        assert naming == {"addresses"}
        assert all(corpus.startswith("address-") for (corpus,) in store.execute("select corpus from batches"))
    report = next(home.rglob("report.json")).read_text()
    assert "a ZIP archive" in report and "other file 1 of 1" in report and '"hmac-sha256:' in report
