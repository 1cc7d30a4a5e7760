"""Requests as their files say them, a store to put them into, and processes that share it; no tests here."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from infra.keys.vault import Vault
from infra.requests import IdentifierOutcome, Reason, RequestStore

KEY = bytes(range(32))
BECAUSE = Reason("given_up", {"batch": "B-20261102-000000"})
PARTS = 3  # of the payload of a `line`: who asks, and its two identifiers


def line(number: int, **changes: Any) -> str:
    request = {
        "subject": f"customer {number}",
        "received": "2026-11-02",
        "identifiers": [
            {"type": "US_SSN", "value": f"219-41-{number:04d}"},
            {"type": "EMAIL_ADDRESS", "value": f"Zz{number}@example.com"},
        ],
    }
    return json.dumps(request | changes)


def open_store(folder: Path) -> RequestStore:
    return RequestStore(f"sqlite:///{folder / 'requests.db'}", Vault(KEY))


def opened(store: RequestStore, model: str = "demo") -> Any:
    batch = store.open_batch(model=model, corpus="corpus/", source="models:/demo/1")
    assert batch is not None
    return batch


def settled(store: RequestStore, batch_id: str) -> list[IdentifierOutcome]:
    """An outcome that completes, for every identifier of the batch that is still processing."""
    return [
        IdentifierOutcome(request_id=request_id, number=identifier.number, type=identifier.type, kind="edited")
        for request_id, identifiers in store.identifiers(batch_id).items()
        for identifier in identifiers
    ]


def complete(store: RequestStore, batch_id: str, **outcome: Any) -> None:
    store.close_batch(batch_id, status="completed", outcome=outcome, outcomes=settled(store, batch_id))


def statuses(store: RequestStore) -> list[str]:
    return [request.status for request in sorted(store.list(), key=lambda request: request.submitted_at)]


def stored_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("requests.db*")))


def payloads(folder: Path) -> list[tuple[bytes, bytes]]:
    connection = sqlite3.connect(folder / "requests.db")
    try:
        return connection.execute("SELECT wrapped_key, ciphertext FROM payloads").fetchall()
    finally:
        connection.close()


PRELUDE = """
import json, os, resource, signal, sys
from pathlib import Path
from infra.requests import RequestStore
from infra.keys.vault import Vault
from revs.errors import OperationFailed
folder = Path(sys.argv[1])
def open_store():
    return RequestStore(f"sqlite:///{folder / 'requests.db'}", Vault(bytes(range(32))))
def answer(value):
    print(json.dumps(value), flush=True)
answer("ready")
sys.stdin.readline()
"""


def processes(script: str, folder: Path, number: int = 1, code: int = 0) -> list[Any]:
    """Run `script` in so many processes at once, all started before the first goes on; return their answers."""
    command = [sys.executable, "-c", PRELUDE + script, str(folder)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(number)
    ]
    for process in started:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == "ready"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in started]
    assert [process.returncode for process in started] == [code] * number
    return [json.loads(text) for text in said]
