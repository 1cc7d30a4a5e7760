"""How fast requests come in over HTTP: a server in a process of its own, clients that keep their connections.

The clients are threads of another process, so that server and clients do not wait for one another's interpreter.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import perf_counter

from stored_requests import KEY, line

from infra.keys.vault import Vault
from infra.requests import RequestStore
from infra.requests.tokens import Tokens

CLIENTS = 4
BULK = 100  # requests of one body, the most that there may be
WAYS = ("one a call", "one a call with a key", f"{BULK} a call")
SERVER = """
import socket, sys
import uvicorn
from infra.keys.vault import Vault
from infra.requests import RequestStore
from infra.service import new_app
from infra.service.guard import Rates

store = RequestStore(sys.argv[1], Vault(bytes(range(32))), stay_connected=True)
app = new_app(
    store,
    models=lambda: ["demo"],
    session_key="k" * 40,
    rates=Rates("10000000/minute", "20/minute"),
)
listening = socket.create_server(("127.0.0.1", 0))
listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as `revs service run` does
print(listening.getsockname()[1], flush=True)
config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
uvicorn.Server(config).run(sockets=[listening])
"""


@contextmanager
def served(url: str) -> Iterator[tuple[int, str]]:
    """The service of a store on 127.0.0.1: its port, and a submitter's token."""
    store = RequestStore(url, Vault(KEY))
    _, token = Tokens(store).add(role="submitter", name="benchmark", by="benchmark")
    store.close()
    with subprocess.Popen([sys.executable, "-c", SERVER, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), token
        finally:
            process.terminate()


def bodies(numbers: Sequence[int], size: int) -> list[bytes]:
    """So many requests in bodies of a size; a body of one is the request itself."""
    found = [json.loads(line(number % 10_000, subject=f"customer {number}")) for number in numbers]
    parts = [found[start : start + size] for start in range(0, len(found), size)]
    return [json.dumps(part if size > 1 else part[0]).encode() for part in parts]


def send(port: int, token: str, sent: Sequence[bytes], key: Callable[[int], str] | None) -> None:
    """Send bodies one after the other on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for number, body in enumerate(sent):
        connection.request("POST", "/v1/requests", body, headers | ({"Idempotency-Key": key(number)} if key else {}))
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 201, text
    connection.close()


def per_second(port: int, token: str, numbers: range, size: int, *, keyed: bool = False) -> float:
    """How many requests are taken in a second when `CLIENTS` clients send them."""
    share = max(1, len(numbers) // CLIENTS)
    parts = [bodies(numbers[client * share : (client + 1) * share], size) for client in range(CLIENTS)]
    keys = [(lambda number, client=client: f"{numbers[0]}-{client}-{number}") if keyed else None for client in range(4)]
    began = perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(lambda part, key: send(port, token, part, key), parts, keys))
    return share * CLIENTS / (perf_counter() - began)


def measure(url: str, *, single: int, bulk: int) -> dict[str, float]:
    """Requests a second through HTTP, one a call, one a call with a key, and `BULK` a call.

    Args:
        url: Of the store.
        single: How many come one by one.
        bulk: How many come `BULK` at a time; a multiple of `BULK` and the clients.
    """
    with served(url) as (port, token):
        per_second(port, token, range(0, CLIENTS), 1)  # what is done once in a process
        figures = (
            per_second(port, token, range(1_000_000, 1_000_000 + single), 1),
            per_second(port, token, range(2_000_000, 2_000_000 + single), 1, keyed=True),
            per_second(port, token, range(3_000_000, 3_000_000 + bulk), BULK),
        )
    return dict(zip(WAYS, figures, strict=True))
