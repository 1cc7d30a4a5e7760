"""Child processes that live and end together, each in its own process group and with its own log."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import ProxyHandler, build_opener

from revs.errors import BadInput, OperationFailed

HOST = "127.0.0.1"
_LOOK_SECONDS = 0.25
_GONE_SECONDS = 2.0
_DIRECT = build_opener(ProxyHandler({}))  # no proxy stands between us and this machine


class Stopped(Exception):
    """Ctrl-C or SIGTERM came while something was waited for."""


class Children(ExitStack):
    """Child processes that are ended together when the context is left, the last started first.

    Args:
        logs: folder of their logs, one file each; that of the previous time is kept as `NAME.log.1`.
        stop: set from outside to end every wait with `Stopped`.
        grace_seconds: how long one may take to end by itself before its group is killed.
    """

    def __init__(self, logs: Path, stop: threading.Event, *, grace_seconds: float = 20) -> None:
        super().__init__()
        self._logs, self._stop, self._grace_seconds = logs, stop, grace_seconds
        self._processes: dict[str, subprocess.Popen[bytes]] = {}  # each the leader of its own group
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        ending: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Start `command`, which ends by itself when it gets the signal `ending`."""
        log = self._log(name)
        with suppress(FileNotFoundError):
            log.replace(log.with_name(f"{name}.log.1"))
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-P", "-m", "infra.running.tethered", str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                umask=0o077,  # databases and artifacts of the servers are their owner's alone
                start_new_session=True,  # Ctrl-C reaches the parent alone, and a whole group can be ended
            )
        self.callback(self._end, self._processes[name], ending)

    def wait_until(self, name: str, ready: Callable[[], bool], *, seconds: float) -> None:
        """Wait until `ready`, at most `seconds`.

        Raises:
            OperationFailed: it took longer, or a child ended meanwhile; the message names the log.
            Stopped: a signal came first.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            self._look()
            if time.monotonic() > deadline:
                raise OperationFailed(
                    f"{name} was not ready after {seconds:.0f} s; all was stopped: see its log {self._log(name)}"
                )

    def watch(self) -> None:
        """Return never: a signal raises `Stopped`, a child that ended OperationFailed."""
        while True:
            self._look()

    def _look(self) -> None:
        if self._stop.wait(_LOOK_SECONDS):
            raise Stopped
        for name, process in self._processes.items():
            if (code := process.poll()) is not None:
                raise OperationFailed(
                    f"{name} ended by itself (exit code {code}); all was stopped and no request is lost: "
                    f"see its log {self._log(name)}, then start again"
                )

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _end(self, process: subprocess.Popen[bytes], ending: signal.Signals) -> None:
        """End a child and its group: politely, and after the grace time for certain."""
        with suppress(ProcessLookupError):
            process.send_signal(ending)
        with suppress(subprocess.TimeoutExpired):
            process.wait(self._grace_seconds)
        process.poll()
        deadline = time.monotonic() + _GONE_SECONDS
        # PermissionError: what macOS says of a group that holds only zombies.
        with suppress(ProcessLookupError, PermissionError):
            while time.monotonic() < deadline:
                os.killpg(process.pid, signal.SIGKILL)
                time.sleep(0.02)  # between two signals: no wait exists for processes that a child started
        process.wait()


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, in place of what they did before."""
    stop = threading.Event()

    def note(_: int, __: FrameType | None) -> None:
        stop.set()

    with _handling((signal.SIGINT, signal.SIGTERM), note):
        yield stop


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does in a terminal: it also ends the helpers that multiprocessing started."""
    import multiprocessing

    def interrupt(_: int, __: FrameType | None) -> None:
        for helper in multiprocessing.active_children():
            helper.terminate()
        raise KeyboardInterrupt

    with _handling((signal.SIGTERM,), interrupt):
        yield


@contextmanager
def _handling(numbers: Sequence[signal.Signals], handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def only_one(lock: Path, *, what: str) -> Iterator[None]:
    """Hold `lock` while open; it goes with this process, however that ends.

    Raises:
        BadInput: another process holds it.
    """
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"{what}: end that one first, or give --home another folder") from None
        yield


def require_free(port: int, *, option: str) -> None:
    """Raise BadInput where something else on this machine already listens."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that is winding down is no listener
        try:
            probe.bind((HOST, port))
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
            raise BadInput(f"port {port} of {HOST} cannot be used ({why}); choose another with {option}") from None


def answers(url: str) -> bool:
    """Whether an HTTP GET of `url` succeeds now."""
    try:
        with _DIRECT.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:  # of any kind; those of urllib are such
        return False


def shown(url: str) -> str:
    """A server's address without a password and without a path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def public(url: str) -> str:
    """An address without user name, password and query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", parts.fragment))
