"""Request files as nobody should send them: each ends in one line, or in rejected rows that quote nothing.

Hypothesis makes them, the same every time: wrong types, huge and deep values, control characters, formulas, paths,
SQL, templates, packed files, marks of other encodings, NULs. The parser reads most of them, the real store some.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
import textwrap
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_requests import open_store

from infra.requests import RequestStore
from infra.requests.clock import Clock
from infra.requests.intake import parse_requests
from infra.requests.records import Entry
from revs.errors import BadInput

MARK = "Zorblatt"  # stands in every value that is wrong, and in no reason
GOOD: dict[str, Any] = {
    "subject": "customer 17",
    "received": "2026-11-02",
    "identifiers": [{"type": "US_SSN", "value": "219-41-5522"}],
}
COLUMNS = ("subject", "received", "due", "model", "type", "value")
NASTY = (
    f'=HYPERLINK("https://{MARK}.example.com")',
    f"=cmd|'/c calc'!{MARK}",
    f"+{MARK}",
    f"@SUM({MARK})",
    f"../../../etc/{MARK}",
    f"..\\..\\{MARK}\0.jsonl",
    f"file:///{MARK}",
    f"{MARK}' OR '1'='1",
    f'{MARK}"; DROP TABLE requests; --',
    f"{{{{ {MARK}.__class__ }}}}",
    f"${{jndi:ldap://{MARK}.example.com}}",
    f"<!ENTITY x SYSTEM '{MARK}'>",
    f"{MARK}\x00\x07\x1b[2J",
    f"{MARK}\r\nSubject: x",
    f"\ufeff{MARK}\u202e\u2028",
    f"{MARK}\ud800",
    MARK * 3000,
    "%s%n" + MARK,
)
HUGE_NUMBER = f"{MARK}, written as a number that is longer than Python converts"
nasty = st.sampled_from(NASTY) | st.text(max_size=30).map(lambda text: text + MARK)


def deep(levels: int) -> str:
    return "[" * levels + f'"{MARK}"' + "]" * levels


odd = st.one_of(
    nasty,
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(HUGE_NUMBER),
    st.floats(),
    st.lists(nasty, max_size=3),
    st.dictionaries(nasty, nasty, max_size=3),
)


@st.composite
def bad_objects(draw: st.DrawFn) -> str:
    """A JSON text that is no request: one of its fields cannot be what it is."""
    identifier = GOOD["identifiers"][0]
    bad = draw(
        st.one_of(
            odd.map(lambda value: GOOD | {"received": value}),
            odd.filter(lambda value: value is not None).map(lambda value: GOOD | {"due": value}),
            odd.map(lambda value: GOOD | {"identifiers": value}),
            odd.map(lambda value: GOOD | {"identifiers": [identifier, value]}),
            odd.map(lambda value: GOOD | {"identifiers": [identifier | {"type": value}]}),
            nasty.map(lambda value: GOOD | {"identifiers": [identifier | {"value": value}]}),
            odd.filter(lambda value: value is not None).map(lambda value: GOOD | {"regime": value}),
            st.sampled_from(NASTY).map(lambda value: GOOD | {"model": value}),
            odd.filter(lambda value: not isinstance(value, str)).map(lambda value: GOOD | {"subject": value}),
            nasty.map(lambda name: GOOD | {name: MARK}),
            st.just(GOOD | {"identifiers": [identifier] * 1001, "due": "2026-11-20"}),
            st.just(GOOD | {"model": ["demo", MARK] * 60}),
            odd.filter(lambda value: not isinstance(value, dict)),
        )
    )
    text = json.dumps(bad, ensure_ascii=draw(st.booleans())).replace(f'"{HUGE_NUMBER}"', "9" * 6000)
    return draw(
        st.sampled_from(
            [
                text,
                text[: len(text) // 2],
                text.replace('"subject"', '"subject": 1, "subject"', 1) if isinstance(bad, dict) else text,
                text.replace("2026-11-02", deep(10_000)) + MARK,
                deep(10_000),
                '{"a":' * 10_000 + f'"{MARK}"',
            ]
        )
    )


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@st.composite
def json_lines(draw: st.DrawFn) -> tuple[str, bytes, int]:
    """Name and bytes of a file of bad lines, and how many good ones stand between them."""
    bad = [each.replace("\n", " ").replace("\r", " ") for each in draw(st.lists(bad_objects(), min_size=1, max_size=3))]
    good = draw(st.integers(min_value=0, max_value=2))
    lines = draw(st.permutations([*bad, *[json.dumps(GOOD | {"subject": f"good {n}"}) for n in range(good)]]))
    data = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + as_bytes("\n".join(lines))
    return draw(st.sampled_from(["r.jsonl", "r.ndjson", "-", "requests"])), data, good


@st.composite
def json_documents(draw: st.DrawFn) -> tuple[str, bytes, int]:
    bad = draw(st.lists(bad_objects(), min_size=1, max_size=3))
    return "r.json", as_bytes(draw(st.sampled_from(["[{}]", "[{}", "{}", "[{},]"])).format(",\n".join(bad))), 0


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, bytes, int]:
    """A CSV file of one bad row, or with a bad header."""
    row = dict(zip(COLUMNS, ("customer 17", "2026-11-02", "", "", "US_SSN", "219-41-5522"), strict=True))
    field = draw(st.sampled_from(["received", "due", "model", "type", "value", "subject"]))
    wrong = draw(nasty if field != "model" else st.sampled_from(NASTY))  # any word may be a model's name
    row[field] = wrong if field != "subject" else "-"
    out = io.StringIO()
    header = [*COLUMNS[:-1], draw(st.sampled_from([COLUMNS[-1], COLUMNS[-1], MARK, "subject"]))]
    csv.writer(out, delimiter=draw(st.sampled_from([",", ";", "\t"]))).writerows([header, row.values()])
    text = out.getvalue()
    text = draw(st.sampled_from([text, text, text.replace('"', ""), text[:-4] + '"', text + f"{MARK},,,\n"]))
    return draw(st.sampled_from(["r.csv", "r.tsv"])), as_bytes(text), 0


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{MARK}.jsonl", data)
    return out.getvalue()


BOMB = zipped(b"\0" * 20_000_000)


@st.composite
def no_text(draw: st.DrawFn) -> tuple[str, bytes, int]:
    """Packed files, other encodings, bytes that are nothing."""
    text = json.dumps(GOOD | {"subject": MARK, "due": MARK})
    data = draw(
        st.one_of(
            st.sampled_from(
                [BOMB, gzip.compress(b"0" * 10_000_000), zipped(text.encode()), text.encode("utf-16"), b"\0" * 5000]
            ),
            st.sampled_from(["utf-16-le", "utf-16-be", "utf-32"]).map(text.encode),
            st.binary(min_size=1, max_size=300).map(lambda data: data + MARK.encode()),
            st.just(b"\xef\xbb\xbf" * 3 + text.encode()),
            st.just(text.encode().replace(b"customer", b"\0\0")),
            st.just(b"\xed\xa0\x80" + text.encode()),
            st.just(b'[\n"\xed\xa0\x80"]'),
        )
    )
    return draw(st.sampled_from(["r.jsonl", "r.json", "r.csv", "r.zip", "-"])), data, 0


files = st.one_of(json_lines(), json_documents(), tables(), no_text())
thorough = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
MOST_MEMORY = 128 * 1024 * 1024


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


def in_one_line(said: str | None) -> None:
    assert said and "\n" not in said and MARK not in said and "\x1b" not in said and len(said) < 400


def is_refused(read: Callable[[], list[Entry]], good: int) -> None:
    """The file is refused in one line, or its bad requests are, and only the good ones are taken."""
    try:
        entries = read()
    except BadInput as error:
        in_one_line(str(error))
        return
    assert sum(entry.demand is not None for entry in entries) <= good, [entry.raw[:300] for entry in entries]
    for entry in entries:
        if entry.demand is None:
            assert entry.reason is not None
            in_one_line(str(entry.reason))


def examine(file: tuple[str, bytes, int]) -> None:
    name, data, good = file
    is_refused(lambda: parse_requests(data, name=name, model="demo", clock=Clock()), good)


@settings(thorough, max_examples=200)
@given(files)
def test_bad_request_files_end_in_one_line_or_in_rejected_rows(file: tuple[str, bytes, int]) -> None:
    with little_memory():
        examine(file)


@pytest.mark.long
@settings(thorough, max_examples=3000)
@given(files)
def test_thousands_of_bad_request_files_end_in_one_line_or_in_rejected_rows(file: tuple[str, bytes, int]) -> None:
    examine(file)


def hand_in(store: RequestStore, folder: Path, file: tuple[str, bytes, int]) -> None:
    name, data, good = file
    (path := folder / f"r{Path(name).suffix}").write_bytes(data)
    before = {view.id for view in store.list()}
    try:
        intake = store.add_file(path, model="demo", models=["demo"])
    except BadInput as error:
        in_one_line(str(error).replace(str(path), ""))
        assert {view.id for view in store.list()} == before
        return
    assert len(intake.accepted) + len(intake.duplicates) <= good
    for view in store.list():
        assert MARK not in str(view.reason)


@settings(thorough, max_examples=30)
@given(file=files)
def test_the_store_takes_nothing_bad_and_names_no_value(tmp_path: Path, file: tuple[str, bytes, int]) -> None:
    store = open_store(tmp_path)
    hand_in(store, tmp_path, file)
    store.close()


@pytest.mark.long
@settings(thorough, max_examples=400)
@given(file=files)
def test_the_store_takes_none_of_hundreds_of_bad_files(tmp_path: Path, file: tuple[str, bytes, int]) -> None:
    store = open_store(tmp_path)
    hand_in(store, tmp_path, file)
    store.close()


HUGE = {
    "an endless file": "Path('/dev/zero')",
    "an array of many small items": "write(b'[' + b'{},' * 5_000_000 + b'{}]')",
    "many short lines": "write(b'x\\n' * 8_000_000)",
    "half a million short lines": "write(b'x\\n' * 499_000)",
    "a line of sixteen million letters": "write(b'x' * 16_000_000)",
    "one item of many small ones": "write(b'[[' + b'[],' * 5_000_000 + b'[]]]')",
    "five million brackets": "write(b'[' * 5_000_000)",
    "a table of many rows": "write(HEADER + b''.join(b'%d,2,c,d\\n' % n for n in range(450_000)), '.csv')",
    "objects over many lines": "write(b'{\\n\"a\":1,\\n\"b\":2}\\n' * 100_000)",
    "a request of many identifiers": "write(BEGUN + b'{},' * 5_000_000 + b'{}]}')",
}  # fmt: skip
SCRIPT = """
import resource, sys
from pathlib import Path
from infra.requests.clock import Clock
from infra.requests.intake import parse_requests, read_source
from revs.errors import BadInput

HEADER = b"subject,received,type,value\\n"
BEGUN = b'{"subject": "a", "received": "2026-11-02", "identifiers": ['

def write(data, suffix=".json"):
    path = Path(sys.argv[1]) / f"huge{suffix}"
    path.write_bytes(data)
    return path

path = eval(sys.argv[2])
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 768 * 1024 * 1024,) * 2)
try:
    entries = parse_requests(read_source(path), name=str(path), model="demo", clock=Clock())
except BadInput as error:
    print(error)
else:
    assert not any(entry.demand for entry in entries)
    print(len(entries), "rejected")
"""


@pytest.mark.parametrize("make", HUGE.values(), ids=HUGE.keys())
def test_a_file_that_is_too_large_to_be_one_is_refused_in_bounded_memory_and_time(make: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path), make]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("\n") == 1
