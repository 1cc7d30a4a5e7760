"""After a whole life no identifier is in any byte of the store or any line of the log, however it may be written."""

from __future__ import annotations

import base64
import codecs
import json
import logging
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import store_lives
from stored_requests import line

from infra.requests import RequestStore
from revs.errors import RevsError


def values() -> set[str]:
    """What the requests of the life hold of their people: subjects, identifiers, and their telling parts."""
    found = {f"219-41-{number:04d}"[4:] for number in store_lives.PERSON.values()}
    for number in store_lives.PERSON.values():
        demand = json.loads(line(number))
        found |= {demand["subject"], *(each["value"] for each in demand["identifiers"])}
        found |= {each["value"].replace("-", "") for each in demand["identifiers"]}
    return found


def writings(value: str) -> dict[str, bytes]:
    """Every way in which the value may stand in a file, in lower case; base64 at each of its three alignments."""
    found = {}
    for how, form in {"as it is": value, "reversed": value[::-1], "in capitals": value.upper()}.items():
        raw = form.encode()
        found |= {
            how: raw,
            f"{how}, hexadecimal": raw.hex().encode(),
            f"{how}, URL": quote(form, safe="").encode(),
            f"{how}, form": quote_plus(form).encode(),
            f"{how}, each byte escaped": "".join(f"%{byte:02x}" for byte in raw).encode(),
            f"{how}, UTF-16 little": form.encode("utf-16-le"),
            f"{how}, UTF-16 big": form.encode("utf-16-be"),
            f"{how}, rot13": codecs.encode(form, "rot13").encode(),
        }
        for shift in range(3):
            start, end = -(-shift * 8 // 6), len(raw) * 8 // 6
            inner = base64.b64encode(b"\0" * shift + raw)[start + (shift > 0) : shift + end - 1]
            found |= {
                f"{how}, base64 at {shift}": inner,
                f"{how}, base64 at {shift}, for URLs": inner.translate(bytes.maketrans(b"+/", b"-_")),
            }
    return {how: written for how, written in found.items() if len(written) >= 5}


def found_in(held: bytes) -> list[str]:
    low = held.lower()
    return [
        f"{value}: {how}" for value in sorted(values()) for how, written in writings(value).items()
        if (written if "base64" in how else written.lower()) in (held if "base64" in how else low)
    ]  # fmt: skip


PLANTED = ["as it is", "reversed, hexadecimal", "as it is, UTF-16 big", "as it is, URL"]


@pytest.mark.parametrize("how", [*PLANTED, *(f"as it is, base64 at {shift}" for shift in range(3))])
def test_the_search_finds_what_is_there(how: str) -> None:
    value = "Zz3@example.com"
    shift = int(how[-1]) if "base64" in how else 0
    planted = base64.b64encode(b"?" * shift + value.encode() + b"?!") if "base64" in how else writings(value)[how]
    assert f"{value}: {how}" in found_in(b"\0\1 some bytes " + planted + b" and more")


def every_byte(folder: Path) -> bytes:
    return b"\n".join(str(path).encode() + path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def refused(store: RequestStore) -> list[str]:
    """What people are told who ask for what cannot be, in each case with personal data in the request."""
    said = []
    for demand in (
        json.loads(line(3, received="219-41-0003")),
        json.loads(line(3, identifiers=[{"type": "Zz3@example.com", "value": ""}])),
        json.loads(line(3, regime="Zz3@example.com")),
        json.loads(line(3)) | {"Zz3@example.com": 1},
    ):
        intake = store.add(demand, model="demo")
        said += [reason for _, reason in intake.rejected]
    for call in (
        lambda: store.add({"subject": {1, 2}, "value": "Zz3@example.com"}, model="demo"),
        lambda: store.put_on_hold(store.list()[0].id, ground="legal_hold", by=" "),
    ):
        with pytest.raises(RevsError) as caught:
            call()
        said.append(str(caught.value))
    return said


def test_after_a_whole_life_no_byte_and_no_line_shows_an_identifier(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("sqlalchemy.engine", "sqlalchemy.pool", "sqlalchemy.orm"):
        caplog.set_level(logging.DEBUG, logger=name)
    (home := tmp_path / "home").mkdir()
    url = f"sqlite:///{home / 'requests.db'}"
    store = RequestStore(url, store_lives.Diary(tmp_path / "diary"), keep_digests=True, log_heads=home / "heads.jsonl")
    reader = store_lives.opened(url)
    with reader._database._reading.connect():  # keeps the write-ahead log in place, which is searched too
        said = refused(store)
    life = store_lives.Life(store)
    life.live()
    assert len(caplog.records) > 1000, "the log has to have been on"
    log = "\n".join(f"{record.getMessage()} {record.args!r} {record.exc_text}" for record in caplog.records)
    shown = repr((store.list(), store.batches(), store.events(), store.outcomes(), store.timeliness(), store))
    held = every_byte(home)
    for request_id in life.ids.values():
        assert request_id.encode() in held, "the search looks in the wrong place"
    for what, text in {
        "files": held,
        "log": log.encode(),
        "records": shown.encode(),
        "errors": str(said).encode(),
    }.items():
        assert found_in(text) == [], what
