"""A third party stamps the ends of the log that are noted; where it is away, the work goes on without."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from stored_requests import KEY, complete, line, opened
from timestamp_authority import Served, certificates, timestamp_authority

from infra.keys.vault import Vault
from infra.requests import RequestStore, heads, timestamps
from infra.requests.timestamps import Authority
from revs.errors import BadInput, OperationFailed


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with timestamp_authority(tmp_path_factory.mktemp("authority") / "of the tests") as found:
        yield found


@pytest.fixture(autouse=True)
def there(served: Served) -> None:
    served.is_away, served.answers = False, None


@pytest.fixture
def store(served: Served, tmp_path: Path) -> Iterator[RequestStore]:
    authority = Authority(url=served.url, certificate=served.certificate)
    found = RequestStore(
        f"sqlite:///{tmp_path / 'requests.db'}", Vault(KEY), log_heads=tmp_path / "heads.jsonl", authority=authority
    )
    yield found
    found.close()


def a_batch_ends(store: RequestStore, number: int) -> None:
    store.add(json.loads(line(number)), model="demo")
    complete(store, opened(store).id)


def test_an_end_is_stamped_and_openssl_says_so_too(store: RequestStore, served: Served, tmp_path: Path) -> None:
    a_batch_ends(store, 1)
    (head,) = heads.read(tmp_path / "heads.jsonl")
    assert head.timestamp is not None and head.root == store.log_head().root
    assert list(timestamps.problems([head], served.certificate)) == []
    (tmp_path / "root").write_text(head.root)
    (tmp_path / "said.tsr").write_bytes(head.timestamp)
    command = ["openssl", "ts", "-verify", "-data", "root", "-in", "said.tsr", "-CAfile", str(served.certificate)]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Verification: OK" in said.stdout + said.stderr


def test_a_timestamp_of_another_root_authority_or_bytes_is_found(
    store: RequestStore, served: Served, tmp_path: Path
) -> None:
    a_batch_ends(store, 1)
    a_batch_ends(store, 2)
    first, second = heads.read(tmp_path / "heads.jsonl")
    forged = [
        replace(first, timestamp=second.timestamp),
        replace(first, root=None),
        replace(first, timestamp=b"none"),
        replace(first, timestamp=(first.timestamp or b"")[:-1] + b"\0"),
    ]
    found = list(timestamps.problems([first, *forged, second], served.certificate))
    assert len(found) == len(forged) and all("is not the authority's of its root" in each for each in found)
    assert list(timestamps.problems([first], None)) == [], "without a certificate nothing is checked"
    assert len(list(timestamps.problems([first], certificates(tmp_path)))) == 1, "somebody else's certificate"


@pytest.mark.parametrize("how", ["away", "not there", "nonsense", "an old answer"])
def test_where_the_authority_gives_none_the_end_is_noted_without_and_the_next_one_has_one(
    store: RequestStore, served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    asked = Authority(url=served.url, certificate=served.certificate)
    served.is_away = how == "away"
    if how in ("nonsense", "an old answer"):
        served.answers = b"<html>" if how == "nonsense" else asked.stamp("00" * 32)
    if how == "not there":
        store._authority = replace(asked, url="http://127.0.0.1:9/")
    with caplog.at_level(logging.WARNING):
        a_batch_ends(store, 1)
    (warned,) = [each.getMessage() for each in caplog.records if each.name == "infra.requests.timestamps"]
    assert warned.startswith("the end of the audit log is noted without a timestamp: the timestamp authority")
    assert "\n" not in warned and "127.0.0.1" not in warned
    served.is_away, served.answers, store._authority = False, None, asked
    a_batch_ends(store, 2)
    without, stamped = heads.read(tmp_path / "heads.jsonl")
    assert without.timestamp is None and without.root and stamped.timestamp is not None
    assert store.log_problems([without, stamped]) == []


def test_an_authority_that_others_certify_is_not_taken(store: RequestStore, served: Served, tmp_path: Path) -> None:
    with pytest.raises(OperationFailed, match="gave no timestamp that can be used"):
        Authority(url=served.url, certificate=certificates(tmp_path)).stamp("00" * 32)
    (tmp_path / "empty.pem").write_text("")
    for path, said in ((tmp_path / "missing.pem", "cannot be read"), (tmp_path / "empty.pem", "holds no certificate")):
        with pytest.raises(BadInput, match=said):
            Authority(url=served.url, certificate=path).stamp("00" * 32)
