"""Known-identifier search from Parquet to offsets: how fast, in how much memory, and whether all planted is found.

A corpus with planted identifiers (planted.py) is written as Parquet; for each number of identifiers a process of its
own builds the search and reads the corpus once, on one core. Speed is in megabytes of text per second; the time of
reading and decoding Parquet is part of it, and also given alone.

    python tests/benchmarks/search.py --megabytes 50 --identifiers 100000 1000000 --out docs/benchmarks
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from planted import corpus, wanted

REQUEST_IDENTIFIERS = 4
"""How many identifiers one request names."""
ROW_GROUP = 5_000


def write(folder: Path, characters: int, *, sought: Sequence[int], seed: int) -> dict[str, Any]:
    """Write the corpus, and beside it what is planted where: row, start, end and person; both in `folder`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = bytes_ = 0
    places: list[tuple[int, int, int, int]] = []
    planted = corpus(characters, sought=sought, seed=seed)
    with pq.ParquetWriter(folder / "corpus.parquet", pa.schema([("text", pa.string())])) as writer:
        while group := list(islice(planted, ROW_GROUP)):
            writer.write_table(pa.table({"text": [row.text for row in group]}))
            bytes_ += sum(len(row.text.encode()) for row in group)
            places += [(rows + n, s, e, who) for n, row in enumerate(group) for who, s, e in row.places]
            rows += len(group)
    (folder / "places.json").write_text(json.dumps(places))
    made = {"rows": rows, "bytes": bytes_, "planted": len(places)}
    (folder / "corpus.json").write_text(json.dumps(made))
    return made


def arrays(folder: Path) -> Iterator[Any]:
    """The rows of the corpus, a pyarrow array of strings at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(folder / "corpus.parquet") as file:
        for batch in file.iter_batches(batch_size=ROW_GROUP, columns=["text"], use_threads=False):
            yield batch.column(0)


def measure(folder: Path, count: int) -> dict[str, Any]:
    """Seconds, peak memory and findings of one search for `count` identifiers, in this process."""
    from infra.search import Search

    people = {
        f"r{first}": [
            wanted(number, place=number - first) for number in range(first, min(first + REQUEST_IDENTIFIERS, count))
        ]
        for first in range(0, count, REQUEST_IDENTIFIERS)
    }
    before = _memory("VmRSS")
    search, build = timed(lambda: Search(people))
    after = _memory("VmRSS")
    _, reading = timed(lambda: sum(len(batch) for batch in arrays(folder)))
    wall = time.perf_counter()
    found, seconds = timed(lambda: found_in(folder, search))
    wall = time.perf_counter() - wall
    expected = {place for row in json.loads((folder / "places.json").read_text()) if (place := tuple(row))[3] < count}
    megabytes = json.loads((folder / "corpus.json").read_text())["bytes"] / 1e6
    return {
        "identifiers": count,
        "megabytes_per_second": megabytes / seconds,
        "megabytes_per_wall_second": megabytes / wall,
        "seconds": seconds,
        "seconds_of_reading_alone": reading,
        "build_seconds": build,
        "peak_megabytes": _memory("VmHWM"),
        "megabytes_of_the_identifiers_and_python": before,
        "megabytes_of_the_search": after - before,
        "planted": len(expected),
        "missed": len(expected - found),
        "wrong": len(found - expected),
    }


def found_in(folder: Path, search: Any) -> set[tuple[int, int, int, int]]:
    """Row, start, end and person of all that the search finds."""
    found = set()
    row = 0
    for array in arrays(folder):
        for number, place in search.in_array(array):
            found.add((row + number, place.start, place.end, int(place.request_id[1:]) + place.identifier))
        row += len(array)
    return found


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and the processor seconds that it took."""
    started = time.process_time()
    return work(), time.process_time() - started


def _memory(name: str) -> float:
    """Megabytes of this process: VmRSS now, VmHWM at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(f"{name}:"))


def in_child(*arguments: str) -> dict[str, Any]:
    """What this script prints in a process of its own: its memory is nobody else's."""
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def compare(megabytes: float, counts: Sequence[int], seed: int) -> dict[str, Any]:
    """The corpus, and one measurement for each number of identifiers."""
    with tempfile.TemporaryDirectory() as folder:
        size = ("--megabytes", str(megabytes), "--seed", str(seed), "--identifiers", *map(str, counts))
        made = in_child("--write", folder, *size)
        runs = [in_child("--measure", folder, "--identifiers", str(count)) for count in counts]
    versions = {name: version(name) for name in ("revs", "ahocorasick-rs", "numpy", "pyarrow")}
    return {"corpus": made, "seed": seed, "runs": runs, "versions": versions, **_said(megabytes, counts, seed)}


def _said(megabytes: float, counts: Sequence[int], seed: int) -> dict[str, str]:
    """What was asked, when and of which machine."""
    sought = " ".join(map(str, counts))
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = models[0].partition(":")[2].strip() if models else platform.machine()
    return {
        "command": f"python tests/benchmarks/search.py --megabytes {megabytes:g} --identifiers {sought} --seed {seed}",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{processor}, {platform.machine()}, Python {platform.python_version()}",
    }


def markdown(result: dict[str, Any]) -> str:
    """The result as a page."""
    corpus_ = result["corpus"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = [
        "# Known-identifier search, measured",
        "",
        f"`{result['command']}`, {result['date']}; {versions}; {result['machine']}, one core.",
        "",
        f"{corpus_['bytes'] / 1e6:.0f} MB of text in {corpus_['rows']} rows, seed {result['seed']}, from Parquet to "
        "offsets in one process on one core.",
        "",
        "| identifiers | MB/s (processor time) | MB/s (wall) | build, s | peak, MB | planted | missed | wrong |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for run in result["runs"]:
        speeds = f"{run['megabytes_per_second']:.1f} | {run['megabytes_per_wall_second']:.1f}"
        sizes = f"{run['build_seconds']:.1f} | {run['peak_megabytes']:.0f}"
        places = f"{run['planted']} | {run['missed']} | {run['wrong']}"
        lines.append(f"| {run['identifiers']:,} | {speeds} | {sizes} | {places} |")
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description="Speed, memory and completeness of known-identifier search.")
    parser.add_argument("--megabytes", type=float, default=50.0)
    parser.add_argument("--identifiers", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("bench-out"), help="the folder of search.json and search.md")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.write:
        result = write(asked.write, int(asked.megabytes * 1e6), sought=asked.identifiers, seed=asked.seed)
        print(json.dumps(result))
    elif asked.measure:
        result = measure(asked.measure, asked.identifiers[0])
        print(json.dumps(result))
    else:
        result = compare(asked.megabytes, asked.identifiers, asked.seed)
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / "search.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
        (asked.out / "search.md").write_text(markdown(result), encoding="utf-8")
        print(markdown(result))
    return result


if __name__ == "__main__":
    main()
