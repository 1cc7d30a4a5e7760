"""Known-identifier search from Parquet to offsets: how fast, in how much memory, and whether all planted is found.

A corpus with planted identifiers (planted.py) is written as Parquet; for each number of identifiers a process of its
own builds the search and reads the corpus once, on one core. Speed is in megabytes of text per second; the time of
reading and decoding Parquet is part of it, and also given alone.

    python tests/benchmarks/search.py --megabytes 50 --identifiers 10000 100000 1000000 --out bench-out/search.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from planted import corpus, wanted

REQUEST_IDENTIFIERS = 4
"""How many identifiers one request names."""
ROW_GROUP = 5_000


def write(path: Path, *, characters: int, sought: Sequence[int], seed: int) -> dict[str, Any]:
    """Write the corpus, and beside it what is planted where: row, start, end and person; both below `path`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = bytes_ = 0
    places: list[tuple[int, int, int, int]] = []
    planted = corpus(characters, sought=sought, seed=seed)
    with pq.ParquetWriter(path / "corpus.parquet", pa.schema([("text", pa.string())])) as writer:
        while group := list(islice(planted, ROW_GROUP)):
            writer.write_table(pa.table({"text": [row.text for row in group]}))
            bytes_ += sum(len(row.text.encode()) for row in group)
            places += [(rows + n, s, e, who) for n, row in enumerate(group) for who, s, e in row.places]
            rows += len(group)
    (path / "places.json").write_text(json.dumps(places))
    return {"rows": rows, "bytes": bytes_, "planted": len(places)}


def texts(path: Path) -> Iterator[list[str]]:
    """The rows of the corpus, a batch at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path / "corpus.parquet") as file:
        for batch in file.iter_batches(batch_size=ROW_GROUP, columns=["text"], use_threads=False):
            yield batch.column(0).to_pylist()


def measure(path: Path, count: int) -> dict[str, Any]:
    """Seconds, peak memory and findings of one search for `count` identifiers, in this process."""
    from infra.search import Search

    started = time.process_time()
    people = {
        f"r{first}": [wanted(number) for number in range(first, min(first + REQUEST_IDENTIFIERS, count))]
        for first in range(0, count, REQUEST_IDENTIFIERS)
    }
    made, before = time.process_time() - started, _memory("VmRSS")
    started = time.process_time()
    search = Search(people)
    build, after = time.process_time() - started, _memory("VmRSS")
    started = time.process_time()
    size = sum(len(text.encode()) for batch in texts(path) for text in batch)
    sized = time.process_time() - started
    started = time.process_time()
    for _ in texts(path):
        pass
    read = time.process_time() - started
    started, wall = time.process_time(), time.perf_counter()
    found = set()
    row = 0
    for batch in texts(path):
        for number, place in search.in_texts(batch):
            found.add((row + number, place.start, place.end, int(place.request_id[1:]) + place.identifier))
        row += len(batch)
    seconds, wall = time.process_time() - started, time.perf_counter() - wall
    planted = {tuple(place) for place in json.loads((path / "places.json").read_text())}
    expected = {place for place in planted if place[3] < count}
    return {
        "identifiers": count,
        "megabytes_per_second": size / 1e6 / seconds,
        "megabytes_per_wall_second": size / 1e6 / wall,
        "seconds_of_reading_alone": read,
        "seconds": seconds,
        "build_seconds": build,
        "peak_megabytes": _memory("VmHWM"),
        "megabytes_before_build": before,
        "megabytes_of_the_search": after - before,
        "planted": len(expected),
        "missed": len(expected - found),
        "wrong": len(found - expected),
        "_": [made, sized],
    }


def _memory(name: str) -> float:
    """Megabytes of this process: VmRSS now, VmHWM at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    p = Path(sys.argv[2])
    if sys.argv[1] == "write":
        print(write(p, characters=int(float(sys.argv[3]) * 1e6), sought=(10_000, 100_000), seed=0))
    else:
        print(json.dumps(measure(p, int(sys.argv[3])), indent=1))
