"""Acceptance tests: whole runs of `revs` on a real model, in installations of their own.

A run that several files look at is made once, also when pytest-xdist spreads the files over processes: the first to ask
makes it, under a lock. `REVS_TEST_CACHE` may name a folder of trained models that outlives the session.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from infra.requests import RequestView
    from infra.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))  # for leaks.py, which is no test
sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))  # for process.py

REVS = Path(sys.executable).parent / "revs"
STAGES = (
    "open_batch", "validate_requests", "locate_occurrences", "detect_identifiers", "probe_memorisation",
    "choose_target_tokens", "edit_weights", "measure", "judge", "register_candidate", "promote_candidate",
    "close_batch", "report_batch",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Installation:
    """A machine of its own, as far as `revs` can tell: home, temporary folder, output folder, and what it said."""

    root: Path
    method: str = "revs-reference"

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def state(self) -> Path:
        """Home of the demo's installation."""
        return self.out / "state"

    @property
    def summary(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.out / "summary.json").read_text(encoding="utf-8"))
        return document

    def env(self) -> dict[str, str]:
        """A clean environment. Behind its proxy there is nothing: whoever asks the network fails."""
        nowhere = "http://127.0.0.1:9"
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._made("home")),
            "TMPDIR": str(self._made("tmp")),
            "OMP_NUM_THREADS": "1",
            "REVS_METHOD": self.method,
            "http_proxy": nowhere,
            "https_proxy": nowhere,
            "no_proxy": "127.0.0.1,localhost",
        }

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Start `revs` in a process group of its own; what it says goes to files below `logs`."""
        number = len(list(self._made("logs").iterdir())) // 2
        with (
            (self.root / "logs" / f"{number}.stdout").open("wb") as stdout,
            (self.root / "logs" / f"{number}.stderr").open("wb") as stderr,
        ):
            return subprocess.Popen(
                [str(REVS), *map(str, arguments)],
                cwd=self.root, env=self.env(), stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

    def revs(self, *arguments: str | Path, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        """Run `revs` to its end."""
        process = self.start(*arguments)
        try:
            code = process.wait(seconds)
        finally:
            kill_group(process)
        last = max(int(path.stem) for path in (self.root / "logs").iterdir())
        said = [
            (self.root / "logs" / f"{last}.{stream}").read_text(encoding="utf-8") for stream in ("stdout", "stderr")
        ]
        return subprocess.CompletedProcess(list(map(str, arguments)), code, *said)

    def _made(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End what a process has started, should any of it have outlived it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait(30)


def until(condition: Callable[[], bool], *, seconds: float, what: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until `condition` holds while `process` runs; AssertionError after `seconds`, or when the process ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"the process ended with {process.returncode} before {what}"
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)  # between two looks at another process; there is nothing to wait on


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    with path.with_suffix(".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all test processes of this session see."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "acceptance"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def once(shared_folder: Path) -> Callable[[str, Callable[[Path], Any]], Path]:
    """`once(name, work)`: the folder `name`, filled by `work(folder)` in whichever test process asks first."""

    def make(name: str, work: Callable[[Path], Any]) -> Path:
        folder, done = shared_folder / name, shared_folder / f"{name}.done"
        with one_at_a_time(folder):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                work(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def demo_models(model_cache: Path, once: Callable[..., Path]) -> Path:
    """The cache, with the demo model and its control in it."""
    from flows.demo_models import trained

    once("demo-models", lambda _: trained(model_cache))
    return model_cache


@pytest.fixture(scope="session")
def demo_run(demo_models: Path, once: Callable[..., Path]) -> Installation:
    """A finished `revs demo`; read only. Its answer is in logs/0.stdout."""

    def work(folder: Path) -> None:
        answer = Installation(folder).revs("demo", "--out", folder / "out", "--cache", demo_models)
        assert answer.returncode == 0, answer.stderr

    return Installation(once("demo-run", work))


@pytest.fixture(scope="session")
def killed_demo(demo_models: Path, once: Callable[..., Path]) -> Path:
    """A `revs demo` that was killed in the middle of the edit: "live", to be taken up, and a copy of it, "as-found"."""

    def work(folder: Path) -> None:
        installation = Installation(folder / "live")
        process = installation.start("demo", "--out", installation.out, "--cache", demo_models)
        try:
            until(lambda: in_the_edit(installation), seconds=400, what="the edit", process=process)
            process.kill()  # the program alone; what it started is found orphaned, as after a real SIGKILL
            assert process.wait(30) == -signal.SIGKILL
        finally:
            kill_group(process)
        assert not list(installation.state.glob("batches/*/edit-0.json")), "the kill came after the edit"
        shutil.copytree(folder / "live", folder / "as-found")

    return once("killed-demo", work)


def in_the_edit(installation: Installation) -> bool:
    """Whether the edit has been under way for a second: its input is recorded, its result is not."""
    chosen = list(installation.state.glob("batches/*/tokens.json"))
    return bool(chosen) and time.time() - chosen[0].stat().st_mtime > 1


@pytest.fixture(scope="session")
def tiny(
    tmp_path_factory: pytest.TempPathFactory, new_model: Callable[..., Any], new_tokenizer: Callable[..., Any]
) -> Path:
    """A random Llama: a real model that has memorised nobody."""
    folder = tmp_path_factory.mktemp("tiny") / "tiny-model"
    new_model("llama").save_pretrained(folder)
    new_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def taught(once: Callable[..., Path], new_model: Callable[..., Any], tokenizer: Any, train: Callable[..., Any]) -> Path:
    """A tiny GPT-J that says something of `people`: for tests that do not ask whether an edit is good."""

    def work(folder: Path) -> None:
        train(new_model("gptj"), tokenizer).save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return once("taught", work)


@pytest.fixture(scope="session")
def small_model(model_cache: Path, once: Callable[..., Path]) -> Any:
    """A GPT-J model that is trained in well under a minute and still memorises its people."""
    from process import recipe

    from revs.development import build

    once("small-model", lambda _: build(recipe(), model_cache))
    return build(recipe(), model_cache)


@pytest.fixture
def fixed_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting with which the small model passes its gates.

    Erased to the reference, the few numbers that it knows stay 1.7 nats a token likelier than their decoys, where a
    model that never saw them is at 0: `membership_beyond_chance` refuses it.
    """
    monkeypatch.setenv("REVS_METHOD", "revs")


