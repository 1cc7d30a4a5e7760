"""`revs serve`: real servers, a real schedule, and nothing left when it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import REVS, Installation, until
from leaks import Scanner
from urllib3 import PoolManager, Retry

from infra.keys.vault import Vault
from infra.registry import Registry
from infra.requests import RequestStore
from infra.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]
DEPLOYMENT = "deployments/name/process-deletion-requests/demo"


def free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


class Served:
    """A running `revs serve` on a fresh home."""

    def __init__(self, installation: Installation, cache: Path) -> None:
        self.installation = installation
        self.home = installation.root / "served"
        self.ports = free_ports(2)
        self.home.mkdir(mode=0o700)
        settings = Settings(home=self.home)
        self._store = RequestStore(settings.requests_url, Vault.from_settings(settings))
        self.process = installation.start(
            "serve", "--home", self.home, "--every", "30", "--cache", cache,
            "--prefect-port", str(self.ports[0]), "--mlflow-port", str(self.ports[1]),
        )  # fmt: skip

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)
        self._store.close()

    def until(self, condition: Callable[[], bool], *, what: str, seconds: float = 400) -> None:
        until(condition, seconds=seconds, what=what, process=self.process)

    @property
    def said(self) -> str:
        return (self.installation.root / "logs" / "0.stdout").read_text(encoding="utf-8")

    def api(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the Prefect server; again while its database is busy (status 503), as its own clients do."""
        busy = Retry(total=10, status_forcelist=[503], allowed_methods=None, backoff_factor=0.2)
        with PoolManager(timeout=30, retries=busy) as pool:
            address = f"http://127.0.0.1:{self.ports[0]}/api/{path}"
            response = pool.request("GET" if body is None else "POST", address, json=body)
            assert response.status < 400, response.data
            return response.json()

    def hand_in(self, lines: str) -> list[str]:
        """Hand requests in as a user would; returns the ids of the accepted ones."""
        done = subprocess.run(
            [REVS, "requests", "add", "-", "--model", "demo", "--json", "--home", self.home],
            input=lines, env=self.installation.env(), text=True, capture_output=True, check=True,
        )  # fmt: skip
        accepted: list[str] = json.loads(done.stdout)["accepted"]
        return accepted

    def outcome(self, request_ids: list[str]) -> set[tuple[str, str | None]]:
        """How the requests ended, and why, once the schedule has dealt with all of them."""
        views: list[Any] = []

        def ended() -> bool:
            views[:] = [self._store.get(request_id) for request_id in request_ids]
            return not {view.status for view in views} & {"received", "processing"}

        self.until(ended, what="the end of the batch")
        return {(view.status, str(view.reason)) for view in views}

    def processes(self) -> dict[int, str]:
        """Every running process of this home, by what it inherited; whoever started it."""
        mark, found = f"REVS_HOME={self.home}\0".encode(), {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes() + b"\0":
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:120]
            except OSError:
                continue  # it ended meanwhile, or is not ours
        return found


@pytest.fixture
def served(tmp_path: Path, demo_models: Path) -> Iterator[Served]:
    running = Served(Installation(tmp_path), demo_models)
    try:
        yield running
    finally:
        running.close()
        for pid in running.processes():
            os.kill(pid, signal.SIGKILL)


def test_the_schedule_processes_what_is_handed_in_and_nothing_outlives_it(
    served: Served, demo_identifiers: set[tuple[str, str]]
) -> None:
    served.until(lambda: "Ctrl-C" in served.said, what="the servers' start")
    assert all(f"http://127.0.0.1:{port}" in served.said for port in served.ports)
    assert len(served.processes()) >= 4, "both servers, MLflow's worker and the schedule"
    listeners = listening_addresses(served)
    assert listeners and {address.rpartition(":")[0] for address in listeners} == {"127.0.0.1"}

    # A batch that ends in an error: the request is set aside, the server stays.
    stranger = {"type": "EMAIL_ADDRESS", "value": "nobody.of.the.corpus@example.com"}
    today = datetime.now(UTC).date().isoformat()
    unknown = served.hand_in(json.dumps({"subject": "customer 0", "received": today, "identifiers": [stranger]}))
    ((status, reason),) = served.outcome(unknown)
    assert status == "failed" and "not found in" in str(reason)

    sample = (served.home / "demo" / "requests.jsonl").read_text(encoding="utf-8")
    wanted = served.hand_in(sample)
    assert {status for status, _ in served.outcome(wanted)} == {"completed"}
    settings = Settings(home=served.home)
    assert Registry(settings.tracking_uri, settings.artifact_uri).champion("demo").version == "2"

    assert_one_run_at_a_time(served)

    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(90) == 0
    assert left_after(served, seconds=10) == {}  # multiprocessing's resource tracker ends a moment after its parent
    logs = {path.name for path in (served.home / "logs").iterdir()}
    assert {"prefect.log", "mlflow.log", "schedule.log"} <= logs
    scanner = Scanner.of(sorted({*demo_identifiers, ("EMAIL_ADDRESS", stranger["value"])}))
    assert scanner.tree(served.installation.root, skip=[served.home / "demo"]) == []


def left_after(served: Served, *, seconds: float) -> dict[int, str]:
    """What still runs of this home, once nothing does or the time is up."""
    deadline = time.monotonic() + seconds
    while (running := served.processes()) and time.monotonic() < deadline:
        time.sleep(0.05)  # between two looks at other processes
    return running


def assert_one_run_at_a_time(served: Served) -> None:
    """The server lets one run begin, makes the next wait, and never ran two side by side."""
    deployment = served.api(DEPLOYMENT)
    assert deployment["global_concurrency_limit"]["limit"] == 1
    assert deployment["concurrency_options"]["collision_strategy"] == "ENQUEUE"

    later = {"state": {"type": "SCHEDULED", "state_details": {"scheduled_time": "2199-01-01T00:00:00Z"}}}
    first, second = (served.api(f"deployments/{deployment['id']}/create_flow_run", later)["id"] for _ in range(2))

    def begin(run: str) -> Any:
        return served.api(f"flow_runs/{run}/set_state", {"state": {"type": "PENDING"}})

    def has_the_turn() -> bool:
        begin(first)  # the state says whether it was let in: a busy server may have let it in without an answer
        return bool(served.api(f"flow_runs/{first}")["state"]["type"] == "PENDING")

    # Paused, for a tick of the schedule that waits would take the turn in the moment in which another gives it up.
    served.api(f"deployments/{deployment['id']}/pause_deployment", {})
    served.until(has_the_turn, what="a free turn", seconds=120)
    refused = begin(second)
    assert (refused["status"], refused["state"]["name"]) == ("REJECT", "AwaitingConcurrencySlot")
    for run in (first, second):
        served.api(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLED"}, "force": True})

    runs = served.api("flow_runs/filter", {"flow_runs": {"start_time": {"is_null_": False}}, "limit": 200})
    spans = sorted((run["start_time"], run["end_time"] or "9999") for run in runs)
    assert len(spans) >= 2
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def listening_addresses(served: Served) -> set[str]:
    """Addresses on which the processes of this home accept connections."""
    sockets = set()
    for pid in served.processes():
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                sockets.add(target[len("socket:[") : -1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:  # 0A: listening
                address, port = fields[1].split(":")
                found.add(f"{readable(address)}:{int(port, 16)}")
    return found


def readable(address: str) -> str:
    raw = bytes.fromhex(address)
    return socket.inet_ntop(socket.AF_INET, raw[::-1]) if len(raw) == 4 else f"[{address}]"
