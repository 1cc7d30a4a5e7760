"""Children that live and end together; ports, locks and what the servers are told."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.running import deployment
from infra.running.children import Children, Stopped, answers, only_one, require_free, shown
from infra.settings import Settings
from revs.errors import BadInput, OperationFailed

FOREVER = "import signal; signal.pause()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('ready', 'w').close(); {FOREVER}"
# Starts a process of its own, says its number, and stays.
PARENT = (
    "import subprocess, sys, signal\n"
    f"child = subprocess.Popen([sys.executable, '-c', {FOREVER!r}])\n"
    "open('grandchild.tmp', 'w').write(str(child.pid))\n"
    "import os; os.rename('grandchild.tmp', 'grandchild')\n"
    "signal.pause()\n"
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has taken leave of yet (a zombie) does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait(children: Children, ready: Callable[[], bool]) -> None:
    children.wait_until("child", ready, seconds=30)


def test_a_child_that_ends_ends_the_others_and_is_named_with_its_log(tmp_path: Path) -> None:
    with (
        pytest.raises(OperationFailed, match=r"short ended by itself \(exit code 7\).*short\.log"),
        Children(tmp_path / "logs", threading.Event()) as children,
    ):
        children.start("child", python(PARENT), os.environ)
        wait(children, Path("grandchild").exists)
        children.start("short", python("import sys; print('why'); sys.exit(7)"), os.environ)
        children.watch()
    assert (tmp_path / "logs" / "short.log").read_text() == "why\n"
    assert not alive(int(Path("grandchild").read_text())), "what a child started must end with it"


def test_what_a_child_writes_is_its_owners_alone(tmp_path: Path) -> None:
    code = f"import os; os.mkdir('folder'); open('server.db', 'w').close(); open('ready', 'w').close(); {FOREVER}"
    with Children(tmp_path / "logs", threading.Event()) as children:
        children.start("child", python(code), os.environ)
        wait(children, Path("ready").exists)
    assert [Path(name).stat().st_mode & 0o077 for name in ("server.db", "folder")] == [0, 0]


def test_a_child_that_will_not_end_is_killed_after_the_grace_time(tmp_path: Path) -> None:
    with Children(tmp_path / "logs", threading.Event(), grace_seconds=0.3) as children:
        children.start("child", python(STUBBORN), os.environ)
        wait(children, Path("ready").exists)
        process = children._processes["child"]
    assert process.returncode == -signal.SIGKILL


def test_a_signal_ends_every_wait(tmp_path: Path) -> None:
    stop = threading.Event()
    with pytest.raises(Stopped), Children(tmp_path / "logs", stop) as children:
        children.start("child", python(FOREVER), os.environ)
        process = children._processes["child"]
        stop.set()
        children.watch()
    assert process.returncode == -signal.SIGTERM


def test_a_child_that_is_never_ready_is_given_up_with_its_log_named(tmp_path: Path) -> None:
    with (
        pytest.raises(OperationFailed, match=r"child was not ready after 0 s.*child\.log"),
        Children(tmp_path / "logs", threading.Event()) as children,
    ):
        children.start("child", python(FOREVER), os.environ)
        children.wait_until("child", lambda: False, seconds=0.1)


def test_logs_are_for_the_owner_only_and_the_last_one_is_kept(tmp_path: Path) -> None:
    for said in ("one", "two", "three"):
        with pytest.raises(OperationFailed), Children(tmp_path / "logs", threading.Event()) as children:
            children.start("child", python(f"print({said!r})"), os.environ)
            children.watch()
    log = tmp_path / "logs" / "child.log"
    assert (log.read_text(), log.with_name("child.log.1").read_text()) == ("three\n", "two\n")
    assert (log.stat().st_mode & 0o777, log.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.skipif(sys.platform != "linux", reason="the tie is Linux's")
def test_a_tethered_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, os, signal\n"
        f"command = [sys.executable, '-c', {'open(chr(117) + chr(112), chr(119)).close(); ' + FOREVER!r}]\n"
        "child = subprocess.Popen([sys.executable, '-m', 'infra.running.tethered', str(os.getpid()), *command])\n"
        "print(child.pid, flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        watched = Children(tmp_path / "logs", threading.Event())
        wait(watched, Path("up").exists)
        assert alive(child)
        parent.kill()
    wait(watched, lambda: not alive(child))


def test_a_port_in_use_is_refused_with_its_number_and_the_option() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=rf"port {port} .*--mlflow-port"):
            require_free(port, option="--mlflow-port")
        assert not answers(f"http://127.0.0.1:{port + 1 if port < 65535 else port - 1}/nothing")
    require_free(port, option="--mlflow-port")


def test_a_second_server_on_the_same_home_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "serve.lock"
    with (
        only_one(lock, what="it runs"),
        pytest.raises(BadInput, match=r"it runs.*--home"),
        only_one(lock, what="it runs"),
    ):
        pass
    with only_one(lock, what="it runs"):
        pass


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:4200/api", "http://127.0.0.1:4200"),
        ("https://ops:hunter2@prefect.example.com/api", "https://prefect.example.com"),  # no password on a screen
        ("https://mlflow.example.com:8443", "https://mlflow.example.com:8443"),
    ],
)
def test_an_address_is_shown_without_password_and_path(url: str, address: str) -> None:
    assert shown(url) == address


def test_servers_listen_here_only_and_get_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVS_DEPLOYMENT_KEY", "k" * 43 + "=")
    monkeypatch.setenv("REVS_DATABASE_URL", "postgresql://ops:hunter2@db.example.com/requests")
    settings = Settings(home=tmp_path, mlflow_tracking_uri="postgresql://ops:hunter2@db.example.com/mlflow")
    for command, environment in (deployment.prefect_server(4200), deployment.mlflow_server(settings, 5000)):
        assert command[command.index("--host") + 1] == "127.0.0.1"
        assert not {"REVS_DEPLOYMENT_KEY", "REVS_DATABASE_URL"} & set(environment)
        assert "hunter2" not in " ".join(command), "every user of the machine sees a command line"
    assert deployment.mlflow_server(settings, 5000)[1]["MLFLOW_BACKEND_STORE_URI"] == settings.tracking_uri
    assert "REVS_DEPLOYMENT_KEY" in deployment.schedule({})[1], "the flow runs need it"


@pytest.mark.parametrize("name", sorted({*Settings.model_fields, "a_setting_of_tomorrow"} - {"home"}))
def test_no_setting_of_ours_but_the_folder_reaches_a_server_of_another_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Keys, passwords and addresses of officers are among them; small letters are read as well."""
    settings = Settings(home=tmp_path)
    monkeypatch.setenv("REVS_HOME", str(tmp_path))
    for variable in (f"REVS_{name.upper()}", f"revs_{name}"):
        monkeypatch.setenv(variable, "hunter2")
    for _, environment in (deployment.prefect_server(4200), deployment.mlflow_server(settings, 5000)):
        assert "hunter2" not in environment.values()
        assert environment["REVS_HOME"] == str(tmp_path), "it tells whose a process is"
    assert "hunter2" in deployment.schedule({})[1].values(), "the flow runs need it"


def test_the_schedule_reaches_its_server_past_any_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "intranet.example.com")
    monkeypatch.delenv("NO_PROXY", raising=False)
    environment = deployment.schedule({})[1]
    assert environment["no_proxy"] == environment["NO_PROXY"] == "intranet.example.com,127.0.0.1"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--every", "5", "--cron", "* * * * *"], "--every and --cron"),
        (["--cron", "often"], "--cron 'often'"),
        (["--prefect-port", "4999", "--mlflow-port", "4999"], "both 4999"),
        (["--no-demo"], "no model is registered"),
        (["--model", "nobody"], "nobody"),
    ],
)
def test_bad_input_is_one_line_with_exit_code_2(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    ports = [] if "4999" in arguments else ["--prefect-port", "47311", "--mlflow-port", "47312"]
    home = ["--home", str(tmp_path / "home")]
    clean = {name: value for name, value in os.environ.items() if name not in {"PREFECT_API_URL", "REVS_HOME"}}
    done = subprocess.run(
        [Path(sys.executable).parent / "revs", "serve", *home, *ports, *arguments],
        capture_output=True,
        text=True,
        env=clean,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert complaint in done.stderr
