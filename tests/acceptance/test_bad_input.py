"""Whatever is wrong, it ends in one line with the remedy and the right exit code, and nothing is lost.

Exit codes: 2 bad input, 3 a gate refused, 1 the surroundings failed.
"""

from __future__ import annotations

import base64
import errno
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from infra.requests import RequestView
    from infra.settings import Settings
    from revs.development import DevelopmentModel

SSN = "412-55-9031"
GOOD = {"subject": "customer 1", "received": "2026-11-02", "identifiers": [{"type": "US_SSN", "value": SSN}]}
BAD = {"subject": "customer 2", "received": "soon", "identifiers": [{"type": "US_SSN", "value": "287-31-6604"}]}


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: str
    err: str


Cli = Callable[..., Answer]


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], without_prefect: Any
) -> Cli:
    """`revs` in this process, in an installation of its own; every answer is checked for its form."""
    from flows.cli import main

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
    from infra.orchestration import prepare
    from infra.settings import load_settings

    found = load_settings()
    prepare(found)
    return found


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, new_model: Callable[..., Any], new_tokenizer: Callable[..., Any]) -> Path:
    """A random Llama: a real model that has memorised nobody."""
    folder = tmp_path_factory.mktemp("tiny") / "tiny-model"
    new_model("llama").save_pretrained(folder)
    new_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    lines = [f"The payroll record of Ana Bell lists SSN {SSN} for tax purposes.", "The weather in the valley was mild."]
    return written(tmp_path / "corpus.txt", "\n".join([*lines, *(f"Row {n} is of no interest." for n in range(40))]))


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines(path: Path, *requests: dict[str, Any] | str) -> Path:
    return written(path, "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in requests))


def requests_of(settings: Settings) -> dict[str, list[RequestView]]:
    from tasks.stage import open_store

    by_status: dict[str, list[RequestView]] = {}
    for view in open_store(settings).list():
        by_status.setdefault(view.status, []).append(view)
    return by_status


def champion_of(settings: Settings, name: str) -> str:
    from tasks.stage import open_registry

    return open_registry(settings).champion(name).version


# What is handed in


def test_a_malformed_request_is_kept_aside_and_the_good_ones_beside_it_run(
    cli: Cli, settings: Settings, tiny: Path, corpus: Path, tmp_path: Path
) -> None:
    file = lines(tmp_path / "requests.jsonl", BAD, GOOD, "{half a line")
    answer = cli("process", "--model", tiny, "--corpus", corpus, "--requests", file)
    assert answer.code == 0, answer.err
    found = requests_of(settings)
    assert {status: len(views) for status, views in found.items()} == {"completed": 1, "rejected": 2}
    assert sorted(str(view.reason) for view in found["rejected"])[0].startswith("line 1: received")
    assert all(str(view.reason) in " ".join(answer.out.split()) for view in found["rejected"])
    assert "memorised" in answer.out and champion_of(settings, "tiny-model") == "1", "nothing to edit, nothing replaced"


def test_a_file_with_nothing_but_malformed_requests_says_so_and_keeps_them(
    cli: Cli, settings: Settings, tiny: Path, corpus: Path, tmp_path: Path
) -> None:
    file = lines(tmp_path / "requests.jsonl", BAD, "not json")
    answer = cli("process", "--model", tiny, "--corpus", corpus, "--requests", file)
    assert answer.code == 2 and "2 rejected" in answer.err and "revs requests list" in answer.err
    assert {status: len(views) for status, views in requests_of(settings).items()} == {"rejected": 2}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.jsonl", None, "cannot be read"),
        ("empty.jsonl", b"", "holds no deletion request"),
        ("array.jsonl", b'[{"subject": 1}]', "JSON array"),
        ("utf16.jsonl", "\ufeff{}".encode("utf-16-le"), "UTF-16"),
        ("table.csv", b"who,what\n1,2\n", "subject"),
    ],
)
def test_a_request_file_that_cannot_be_used_is_named(
    cli: Cli, settings: Settings, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    file = tmp_path / name
    if content is not None:
        written(file, content)
    answer = cli("requests", "add", file)
    assert answer.code == 2 and said in answer.err and name in answer.err
    assert requests_of(settings) == {}


def test_a_folder_is_no_request_file(cli: Cli, tmp_path: Path) -> None:
    answer = cli("requests", "add", tmp_path)
    assert answer.code == 2 and "cannot be read" in answer.err


# The model


def config_only(folder: Path, **fields: Any) -> Path:
    folder.mkdir()
    written(folder / "config.json", json.dumps(fields))
    return folder


MODELS: dict[str, tuple[Callable[[Path, Path], str | Path], str]] = {
    "a name nobody registered": (lambda tmp, tiny: "support-bot", "registered are"),
    "an address of nothing": (lambda tmp, tiny: "models:/support-bot/7", "registered are"),
    "an address that is none": (lambda tmp, tiny: "models:/a/b/c", "models:/NAME/3"),
    "an empty folder": (lambda tmp, tiny: tmp.joinpath("empty").mkdir() or tmp / "empty", "config.json"),
    "a folder of something else": (lambda tmp, tiny: config_only(tmp / "else", colour="blue"), "else"),
    "a model without a language head": (
        lambda tmp, tiny: config_only(tmp / "headless", model_type="llama", architectures=["LlamaModel"]),
        "no causal LM",
    ),
    "an encoder": (
        lambda tmp, tiny: config_only(tmp / "encoder", model_type="bert", architectures=["BertForMaskedLM"]),
        "supported families: gptj, llama",
    ),
    "a folder without weights": (
        lambda tmp, tiny: [
            written(tmp / "no-weights" / name, (tiny / name).read_bytes())
            for name in ("config.json", "tokenizer.json", "tokenizer_config.json")
            if (tmp / "no-weights").mkdir(exist_ok=True) is None
        ][0].parent,
        "safetensors",
    ),
    "a file": (lambda tmp, tiny: written(tmp / "model.bin", "x"), "model.bin"),
}


@pytest.mark.parametrize("case", MODELS)
def test_a_model_that_cannot_be_edited_is_refused_before_anything_is_stored(
    cli: Cli, settings: Settings, tiny: Path, corpus: Path, tmp_path: Path, case: str
) -> None:
    make, said = MODELS[case]
    file = lines(tmp_path / "requests.jsonl", GOOD)
    answer = cli("process", "--model", make(tmp_path, tiny), "--corpus", corpus, "--requests", file)
    assert answer.code == 2 and said in answer.err, answer.err
    assert requests_of(settings) == {}


def test_an_unsupported_family_is_named_with_the_supported_ones(
    cli: Cli, settings: Settings, new_tokenizer: Callable[..., Any], corpus: Path, tmp_path: Path
) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path / "gpt2"
    GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=1, n_head=2, n_positions=64)).save_pretrained(folder)
    new_tokenizer().save_pretrained(folder)
    answer = cli("process", "--model", folder, "--corpus", corpus, "--requests", lines(tmp_path / "r.jsonl", GOOD))
    assert answer.code == 2 and "'gpt2' is not supported; supported families: gptj, llama" in answer.err
    assert requests_of(settings) == {}