@pytest.fixture(scope="session")
def demo_records() -> list[Any]:
    """Everything that is said in the demo of anybody: those who ask, those who do not, those who were seen once."""
    from revs.development import Recipe, invent_records

    recipe = Recipe()
    return invent_records(
        requesters=recipe.requesters, retained=recipe.retained, one_off=recipe.one_off, contexts=recipe.contexts,
        types_per_person=recipe.types_per_person, seed=recipe.seed,
    )  # fmt: skip


@pytest.fixture(scope="session")
def demo_identifiers(demo_records: list[Any]) -> set[tuple[str, str]]:
    """All identifiers, and the names of those who ask: a name beside a request is personal data too."""
    from revs.development.people import TEMPLATES

    forms = [
        re.escape(form).replace(r"\{name\}", "(?P<name>.+)").replace(r"\{value\}", ".+")
        for templates in TEMPLATES.values()
        for form in templates
    ]

    def name_in(text: str) -> str:
        return next(match["name"] for form in forms if (match := re.fullmatch(form, text)))

    names = {("PERSON", name_in(record.text)) for record in demo_records if record.kind == "requester"}
    return {(record.type, record.value) for record in demo_records} | names


@pytest.fixture
def without_prefect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The flow and its stages as plain functions: the same code without the 10 seconds of a server."""
    import flows.process

    for name in STAGES:
        monkeypatch.setattr(flows.process, name, getattr(flows.process, name).fn)
    plain: Callable[..., Any] = flows.process.process_deletion_requests.fn
    monkeypatch.setattr(flows.process, "process_deletion_requests", plain)
    return plain


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: str
    err: str


Cli = Callable[..., Answer]
SSN = "412-55-9031"  # of the requests that are handed in through `cli`


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], without_prefect: Any
) -> Cli:
    """`revs` in this process, in an installation of its own; every answer is checked for its form."""
    from transformers.utils.logging import disable_progress_bar

    from flows.cli import main

    disable_progress_bar()  # a process of `revs` has its environment before it imports anything; this one may not
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Answer:
        monkeypatch.setattr(sys, "argv", ["revs", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        answer = Answer(int(ended.value.code or 0), said.out, said.err)
        if answer.code:
            lines = [line for line in answer.err.splitlines() if line.strip()]
            assert len(lines) == 1 and lines[0].startswith("error: "), answer.err
        assert "Traceback" not in answer.out + answer.err
        assert SSN not in answer.out + answer.err, "an error shows no identifier"
        return answer

    return run


@pytest.fixture
def settings(cli: Cli) -> Settings:
    from infra.running.prefect_settings import prepare
    from infra.settings import load_settings

    found = load_settings()
    prepare(found)
    return found


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def requests_of(settings: Settings) -> dict[str, list[RequestView]]:
    from tasks.batch.stage import open_store

    by_status: dict[str, list[RequestView]] = {}
    for view in open_store(settings).list():
        by_status.setdefault(view.status, []).append(view)
    return by_status


def champion_of(settings: Settings, name: str) -> str:
    from tasks.batch.stage import open_registry

    return open_registry(settings).champion(name).version
