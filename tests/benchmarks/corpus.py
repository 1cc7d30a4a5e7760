"""How fast a corpus is read, and whether the memory it takes grows with it.

Each corpus is written once and read in processes of its own, one for each measurement: all shards with the surveys
(what a scan pays beside its own work), the same with every row as a string, and with the whole survey, which also
hashes the files. Speed is in megabytes of text per second of processor time; the peak is the resident memory of the
process, which holds the libraries too ("start" is what it was before anything was read).

    python tests/benchmarks/corpus.py --megabytes 50 500 --out bench-out
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from conditions import conditions, heading

KINDS = ("txt", "jsonl", "parquet")
READINGS = ("batches", "strings", "survey")
MEGABYTE = 1_000_000
ROOT = Path(__file__).parents[2]
_ROWS_AT_ONCE = 10_000


def rows(megabytes: int, seed: int) -> Iterator[str]:
    """Rows of some hundred characters, a few of them not ASCII, up to `megabytes` of UTF-8."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(4000)] + ["naïve"]
    pool = [" ".join(rng.choices(words, k=rng.randint(10, 90))) for _ in range(5000)]
    left = megabytes * MEGABYTE
    for number in range(left):
        row = f"{number} {pool[rng.randrange(len(pool))]}"
        left -= len(row.encode())
        yield row
        if left <= 0:
            return


def write(path: Path, megabytes: int, seed: int) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = rows(megabytes, seed)
    if path.suffix == ".parquet":
        schema = pa.schema([("text", pa.string())])
        with pq.ParquetWriter(path, schema) as writer:
            while some := list(islice(source, 10 * _ROWS_AT_ONCE)):
                writer.write_table(pa.table({"text": some}, schema=schema))
        return path
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(source):
            file.write((row if path.suffix == ".txt" else json.dumps({"id": number, "text": row})) + "\n")
    return path


READ = """
import json, re, sys, time
from infra.corpus import Corpus

def peak():
    with open("/proc/self/status") as status:
        return int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1]) / 1024

path, reading = sys.argv[1:]
import pyarrow, pyarrow.parquet, pyarrow.compute, orjson, numpy, fsspec.implementations.local
start, rows = peak(), 0
corpus = Corpus.open(path)  # reads the beginning, and imports what is left
began = time.process_time()
if reading == "survey":
    rows = len(corpus)
else:
    for shard in corpus.shards:
        reader = corpus.read(shard)
        for batch in reader:
            if reading == "strings":
                for _, text in batch:
                    pass
        rows += reader.survey.rows
spent = time.process_time() - began
print(json.dumps({"rows": rows, "shards": len(corpus.shards), "seconds": spent, "start": start, "peak": peak()}))
"""


def read(path: Path, reading: str) -> dict[str, Any]:
    """What one process measured."""
    command = [sys.executable, "-c", READ, str(path), reading]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measure(megabytes: Sequence[int], seed: int, kinds: Sequence[str] = KINDS) -> dict[str, Any]:
    """Speed and peak memory of every kind, size and way of reading."""
    results = []
    for kind in kinds:
        for size in megabytes:
            with tempfile.TemporaryDirectory() as folder:
                path = write(Path(folder) / f"corpus.{kind}", size, seed)
                for reading in READINGS:
                    found = read(path, reading)
                    found |= {"kind": kind, "megabytes": size, "reading": reading}
                    results.append(found | {"speed": size / found["seconds"]})
    return {
        "seed": seed,
        "results": results,
        "conditions": conditions("pyarrow", "orjson", "fsspec"),
    }


def markdown(result: dict[str, Any]) -> str:
    lines = heading("Corpora, measured", result["conditions"])
    lines += ["MB of text a second of processor time, one core; peak memory of a process of its own, in MiB.", ""]
    lines += ["| kind | MB of text | shards | reading | MB/s | peak MiB (start) |", "|---|--:|--:|---|--:|--:|"]
    lines += [
        f"| {r['kind']} | {r['megabytes']} | {r['shards']} | {r['reading']} | {r['speed']:.0f} | "
        f"{r['peak']:.0f} ({r['start']:.0f}) |"
        for r in result["results"]
    ]
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description="Speed and peak memory of reading a corpus.")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[50, 500])
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    asked = parser.parse_args(arguments)
    result = measure(asked.megabytes, asked.seed, asked.kinds)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "corpus.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    (asked.out / "corpus.md").write_text(markdown(result), encoding="utf-8")
    print(markdown(result))
    return result


if __name__ == "__main__":
    main()