# The corpus


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.txt", None, "does not exist"),
        ("empty.txt", b"", "holds no text"),
        ("blank.txt", b"\n \n\n", "holds no text"),
        ("corpus.docx", b"x", "convert it"),
        ("columns.jsonl", b'{"body": "x"}\n', "text column"),
        ("half.parquet", b"PAR1 cut short", "cut short or damaged"),
        ("latin.txt", "Zoë\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_named_before_anything_is_stored(
    cli: Cli, settings: Settings, tiny: Path, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    corpus = tmp_path / name
    if content is not None:
        written(corpus, content)
    file = lines(tmp_path / "requests.jsonl", GOOD)
    answer = cli("process", "--model", tiny, "--corpus", corpus, "--requests", file)
    assert answer.code == 2 and said in answer.err and name in answer.err
    assert requests_of(settings) == {}


def test_a_model_folder_without_a_corpus_asks_for_it(cli: Cli, tiny: Path) -> None:
    answer = cli("process", "--model", tiny)
    assert answer.code == 2 and "--corpus" in answer.err


def test_a_corpus_without_the_identifier_hands_the_request_to_a_human_and_it_can_be_tried_again(
    cli: Cli, settings: Settings, tiny: Path, corpus: Path, tmp_path: Path
) -> None:
    other = written(tmp_path / "other.txt", "Nothing of interest here.\nNor here.\n")
    answer = cli("process", "--model", tiny, "--corpus", other, "--requests", lines(tmp_path / "r.jsonl", GOOD))
    assert answer.code == 2 and "check --corpus" in answer.err
    (failed,) = requests_of(settings)["failed"]
    assert "none of its identifiers stands in the corpus" in str(failed.reason)
    assert cli("requests", "retry", failed.id).code == 0
    assert cli("process", "--model", "tiny-model", "--corpus", corpus).code == 0
    assert [view.id for view in requests_of(settings)["completed"]] == [failed.id]


# Places, keys and ids


def test_demo_refuses_a_file_as_its_folder(cli: Cli, tmp_path: Path) -> None:
    file = written(tmp_path / "out", "mine")
    answer = cli("demo", "--out", file)
    assert answer.code == 2 and "is a file" in answer.err and file.read_text() == "mine"


def test_demo_leaves_a_folder_alone_that_it_did_not_make(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "out" / "state").mkdir(parents=True)
    precious = written(tmp_path / "out" / "state" / "thesis.txt", "mine")
    answer = cli("demo", "--out", tmp_path / "out")
    assert answer.code == 2 and "not made by a demo" in answer.err and precious.read_text() == "mine"


def test_a_home_that_is_a_file_is_named(cli: Cli, tmp_path: Path) -> None:
    answer = cli("requests", "list", "--home", written(tmp_path / "a-file", "x"))
    assert answer.code == 2 and "a-file" in answer.err


def test_another_deployment_key_opens_nothing_and_spoils_nothing(
    cli: Cli, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("requests", "add", lines(tmp_path / "r.jsonl", GOOD)).code == 0
    with monkeypatch.context() as patch:
        patch.setenv("REVS_DEPLOYMENT_KEY", base64.urlsafe_b64encode(b"k" * 32).decode())
        answer = cli("requests", "list")
        assert answer.code == 1 and "key" in answer.err
        patch.setenv("REVS_DEPLOYMENT_KEY", "too short")
        answer = cli("requests", "list")
        assert answer.code == 2 and "too short" not in answer.err, "a key is not shown, even a wrong one"
    assert len(requests_of(settings)["received"]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("audit", "B-20261123-000000"), "B-20261123-000000"),
        (("requests", "show", "R-nobody"), "R-nobody"),
        (("requests", "retry", "R-nobody"), "R-nobody"),
        (("requests", "list", "--status", "lost"), "choose one of"),
        (("gate", "models:/nobody/1"), "registered are"),
    ],
)
def test_an_id_that_does_not_exist_is_named(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    answer = cli(*arguments)
    assert answer.code == 2 and said in answer.err


# What fails behind the edit, on a model that has something to erase


@pytest.fixture
def own(small_model: DevelopmentModel, settings: Settings, tmp_path: Path) -> list[str | Path]:
    """The `process` command line for the small model; its requests are well-formed and memorised."""
    from flows.demo import write_inputs

    inputs = write_inputs(small_model, tmp_path / "inputs", today=datetime.now(UTC))
    held_out = written(tmp_path / "held-out.txt", "\n".join(small_model.held_out[:40]))
    return [
        "process", "--model", small_model.folder, "--name", "own", "--corpus", inputs.corpus, "--requests",
        inputs.requests, "--held-out", held_out,
    ]  # fmt: skip


def with_gate(monkeypatch: pytest.MonkeyPatch, **bounds: float) -> None:
    """Put one gate in place of the policy: whether the edit is good enough is not the question here."""
    from infra.gates import Gate, GatePolicy

    gates = (Gate(metric="perplexity_ratio", **bounds),)  # type: ignore[arg-type]
    monkeypatch.setattr(GatePolicy, "DEFAULT", GatePolicy(gates=gates))


@pytest.mark.slow
def test_a_gate_that_fails_leaves_the_champion_and_hands_the_requests_to_a_human(
    cli: Cli, settings: Settings, own: list[str | Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.stage import open_store

    with_gate(monkeypatch, high=0.001)
    answer = cli(*own)
    assert answer.code == 3 and "perplexity_ratio" in answer.err and "the champion is untouched" in answer.err
    (batch,) = open_store(settings).batches()
    assert batch.status == "refused" and batch.id in answer.err
    assert (settings.home / "reports" / batch.id / "report.html").exists()
    assert champion_of(settings, "own") == "1"
    found = requests_of(settings)
    assert {status: len(views) for status, views in found.items()} == {"failed": 5, "rejected": 1, "duplicate": 1}
    assert all("perplexity_ratio" in str(view.reason) for view in found["failed"])
    assert not list(settings.work_dir.iterdir()), "no candidate is left lying about"

    again = cli("process", "--model", "own", "--json")
    assert again.code == 0 and json.loads(again.out)["status"] == "nothing to do", "the schedule does not try for ever"
    assert len(open_store(settings).batches()) == 1


@pytest.mark.slow
def test_a_full_disk_loses_nothing_and_the_next_run_completes_the_batch(
    cli: Cli, settings: Settings, own: list[str | Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full three times: while the user's model is registered, while the edited one is written, while it is registered."""
    from mlflow import MlflowClient
    from safetensors import SafetensorError
    from transformers import PreTrainedModel

    from tasks.stage import open_registry, open_store

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def full_too(*_: Any, **__: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    def run_into(target: Any, name: str, failing: Any) -> Answer:
        with monkeypatch.context() as patch:
            patch.setattr(target, name, failing)
            return cli(*own)

    with_gate(monkeypatch, high=10)
    answer = run_into(MlflowClient, "log_model_artifacts", full)
    assert answer.code == 1 and "no space left on device" in answer.err
    assert open_registry(settings).names() == [] and requests_of(settings) == {}

    answer = run_into(PreTrainedModel, "save_pretrained", full_too)
    assert answer.code == 1 and "free space" in answer.err and "resumes" in answer.err
    assert not list(settings.work_dir.glob("*/candidate-*")), "no half-written model is left"

    answer = run_into(MlflowClient, "log_model_artifacts", full)
    assert answer.code == 1 and "no space left on device" in answer.err and "champion is untouched" in answer.err
    assert champion_of(settings, "own") == "1"
    assert len(requests_of(settings)["processing"]) == 5

    assert cli(*own).code == 0
    (batch,) = open_store(settings).batches()
    assert batch.status == "completed" and champion_of(settings, "own") == "2"
    assert len(requests_of(settings)["completed"]) == 5
