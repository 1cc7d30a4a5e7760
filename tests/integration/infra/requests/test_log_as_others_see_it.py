"""The audit log as others may see it: its lines, the root over them, and what is checked with neither store nor key."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import store_lives
from sqlalchemy import create_engine, text
from stored_requests import KEY, complete, line, opened

from infra.keys.vault import Vault
from infra.requests import RequestStore, heads, published
from infra.requests.chain import Head
from infra.requests.tokens import Tokens
from revs.errors import BadInput


@pytest.fixture
def store(url: str) -> Iterator[RequestStore]:
    found = RequestStore(url, Vault(KEY))
    for number in range(11):
        found.record(f"note {number}", detail={"number": number, "share": 0.1 + number / 7, "name": "Zoë"})
    yield found
    found.close()


def root_of(lines: list[str]) -> str:
    """As an auditor computes it, from an export alone."""

    def over(leaves: list[bytes]) -> bytes:
        if len(leaves) == 1:
            return leaves[0]
        half = 1
        while half * 2 < len(leaves):
            half *= 2
        return sha256(b"\x01" + over(leaves[:half]) + over(leaves[half:])).digest()

    return over([sha256(b"\x00" + line.encode("ascii")).digest() for line in lines]).hex()


def test_the_root_is_computed_from_an_export_alone(store: RequestStore) -> None:
    lines = store.log_lines()
    head = store.log_head()
    assert (head.count, head.root) == (11, root_of(lines))
    assert [json.loads(line)["id"] for line in lines] == list(range(1, 12))
    assert json.loads(lines[-1])["mac"] == head.mac
    assert [json.dumps(json.loads(each), sort_keys=True, separators=(",", ":")) for each in lines] == lines


def test_the_program_of_the_page_computes_the_root_from_an_export(store: RequestStore, tmp_path: Path) -> None:
    page = (Path(__file__).parents[4] / "docs" / "requests.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "log.jsonl").write_text("".join(f"{each}\n" for each in store.log_lines()), encoding="ascii")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["11", store.log_head().root]


def test_a_line_has_all_that_an_event_says_and_its_mac(store: RequestStore) -> None:
    said = [json.loads(each) for each in store.log_lines()]
    assert said[3]["detail"] == {"number": 3, "share": 0.1 + 3 / 7, "name": "Zoë"}
    assert {frozenset(each) for each in said} == {
        frozenset({"at", "batch_id", "detail", "event", "id", "mac", "request_id"})
    }


def test_an_export_holds_no_secret_and_no_identifier(url: str, tmp_path: Path) -> None:
    store = RequestStore(url, Vault(KEY))
    life = store_lives.Life(store)
    life.live()
    token, secret = Tokens(store).add(role="auditor", name="the auditor", by="Ana")
    exported = "\n".join(store.log_lines())
    engine = create_engine(url)
    with engine.connect() as connection:
        hashed = connection.scalar(text("SELECT hash FROM service_tokens"))
    engine.dispose()
    assert token.id in exported
    for number in range(1, len(store_lives.PERSON) + 1):
        for value in (f"customer {number}", f"219-41-{number:04d}", f"Zz{number}@example.com"):
            assert value not in exported
    assert secret not in exported and str(hashed) not in exported
    store.close()


def test_every_event_is_proved_against_every_end_that_has_it(store: RequestStore) -> None:
    lines = store.log_lines()
    for end in range(1, 12):
        root = root_of(lines[:end])
        for event in range(1, end + 1):
            proof = store.prove(event, upto=end)
            assert published.holds(proof) and (proof["root"], proof["event"]) == (root, lines[event - 1])
            assert not published.holds(proof | {"event": lines[event % 11]})
            assert not published.holds(proof | {"root": "00" * 32})
        proof = store.prove_beginning(end)
        assert published.holds(proof) and (proof["first_root"], proof["root"]) == (root, root_of(lines))
        assert not published.holds(proof | {"first_root": "00" * 32})
    with pytest.raises(BadInput, match="there is no event 12 in the log of 11 events"):
        store.prove(12)
    with pytest.raises(BadInput, match="there is no event 9 in the log of 8 events"):
        store.prove(9, upto=8)
    with pytest.raises(BadInput, match="did not end at event 12"):
        store.prove_beginning(12)


@pytest.mark.parametrize(
    "proof",
    [{}, {"proves": "much"}, {"proves": "inclusion", "event": 5, "index": 0, "size": 1, "root": "", "path": []}],
)
def test_what_is_no_proof_is_said_so(proof: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="the file is no proof"):
        published.holds({"path": [], "root": "00", "size": 1} | proof)


def test_a_log_that_somebody_with_the_key_wrote_anew_has_another_root_than_was_noted(
    store: RequestStore, url: str
) -> None:
    noted = store.log_head()
    store.record("more")
    assert store.log_problems([noted]) == []
    same_mac = Head(count=noted.count, mac=noted.mac, root="00" * 32)
    (problem,) = store.log_problems([same_mac])
    assert problem == "the log up to event 11 has another root than when its end was noted elsewhere"
    early = Head(count=4, mac=json.loads(store.log_lines()[3])["mac"], root=root_of(store.log_lines()[:4]))
    assert store.log_problems([noted, early]) == []


def test_the_file_of_ends_keeps_the_root_and_older_lines_have_none(url: str, tmp_path: Path) -> None:
    path = tmp_path / "heads.jsonl"
    path.write_text(json.dumps({"at": "2026-11-30T00:00:00+00:00", "count": 1, "mac": "ab" * 32}) + "\n")
    store = RequestStore(url, Vault(KEY), log_heads=path)
    store.add(json.loads(line(1)), model="demo")
    complete(store, opened(store).id)
    old, new = heads.read(path)
    assert old.root is None and new == store.log_head() and new.root == root_of(store.log_lines())
    store.close()
